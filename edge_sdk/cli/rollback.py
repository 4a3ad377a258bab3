"""`edge-sdk rollback`: let a device go back to the release before."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome, report_outcome
from edge_sdk.cli.flash import add_to, address

HELP = "let a device go back to the release before"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_to(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Roll back."""
    from edge_sdk.workflows.deployed import rollback

    return report_outcome(rollback(address(arguments)))
