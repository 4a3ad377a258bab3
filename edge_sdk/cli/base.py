"""What every verb returns, and arguments that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_sdk.report import Report, render, write_page


@dataclass(frozen=True)
class Outcome:
    """What a verb did: `data` for --json, `text` for a person; `quiet` keeps stdout free."""

    data: Mapping[str, Any]
    text: str
    passed: bool = True
    quiet: bool = False


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
