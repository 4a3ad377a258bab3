"""`edge-sdk bench`: latency, cold start and memory on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import Outcome, add_report, report_outcome

HELP = "time every rung of a bundle, or a .tflite file, on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a .tflite file")
    parser.add_argument(
        "--runs", type=int, default=200, help="counted inferences per rung (default: 200)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the engine (default: its choice)"
    )
    parser.add_argument(
        "--provider", default="cpu", metavar="X",
        help="of a .tflite file: cpu, edgetpu, ..., delegate:PATH",
    )  # fmt: skip
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Time and report."""
    from edge_sdk.workflows.bench import BenchOptions, bench

    options = BenchOptions(arguments.runs, arguments.threads, arguments.provider)
    return report_outcome(bench(arguments.bundle, options), arguments.report)
