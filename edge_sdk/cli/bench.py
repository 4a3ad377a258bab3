"""`edge-sdk bench`: latency, cold start and memory on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import Outcome, add_report, report_outcome

HELP = "time every rung of a bundle on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--runs", type=int, default=200, help="counted inferences per rung (default: 200)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the engine (default: its choice)"
    )
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Time and report."""
    from edge_sdk.workflows.bench import BenchOptions, bench

    options = BenchOptions(arguments.runs, arguments.threads)
    return report_outcome(bench(arguments.bundle, options), arguments.report)
