"""`edge-sdk status`: what a device runs, holds, and what happened to it."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome, report_outcome
from edge_sdk.cli.flash import add_to, address

HELP = "what a device runs, holds, and what happened to it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_to(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Ask."""
    from edge_sdk.workflows.deployed import status

    return report_outcome(status(address(arguments)))
