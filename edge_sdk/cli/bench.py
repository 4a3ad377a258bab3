"""`edge-sdk bench`: latency, cold start, memory and throughput on a target, or instructions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.cli.base import Outcome, add_on, add_report, report_outcome
from edge_sdk.report import Report

HELP = "time every rung of bundles, or .tflite files, on a target, or count its instructions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "bundles", type=Path, nargs="+", metavar="bundle", help="a bundle, or a .tflite file"
    )
    add_on(parser, "where it is timed")
    parser.add_argument(
        "--runs", type=int, help="counted inferences per rung (default: 200; with --cost: 5)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the engine (default: its choice)"
    )
    parser.add_argument(
        "--throughput", action="store_true",
        help="also frames/s by threads and by streams side by side, 1 to all cores",
    )  # fmt: skip
    parser.add_argument(
        "--provider", metavar="X",
        help="of a .tflite file: cpu, edgetpu, ..., delegate:PATH (default: cpu)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", type=Path, metavar="CARD.json", help="write the device card, or the cost"
    )
    parser.add_argument(
        "--against", type=Path, metavar="CARD.json",
        help="compare with an earlier card of the same machine; with --cost: with a cost of the "
        "same target, or another bundle",
    )  # fmt: skip
    group = parser.add_argument_group("on an emulated target, where no clock is true")
    group.add_argument("--cost", action="store_true", help="count instructions per inference")
    group.add_argument(
        "--estimate", action="store_true",
        help="estimate milliseconds of the device from its instructions, with their limits",
    )  # fmt: skip
    group.add_argument(
        "--max-cost-increase", metavar="P%",
        help="fail where an inference costs so much more than what --against names, such as 2%%",
    )  # fmt: skip
    parser.add_argument(
        "--calibrate", action="store_true",
        help="time on the device, count on the emulated one, and keep both for --estimate",
    )  # fmt: skip
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Measure and report."""
    from edge_sdk.workflows.bench_card import write_card

    _check_outputs(arguments)
    report = _work(arguments)(arguments)
    if arguments.output is not None:
        write_card(arguments.output, report.facts)
    return report_outcome(report, arguments.report)


def _work(arguments: argparse.Namespace) -> Callable[[argparse.Namespace], Report]:
    known = {"cost": _cost, "estimate": _estimate, "calibrate": _calibrate}
    asked = [name for name in known if getattr(arguments, name)]
    if len(asked) > 1:
        raise RequestError(f"--{asked[0]} and --{asked[1]} are two works; ask for one at a time")
    return known[asked[0]] if asked else _bench


def _check_outputs(arguments: argparse.Namespace) -> None:
    from edge_sdk.workflows.limits import check_writable

    for path in filter(None, (arguments.output, arguments.report)):
        check_writable(path, arguments.bundles)
    if arguments.output is not None:
        check_writable(arguments.output, [arguments.against, arguments.report])


def _bench(arguments: argparse.Namespace) -> Report:
    from edge_sdk.workflows.bench import bench
    from edge_sdk.workflows.bench_options import BenchOptions

    if arguments.max_cost_increase is not None:
        raise RequestError("--max-cost-increase is of a cost; add --cost, on an emulated target")
    options = BenchOptions(
        runs=BenchOptions.runs if arguments.runs is None else arguments.runs,
        threads=arguments.threads,
        provider=arguments.provider or BenchOptions.provider,
        on=arguments.on,
        throughput=arguments.throughput,
        against=arguments.against,
    )
    return bench(arguments.bundles, options)


def _cost(arguments: argparse.Namespace) -> Report:
    from edge_sdk.workflows.cost import CostOptions, cost
    from edge_sdk.workflows.cost_baseline import percent

    for name in ("threads", "throughput", "provider"):
        if getattr(arguments, name):
            raise RequestError(f"--cost counts with one thread on the CPU; leave out --{name}")
    if len(arguments.bundles) > 1:
        raise RequestError("--cost counts one bundle; compare it with another by --against")
    most = arguments.max_cost_increase
    options = CostOptions(
        runs=CostOptions.runs if arguments.runs is None else arguments.runs,
        against=arguments.against,
        max_increase=None if most is None else percent(most),
    )
    return cost(arguments.bundles[0], arguments.on or "local", options)


def _estimate(arguments: argparse.Namespace) -> Report:
    from edge_sdk.workflows.latency import estimate

    _one_thread(arguments, "--estimate")
    if len(arguments.bundles) > 1:
        raise RequestError("--estimate takes one bundle")
    return estimate(arguments.bundles[0], arguments.on or "local")


def _calibrate(arguments: argparse.Namespace) -> Report:
    from edge_sdk.workflows.calibrate import calibrate

    _one_thread(arguments, "--calibrate")
    return calibrate(arguments.bundles, arguments.on)


def _one_thread(arguments: argparse.Namespace, what: str) -> None:
    for name in ("runs", "threads", "throughput", "provider", "against", "max_cost_increase"):
        if getattr(arguments, name):
            option = name.replace("_", "-")
            raise RequestError(f"{what} runs as it does, with one thread; leave out --{option}")
