"""`edge-sdk demo`: the main job on the embedded default."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import Outcome
from edge_sdk.report import render

HELP = "convert, check and run the model that comes along, for three devices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("edge-demo"), metavar="DIR",
        help="where everything goes (default: edge-demo)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> Outcome:
    """Do the main job and say where its results are."""
    from edge_sdk.workflows.demo import demo

    done = demo(arguments.output)
    paths = "\n".join(f"{what}: {path}" for what, path in done.files.items())
    data = {**done.report.to_json(), "files": {k: str(v) for k, v in done.files.items()}}
    return Outcome(data, f"{render(done.report)}\n\n{paths}", done.report.passed)
