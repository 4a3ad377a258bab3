"""Workflow: say that a bundle is a version of a channel, and sign it."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from edge_sdk.shipping.keys import SigningKey
from edge_sdk.workflows.limits import check_writable
from runtime.bundle import open_bundle, write_statements
from runtime.statements import STABLE, Statement, check_statement, payload

_UNSIGNED = base64.b64encode(bytes(64)).decode()


@dataclass(frozen=True)
class SignOptions:
    """`channel` is what a device follows, `version` grows in it (by default the time, in seconds
    since 1970), `output` is where the signed bundle goes: in its own place unless said."""

    channel: str = STABLE
    version: int | None = None
    output: Path | None = None


@dataclass(frozen=True)
class Signed:
    """Where the signed bundle is, and all of its statements; the new one is `statement`."""

    path: Path
    statement: Statement
    statements: tuple[Statement, ...]


def sign(bundle: Path, key: SigningKey, options: SignOptions | None = None) -> Signed:
    """Sign a bundle: its id and all else in it stay, whole at any instant.

    A statement of the same key for the same channel is replaced, others stay. Raises BundleError
    for a bundle that is not whole, or a channel or version that cannot be; OutputError when it
    cannot be written.
    """
    options = options or SignOptions()
    output = options.output or bundle
    with open_bundle(bundle) as found:
        check_writable(output)
        statement = stated(found.id, key, options)
        place = statement.key, statement.channel
        others = [other for other in found.statements if (other.key, other.channel) != place]
        write_statements(found, [*others, statement], output)
    return Signed(output, statement, (*others, statement))


def stated(identity: str, key: SigningKey, options: SignOptions | None = None) -> Statement:
    """Return a signed statement on what is known by a SHA-256; BundleError as `sign` raises it."""
    options = options or SignOptions()
    statement = Statement(
        bundle=identity,
        channel=options.channel,
        key=key.public.id,
        signature=_UNSIGNED,
        signed=datetime.now(timezone.utc).date().isoformat(),
        version=int(time.time()) if options.version is None else options.version,
    )
    check_statement(statement)
    signature = base64.b64encode(key.sign(payload(statement))).decode()
    return replace(statement, signature=signature)
