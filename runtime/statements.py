"""Statements: who vouches for a bundle, in a file of its archive that its manifest does not name.

A statement says that one bundle is one version of one channel, and is signed with Ed25519 (RFC
8032). It names the bundle by its id, the hash of the manifest, which names the hash of every file.
So signing changes neither the id nor any other byte. Stdlib only: the agent reads this too.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from device_profiles.errors import BundleError
from runtime.archive import Archive

SIGNATURE = "signature"
"""The name of the file: the last of an archive, if it is there."""

STABLE = "stable"
MAX_STATEMENTS = 64 << 10
MAX_VERSION = (1 << 53) - 1  # what every reader of JSON counts to

_CONTEXT = b"edge-sdk bundle statement 1\n"
_BUNDLE = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[0-9a-f]{16}")
_CHANNEL = re.compile(r"[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?")
_SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Statement:
    """`bundle` is version `version` of `channel`, says the key with the id `key`.

    `signature` is Base64 of 64 bytes, `signed` a date such as 2026-11-29. Only the form is known to
    be right: whether the signature is, `runtime.agent.trust` says.
    """

    bundle: str
    channel: str
    key: str
    signature: str
    signed: str
    version: int

    @property
    def raw_signature(self) -> bytes:
        """The signature, 64 bytes."""
        return base64.b64decode(self.signature, validate=True)


def payload(statement: Statement) -> bytes:
    """Return the bytes that are signed: all that a statement says, and what it is."""
    said = asdict(statement)
    del said["signature"]
    return _CONTEXT + _canonical(said)


def check_statement(statement: Statement) -> None:
    """Raise BundleError when a field has not the form that it must have, naming the field."""
    if fault := _fault(statement):
        raise BundleError(f"this cannot be signed: {fault}")


def statement_bytes(statements: Iterable[Statement]) -> bytes:
    """Return the one form of a file of statements; BundleError when they cannot be one."""
    ordered = sorted(statements, key=_place)
    data = _canonical({"statements": [asdict(statement) for statement in ordered]})
    parse_statements(data)
    return data


def parse_statements(data: bytes) -> tuple[Statement, ...]:
    """Read a file of statements; BundleError for anything that `statement_bytes` would not write.

    None is verified here: that needs keys.
    """
    if len(data) > MAX_STATEMENTS:
        raise _refused(f"it has {len(data)} bytes, the limit is {MAX_STATEMENTS}")
    try:
        found = json.loads(data)
        canonical = _canonical(found) == data
    except (ValueError, RecursionError) as error:
        raise _refused(f"it is not JSON ({type(error).__name__})") from error
    if not canonical:
        raise _refused("it is not canonical JSON")
    if not isinstance(found, dict) or found.keys() != {"statements"}:
        raise _refused("it holds something else than statements")
    listed = found["statements"]
    if not isinstance(listed, list) or not listed:
        raise _refused("it holds no list of statements")
    statements = tuple(_statement(entry) for entry in listed)
    places = [_place(statement) for statement in statements]
    if places != sorted(set(places)):
        raise _refused("two statements are of one key and channel, or they are in another order")
    return statements


def read_statements(archive: Archive, bundle_id: str) -> tuple[Statement, ...]:
    """Return the statements in a bundle's archive; none where it is unsigned.

    BundleError when they are malformed, of another bundle, or not the last file.
    """
    member = archive.members.get(SIGNATURE)
    if member is None:
        return ()
    if member != next(reversed(archive.members.values())):
        raise _refused("it is not the last file")
    if member.size > MAX_STATEMENTS:
        raise _refused(f"it has {member.size} bytes, the limit is {MAX_STATEMENTS}")
    statements = parse_statements(archive.read(SIGNATURE))
    if any(statement.bundle != bundle_id for statement in statements):
        raise _refused("it is of another bundle")
    return statements


def _canonical(value: Any) -> bytes:
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _place(statement: Statement) -> tuple[str, str]:
    return statement.key, statement.channel


def _statement(entry: Any) -> Statement:
    if not isinstance(entry, dict) or entry.keys() != {field.name for field in fields(Statement)}:
        raise _refused("a statement lacks a field, or has one that is not known")
    statement = Statement(**entry)
    if fault := _fault(statement):
        raise _refused(fault)
    return statement


def _fault(statement: Statement) -> str:
    """Say what is wrong with the form of a statement; nothing when it is fine."""
    words = (statement.bundle, statement.channel, statement.key, statement.signature)
    if not all(isinstance(word, str) for word in (*words, statement.signed)):
        return "a field that must be text is none"
    if type(statement.version) is not int or not 1 <= statement.version <= MAX_VERSION:
        return f"its version is no whole number from 1 to {MAX_VERSION}"
    if not _BUNDLE.fullmatch(statement.bundle):
        return "its bundle is not named by a SHA-256"
    if not _KEY.fullmatch(statement.key):
        return "its key is not named by 16 hex digits"
    if not _CHANNEL.fullmatch(statement.channel):
        return "its channel is not 1 to 32 of a-z 0-9 . _ -, a letter or digit at either end"
    if not _is_date(statement.signed):
        return "its date is not one such as 2026-11-29"
    if not _is_signature(statement.signature):
        return "its signature is not Base64 of 64 bytes"
    return ""


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_signature(text: str) -> bool:
    """Tell whether `text` is the one way to write some 64 bytes in Base64."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(raw) == _SIGNATURE_BYTES and base64.b64encode(raw).decode() == text


def _refused(what: str) -> BundleError:
    return BundleError(
        f"the signature of the bundle is refused: {what}; get it again from where it was made, or "
        "sign it again"
    )
