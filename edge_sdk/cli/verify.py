"""`edge-sdk verify`: who signed a bundle."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from edge_sdk.cli.base import Outcome

HELP = "verify that a bundle is whole and who signed it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--key",
        action="append",
        metavar="NAME_OR_PUBFILE",
        help="who may have signed it; again for more (default: every public key of yours)",
    )


def run(arguments: argparse.Namespace) -> Outcome:
    """Verify; the exit code is 1 where none of the keys signed it."""
    from edge_sdk.shipping.keys import find_public, own_keys
    from edge_sdk.workflows.verify import verify

    if arguments.key:
        keys = [find_public(key) for key in arguments.key]
    else:
        keys = [key.public for key in own_keys()]
    found = verify(arguments.bundle, keys)
    lines = [f"{found.name}: whole, id {found.bundle}"]
    lines += [
        f"version {said.version} of channel {said.channel}, signed by {key.name} ({key.id}) on "
        f"{said.signed}"
        for said, key in found.valid
    ]
    lines += [
        f"not verified: version {said.version} of channel {said.channel}, by {said.key}"
        for said in found.other
    ]
    statements = [
        *({**asdict(said), "name": key.name, "valid": True} for said, key in found.valid),
        *({**asdict(said), "valid": False} for said in found.other),
    ]
    return Outcome({"bundle": found.bundle, "statements": statements}, "\n".join(lines))
