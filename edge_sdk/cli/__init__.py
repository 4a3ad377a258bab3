"""The command line `edge-sdk`: one file per verb, parsing and printing only.

Each verb module has `HELP`, `add_arguments(parser)` and `run(arguments) -> Outcome`. A verb's
workflow is imported inside `run`: a device has no converters, and nobody waits for other verbs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TextIO

from device_profiles.errors import EdgeError, missing
from edge_sdk.cli.base import Outcome
from edge_sdk.workflows.limits import check_writable
from runtime.logs import KINDS, logging_to
from runtime.plugins import load, names
from runtime.progress import TerminalBar, reporting_to

_EPILOG = """exit codes: 0 done, and it holds; 1 done, and a gate failed (accuracy, health, budget);
2 the request or its input is wrong; 3 the environment lacks something; 70 a fault of edge-sdk"""

# EX_SOFTWARE of sysexits.h: not 1, which says that the work was done and judged.
_OUR_FAULT = 70


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    arguments = _parser().parse_args(argv)
    verb: ModuleType = arguments.verb_module
    came: list[int] = []
    try:
        _check_report(arguments)
        # A model's own code may print; with --json it does so where progress is shown.
        stdout = sys.stderr if arguments.json else sys.stdout
        with (
            _interrupted_by(came, signal.SIGTERM, signal.SIGHUP),
            logging_to(arguments.log),
            reporting_to(TerminalBar()),
            redirect_stdout(stdout),
        ):
            outcome: Outcome = verb.run(arguments)
    except KeyboardInterrupt:
        _print("edge-sdk: interrupted", sys.stderr)
        return 128 + (came or [signal.SIGINT])[0]  # as shells say it
    except EdgeError as error:
        return _failed(error, arguments)
    except ModuleNotFoundError as error:  # converting needs what a device does not have
        lacking = missing(str(error.name), "convert")
        lacking.__cause__ = error
        return _failed(lacking, arguments)
    except Exception as error:  # noqa: BLE001 - the last line of defence: told, never swallowed
        return _crashed(error, arguments)
    _show(outcome, arguments.json)
    if outcome.code is not None:
        return outcome.code
    return 0 if outcome.passed else 1


@contextmanager
def _interrupted_by(came: list[int], *numbers: int) -> Iterator[None]:
    """Let these signals end a verb as Ctrl-C does, and note which came: what it holds is given
    back, and what is half done is removed. Ignored ones (nohup) stay so."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_report(arguments: argparse.Namespace) -> None:
    named = dict(vars(arguments))
    page = named.pop("report", None)
    if page is not None:
        check_writable(page, (value for value in named.values() if isinstance(value, Path)))


def _show(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        _print(json.dumps(outcome.data), sys.stdout)
    elif outcome.text:
        _print(outcome.text, sys.stderr if outcome.quiet else sys.stdout)


def _print(text: str, stream: TextIO) -> None:
    """Write a line; what the stream's encoding lacks is escaped (paths need not be text)."""
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        _leave(stream)


def _leave(stream: TextIO) -> None:
    """Let go of a stream whose reader (`head`, a pager) has seen enough, which is no fault.

    See "Note on SIGPIPE" in the documentation of Python's module signal.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failed(error: EdgeError, arguments: argparse.Namespace) -> int:
    if isinstance(error.__cause__, BrokenPipeError):
        _leave(sys.stdout)
        return 0
    if arguments.debug:
        traceback.print_exception(error)
    message = " ".join(str(error).split())
    _print(f"edge-sdk {arguments.verb}: {message}", sys.stderr)
    if arguments.json:
        found = {"error": message, "kind": type(error).__name__, "exit_code": error.exit_code}
        _print(json.dumps(found), sys.stdout)
    return error.exit_code


def _crashed(error: Exception, arguments: argparse.Namespace) -> int:
    """Tell of a fault of our own in one line; --debug shows where it is."""
    fault = EdgeError(
        f"a fault of edge-sdk itself, {type(error).__name__}: {error}; please report it with what "
        "--debug shows"
    )
    fault.__cause__ = error
    fault.exit_code = _OUR_FAULT
    return _failed(fault, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-sdk",
        description="From a trained CNN to a camera on a real device, with proof at every step.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in names("edge_sdk.cli"):
        module = load("edge_sdk.cli", name)
        verb = verbs.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="one JSON object on stdout")
        verb.add_argument(
            "--log", choices=KINDS, default="text", help="how logs are written to stderr"
        )
        verb.add_argument("--debug", action="store_true", help="show tracebacks of errors")
        verb.set_defaults(verb_module=module)
    return parser


def _version() -> str:
    try:
        return f"edge-sdk {version('edge-sdk')}"
    except PackageNotFoundError:
        return "edge-sdk, not installed"
