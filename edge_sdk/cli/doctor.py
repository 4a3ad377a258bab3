"""`edge-sdk doctor`: what is wrong with this machine."""

from __future__ import annotations

import argparse

from edge_sdk.cli.base import Outcome, report_outcome

HELP = "look for faults of this machine, with the line that mends each"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(arguments: argparse.Namespace) -> Outcome:
    """Look and report."""
    from edge_sdk.workflows.doctor import doctor

    return report_outcome(doctor())
