"""`edge-sdk run`: camera inference."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from device_profiles.errors import RequestError
from edge_sdk.cli._live import live
from edge_sdk.cli.base import (
    Outcome,
    add_model_file,
    add_on,
    add_provider,
    model_file_options,
)
from edge_sdk.report import render

if TYPE_CHECKING:
    from runtime.governor import GovernorOptions

HELP = "run a bundle or a .tflite file on a camera, a video or images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle, or a .tflite file")
    parser.add_argument(
        "--source",
        action="append",
        required=True,
        metavar="URI",
        help="camera:0, picamera://0, csi://0, rtsp://..., http://.../stream.mjpg, gst:..., a "
        "video, a folder of images, synthetic:...; may be repeated: they share the engine",
    )
    parser.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="URI",
        help="out.mp4, out.jsonl, shots/, - (stdout), display, http://127.0.0.1:8080 (a page), "
        "mqtt://...; may be repeated",
    )
    parser.add_argument("--threads", type=int, default=0, help="threads of the engine")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N results")
    parser.add_argument("--track", action="store_true", help="follow things from frame to frame")
    parser.add_argument(
        "--governor",
        nargs="?",
        const="auto",
        metavar="CELSIUS",
        help="lower the rate of frames where the board gets hotter than that (left out: where it "
        "would slow itself down), so that results stay young",
    )
    parser.add_argument(
        "--stats", type=Path, metavar="F.json", help="keep the state of the run in a file"
    )
    add_on(parser, "whose cameras and engine: files are sent there")
    add_provider(
        parser,
        "of a bundle: auto, prefer:cuda, require:cuda (or cuda: no fallback, exit code 3); of a "
        ".tflite file: cpu, edgetpu, ..., delegate:PATH",
    )
    add_model_file(parser)


def run(arguments: argparse.Namespace) -> Outcome:
    """Run to the end of the sources, or until Ctrl-C."""
    from edge_sdk.workflows.run import RunOptions, run_bundle, run_report

    on_stdout = "-" in arguments.sink
    if on_stdout and arguments.json:
        raise RequestError("--json and --sink - both want stdout; leave one out")
    if arguments.on is not None:
        return _there(arguments)
    options = RunOptions(
        threads=arguments.threads,
        max_frames=arguments.max_frames,
        provider=arguments.provider or "auto",
        track=arguments.track,
        governor=_governor(arguments.governor),
        stats=arguments.stats,
        file=replace(model_file_options(arguments), provider="cpu"),
    )
    with live(sys.stderr, hidden=on_stdout and sys.stdout.isatty()) as observers:
        done = run_bundle(arguments.bundle, arguments.source, arguments.sink, options, observers)
    report = run_report(done)
    return Outcome(report.to_json(), render(report), report.passed, quiet=on_stdout)


# What is said there as it was said here; paths and places are not among it.
_PASSED = ("threads", "max_frames", "governor", "provider", "decoder", "preprocess", "task")


def _there(arguments: argparse.Namespace) -> Outcome:
    """Run on a target, and show what it says."""
    from edge_sdk.workflows.run_there import There, run_there

    if arguments.stats or arguments.labels:
        raise RequestError(
            "--stats and --labels name files of this machine; leave them out with --on"
        )
    words = [] if not arguments.track else ["--track"]
    for name in _PASSED:
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    asked = There(arguments.bundle, arguments.source, arguments.sink, words)
    done = run_there(arguments.on, asked, _show)
    data = {"exit_code": done.code, **done.failed} if done.report is None else done.report.to_json()
    text = "" if done.report is None else render(done.report)
    return Outcome(data, text, code=done.code)


def _show(said: bytes) -> None:
    sys.stderr.write(said.decode(errors="replace"))
    sys.stderr.flush()


def _governor(said: str | None) -> GovernorOptions | None:
    from runtime.governor import GovernorOptions

    if said is None:
        return None
    if said == "auto":
        return GovernorOptions()
    try:
        return GovernorOptions(max_temperature_c=float(said))
    except ValueError as error:
        raise RequestError(f"--governor takes degrees Celsius or nothing, not {said!r}") from error
