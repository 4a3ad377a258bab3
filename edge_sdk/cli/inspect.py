"""`edge-sdk inspect`: what is in a bundle, how it was made, what is known about it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import Outcome, report_outcome

HELP = "show what is in a bundle or a .tflite file, and what is known about it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a .tflite file")


def run(arguments: argparse.Namespace) -> Outcome:
    """Open, verify and describe."""
    from edge_sdk.workflows.inspect import inspect

    return report_outcome(inspect(arguments.bundle))
