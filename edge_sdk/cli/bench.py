"""`edge-sdk bench`: latency, cold start, memory and throughput on a target."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import Outcome, add_on, add_report, report_outcome

HELP = "time every rung of bundles, or .tflite files, on a target"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "bundles", type=Path, nargs="+", metavar="bundle", help="a bundle, or a .tflite file"
    )
    add_on(parser, "where it is timed")
    parser.add_argument(
        "--runs", type=int, default=200, help="counted inferences per rung (default: 200)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the engine (default: its choice)"
    )
    parser.add_argument(
        "--throughput", action="store_true",
        help="also frames/s by threads and by streams side by side, 1 to all cores",
    )  # fmt: skip
    parser.add_argument(
        "--provider", default="cpu", metavar="X",
        help="of a .tflite file: cpu, edgetpu, ..., delegate:PATH",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, metavar="CARD.json", help="write the device card"
    )
    parser.add_argument(
        "--against", type=Path, metavar="CARD.json",
        help="compare with an earlier card of the same machine",
    )  # fmt: skip
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Time and report."""
    from edge_sdk.workflows.bench import bench
    from edge_sdk.workflows.bench_card import write_card
    from edge_sdk.workflows.bench_options import BenchOptions
    from edge_sdk.workflows.limits import check_writable

    for path in filter(None, (arguments.output, arguments.report)):
        check_writable(path, arguments.bundles)
    if arguments.output is not None:
        check_writable(arguments.output, [arguments.against, arguments.report])
    options = BenchOptions(
        runs=arguments.runs,
        threads=arguments.threads,
        provider=arguments.provider,
        on=arguments.on,
        throughput=arguments.throughput,
        against=arguments.against,
    )
    report = bench(arguments.bundles, options)
    if arguments.output is not None:
        write_card(arguments.output, report.facts)
    return report_outcome(report, arguments.report)
