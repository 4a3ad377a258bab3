"""`edge-sdk logs`: what a device's service wrote."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome
from edge_sdk.cli.flash import add_to, address

HELP = "the last lines that a device's service wrote"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_to(parser)
    parser.add_argument(
        "--lines", type=int, default=100, metavar="N", help="how many (default: 100)"
    )


def run(arguments: argparse.Namespace) -> Outcome:
    """Fetch them."""
    from edge_sdk.workflows.deployed import logs

    lines = logs(address(arguments), arguments.lines)
    return Outcome({"lines": lines}, "\n".join(lines))
