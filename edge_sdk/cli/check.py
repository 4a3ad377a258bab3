"""`edge-sdk check`: accuracy of the artifact against its reference."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_sdk.cli.base import (
    Outcome,
    add_model_file,
    add_on,
    add_provider,
    add_report,
    add_sampling,
    model_file_options,
    report_outcome,
)

HELP = "compare a bundle or a .tflite file with the original model on real images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a .tflite file")
    parser.add_argument(
        "--data", type=Path, metavar="DATA", help="images to compare on; may be left out with --on"
    )
    add_on(parser, "where the artifacts are computed")
    parser.add_argument(
        "--precision",
        dest="precisions",
        action="append",
        default=[],
        metavar="P",
        help="check artifacts of this precision only; may be repeated (an emulator takes seconds "
        "for a large net in fp32)",
    )
    parser.add_argument(
        "--only-there",
        action="store_true",
        help="with --on: do not show what this machine's own kernels make of the same files",
    )
    parser.add_argument(
        "--reference",
        metavar="MODEL",
        help="the original; default: the bundle's own float32 (a file: none)",
    )
    parser.add_argument("--weights", type=Path, metavar="F", help="weights of the reference")
    parser.add_argument("--label-offset", type=int, metavar="N")
    parser.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="gate: points of accuracy, or dB, that may be lost",
    )
    add_sampling(parser, None, "images to check by")
    add_model_file(parser)
    add_provider(parser, "of a .tflite file: cpu, edgetpu, ..., delegate:PATH")
    add_report(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Check and report."""
    from edge_sdk.workflows.check import check
    from edge_sdk.workflows.check_options import CheckOptions

    options = CheckOptions(
        reference=arguments.reference,
        weights=arguments.weights,
        max_drop=arguments.max_drop,
        samples=arguments.samples,
        seed=arguments.seed,
        label_offset=arguments.label_offset,
        file=model_file_options(arguments),
        on=arguments.on,
        beside=not arguments.only_there,
        precisions=tuple(arguments.precisions),
    )
    return report_outcome(check(arguments.bundle, arguments.data, options), arguments.report)
