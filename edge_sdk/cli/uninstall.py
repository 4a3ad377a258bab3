"""`edge-sdk uninstall`: take everything that was flashed off a device."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome, report_outcome
from edge_sdk.cli.flash import add_to, address

HELP = "take everything that was flashed off a device"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_to(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Uninstall."""
    from edge_sdk.workflows.deployed import uninstall

    return report_outcome(uninstall(address(arguments)))
