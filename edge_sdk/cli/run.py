"""`edge-sdk run`: camera inference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.cli.base import Outcome, add_model_file, model_file_options
from edge_sdk.report import render

HELP = "run a bundle or a .tflite file on a camera, a video or images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a .tflite file")
    parser.add_argument(
        "--source",
        required=True,
        metavar="URI",
        help="camera:0, a video, a folder of images, synthetic:...",
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="URI",
        help="out.mp4, out.jsonl, - (stdout), display; may be repeated",
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N results")
    add_model_file(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Run to the end of the source, or until Ctrl-C."""
    from edge_sdk.workflows.run import RunOptions, run_bundle, run_report

    on_stdout = "-" in arguments.sink
    if on_stdout and arguments.json:
        raise RequestError("--json and --sink - both want stdout; leave one out")
    options = RunOptions(arguments.threads, arguments.max_frames, model_file_options(arguments))
    done = run_bundle(arguments.bundle, arguments.source, arguments.sink, options)
    for refusal in done.refusals:
        sys.stderr.write(f"edge-sdk run: not on {refusal.label}: {refusal.reason}\n")
    report = run_report(done)
    return Outcome(report.to_json(), render(report), report.passed, quiet=on_stdout)
