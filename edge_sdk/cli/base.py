"""What every verb returns, and arguments that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_sdk.report import Report, render, write_page

if TYPE_CHECKING:
    from runtime.model_file import FileOptions


@dataclass(frozen=True)
class Outcome:
    """What a verb did: `data` for --json, `text` for a person; `quiet` keeps stdout free. `code`
    is what to end with where that was found elsewhere."""

    data: Mapping[str, Any]
    text: str
    passed: bool = True
    quiet: bool = False
    code: int | None = None


def report_outcome(report: Report, page: Path | None = None) -> Outcome:
    """Return the outcome of a workflow that ends in a report; write it to `page` as HTML too."""
    text = render(report)
    if page is not None:
        write_page(page, report)
        text += f"\n\nreport: {page}"
    return Outcome(report.to_json(), text, report.passed)


def add_sampling(parser: argparse.ArgumentParser, default: int | None, what: str) -> None:
    """Add --samples and --seed, which mean the same wherever a verb takes DATA."""
    said = "all" if default is None else str(default)
    parser.add_argument(
        "--samples", type=int, default=default, metavar="N", help=f"{what} (default: {said})"
    )
    parser.add_argument("--seed", type=int, default=0, help="changes which samples (default: 0)")


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add --report, an HTML page of the same content."""
    parser.add_argument("--report", type=Path, metavar="F.html", help="also write an HTML page")


def add_on(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --on, a TARGET."""
    parser.add_argument(
        "--on",
        metavar="TARGET",
        help=f"{what}: local, emulated:PROFILE, board:PROFILE, ssh://user@host (default: here)",
    )


def add_decoder(parser: argparse.ArgumentParser) -> None:
    """Add --decoder, which may be said of a model, a file, and of a bundle before its own."""
    parser.add_argument(
        "--decoder",
        metavar="D",
        help="what reads the outputs, such as yolov8,score=0.3 or head.py:decode; options alone "
        "(score=0.3) go before those there are",
    )


def add_model_file(parser: argparse.ArgumentParser) -> None:
    """Add what can be said of a .tflite file, where a bundle or such a file may be given."""
    add_decoder(parser)
    group = parser.add_argument_group("for a .tflite file, which may not say these itself")
    group.add_argument("--preprocess", metavar="P", help="as for convert: imagenet, tf, unit, raw")
    group.add_argument(
        "--task", metavar="T", help="classify, detect, ... or raw (default: by its outputs)"
    )
    group.add_argument("--labels", type=Path, metavar="F", help="class names, one per line")


def add_provider(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --provider, which a verb that runs something takes."""
    parser.add_argument("--provider", metavar="X", help=what)


def model_file_options(arguments: argparse.Namespace) -> FileOptions:
    """Return what was said by the arguments of `add_model_file`."""
    from runtime.model_file import FileOptions

    return FileOptions(
        preprocess=arguments.preprocess,
        task=arguments.task,
        labels=arguments.labels,
        provider=arguments.provider or "cpu",
        decoder=arguments.decoder,
    )
