"""`edge-sdk sign`: vouch for a bundle, as a version of a channel."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from edge_sdk.cli import _passphrase
from edge_sdk.cli.base import Outcome
from runtime.statements import STABLE

HELP = "sign a bundle, so that devices which pin your key take it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--key",
        required=True,
        metavar="NAME_OR_FILE",
        help="one of your keys (see: edge-sdk keys list), or a private key in PEM",
    )
    parser.add_argument(
        "--channel", default=STABLE, help=f"what devices follow (default: {STABLE})"
    )
    parser.add_argument(
        "--release-version",
        type=int,
        metavar="N",
        help="a number that grows within the channel (default: the time, in seconds since 1970)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT.edge", help="default: in its own place"
    )
    _passphrase.add_passphrase_file(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Open the key and sign."""
    from edge_sdk.shipping.keys import open_key
    from edge_sdk.workflows.sign import SignOptions, sign

    def passphrase(key: Path) -> bytes:
        return _passphrase.given(arguments.passphrase_file) or _passphrase.asked_for(key)

    key = open_key(arguments.key, passphrase)
    options = SignOptions(arguments.channel, arguments.release_version, arguments.output)
    signed = sign(arguments.bundle, key, options)
    statement = signed.statement
    text = (
        f"{signed.path}: version {statement.version} of channel {statement.channel}, signed by "
        f"{key.public.name} ({key.public.id})"
    )
    others = len(signed.statements) - 1
    if others:
        text += f"; {others} other statement{'s' * (others > 1)} kept"
    facts = {"output": str(signed.path), "name": key.public.name, "statements": others + 1}
    return Outcome({**asdict(statement), **facts}, text)
