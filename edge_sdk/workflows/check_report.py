"""A finished check as a report: how each artifact answers, beside its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import RequestError
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.workflows.cells import (
    decibels,
    heading,
    largest_error,
    loss,
    measured,
    percent,
    scale,
    share,
    worst_snr,
)
from edge_sdk.workflows.limits import NO_BUDGET, exceeds
from runtime.evaluate import Terms
from runtime.golden import Replay
from runtime.manifest import Artifact


@dataclass(frozen=True)
class Row:
    """One artifact in a check: how it compares (JSON-ready), its golden replay (None for a file,
    which has no golden set, and where it is of no account), and, where it was not computed by
    this machine's kernels, why. `where` says at which of several places it was computed."""

    artifact: Artifact
    comparison: Mapping[str, Any]
    golden: Replay | None = None
    why_simulated: str = ""
    where: str = ""

    @property
    def arithmetic(self) -> str:
        """`native` or `simulated`."""
        return "simulated" if self.why_simulated else "native"

    @property
    def name(self) -> str:
        """Short name for tables, such as `onnx int8`."""
        name = f"{self.artifact.format} {self.artifact.precision}"
        if self.where:
            return f"{name}, {self.where}"
        return f"{name}, simulated" if self.why_simulated else name

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON-ready values; `reference` and `artifact` hold accuracies."""
        return {
            "name": self.artifact.label,
            "format": self.artifact.format,
            "precision": self.artifact.precision,
            "provider": self.artifact.provider,
            "size_bytes": self.artifact.file.size,
            "arithmetic": self.arithmetic,
            "why_simulated": self.why_simulated or None,
            "where": self.where or None,
            "golden": self.golden.to_json() if self.golden else None,
            **self.comparison,
        }


def check_report(
    facts: Mapping[str, Any], rows: list[Row], terms: Terms, max_drop: float | None
) -> Report:
    """Return the report; its gates are the golden sets and, where one is stated, the budget.

    Raises RequestError for a budget where there is nothing to measure it by.
    """
    gates = [
        Gate(f"golden set, {row.name}", row.golden.passed, row.golden.reason)
        for row in rows
        if row.golden
    ]
    if max_drop is not None:
        gates.append(_budget(rows[0], terms, max_drop))
    return Report(
        title=_title(facts),
        summary=_summary(rows[0], terms, facts["reference"]),
        tables=_tables(rows, terms, facts["reference"]),
        charts=_charts(rows, terms),
        gates=tuple(gates),
        facts={**facts, "artifacts": [row.to_json() for row in rows]},
        notes=tuple(remarks(rows, facts)),
    )


def _title(facts: Mapping[str, Any]) -> str:
    if "file" in facts:
        return str(facts["file"]["name"])
    return f"{facts['bundle']['name']} for {facts['profile']}"


def _budget(row: Row, terms: Terms, max_drop: float) -> Gate:
    """Judge the first rung, which is the one that runs, by what may be lost."""
    drop, agreement = row.comparison["drop"], row.comparison["agreement"]
    if drop is not None:
        lost, unit = drop["value"], terms.lost
    elif agreement is not None:
        lost, unit = 100 * (1 - agreement["value"]), "points"
    else:
        raise RequestError(NO_BUDGET)
    detail = f"{lost:.2f} {unit} lost, {max_drop:g} allowed"
    return Gate("accuracy budget", not exceeds(lost, max_drop), detail)


def _tables(rows: list[Row], terms: Terms, reference: str) -> tuple[Table, ...]:
    if not terms.figures:
        return (_outputs(rows, reference),)
    return (*_accuracy(rows, terms), _difference(rows, terms, reference))


def _accuracy(rows: list[Row], terms: Terms) -> tuple[Table, ...]:
    """Return the figures of every artifact against the truth, where it is known."""
    known = [("reference", rows[0].comparison["reference"])]
    known += [(row.name, row.comparison["artifact"]) for row in rows]
    if known[0][1] is None:
        return ()
    figures = [figure for figure in terms.figures if known[0][1].get(figure.key)]
    body = tuple(
        (name, *(measured(accuracy, figure) for figure in figures)) for name, accuracy in known
    )
    note = f"n = {rows[0].comparison['n']}; in brackets 95 % confidence intervals"
    return (
        Table(
            "Accuracy on the same images",
            ("artifact", *(heading(figure) for figure in figures)),
            body,
            f"{note} ({terms.intervals})",
        ),
    )


def _difference(rows: list[Row], terms: Terms, reference: str) -> Table:
    """Return what was lost and how the answers agree, without the columns that stay empty."""
    body = [
        {
            "artifact": row.name,
            f"lost, {terms.lost}": loss(row.comparison["drop"], terms),
            "agreement, %": percent(row.comparison["agreement"]),
            "SNR, dB": decibels(worst_snr(row.comparison)),
            "largest error": f"{largest_error(row.comparison):.3g}",
        }
        for row in rows
    ]
    columns = [name for name in body[0] if any(row[name] != "-" for row in body)]
    cells = tuple(tuple(row[name] for name in columns) for row in body)
    agreed = f"; agreement: of the {terms.agreement}" if terms.agreement else ""
    note = (
        f"n = {rows[0].comparison['n']}; in brackets 95 % confidence intervals (lost: paired)"
        f"{agreed}; the reference is {reference}"
    )
    return Table("Against the reference", tuple(columns), cells, note)


def _outputs(rows: list[Row], reference: str) -> Table:
    columns = ("artifact", "output", "largest error", "SNR, dB", "cosine")
    body = [
        (
            row.name,
            output["name"],
            f"{output['max_abs']:.3g}",
            decibels(output["snr_db"]),
            f"{output['cosine']:.6f}",
        )
        for row in rows
        for output in row.comparison["outputs"]
    ]
    note = f"n = {rows[0].comparison['n']}; the reference is {reference}"
    return Table("Outputs against the reference", columns, tuple(body), note)


def _charts(rows: list[Row], terms: Terms) -> tuple[Bars, ...]:
    if rows[0].comparison["reference"] is None:
        return ()
    figure = terms.figures[0]
    factor = scale(figure)
    found = [("reference", rows[0].comparison["reference"][figure.key], False)]
    found += [
        (_bar(row), row.comparison["artifact"][figure.key], index == 0)
        for index, row in enumerate(rows)
    ]
    bars = tuple(
        Bar(name, factor * t["value"], factor * t["low"], factor * t["high"], first)
        for name, t, first in found
    )
    whiskers = f"whiskers: 95 % confidence ({terms.intervals})"
    return (Bars(f"Accuracy: {figure.name}", figure.unit, bars, whiskers),)


def _bar(row: Row) -> str:
    return row.name if row.where else row.artifact.precision


def _summary(row: Row, terms: Terms, reference: str) -> str:
    c, said = row.comparison, []
    if c["agreement"]:
        said.append(f"agrees with {reference} on {share(c['agreement'])} of the {terms.agreement}")
    if c["drop"]:
        against = "" if said else f" against {reference}"
        lost = f"{loss(c['drop'], terms)} {terms.lost} of {terms.figures[0].name}"
        said.append(f"loses {lost}{against}")
    if not said:
        ratio = decibels(worst_snr(c))
        said.append(f"has a signal-to-noise ratio of {ratio} dB to {reference}")
    return f"{row.name} {' and '.join(said)}, n = {c['n']}."


def remarks(rows: list[Row], facts: Mapping[str, Any]) -> list[str]:
    """Return what else must be known to judge the figures."""
    notes = list(facts.get("said", ()))
    if "file" in facts:
        notes.append("there is no golden set and nothing was replayed: a file is no bundle")
    if facts["labels"]:
        notes.append(f"classes matched {facts['labels']}")
    for row in rows:
        if row.why_simulated:
            notes.append(
                f"{row.name}: this machine is not of the device's architecture, and here "
                f"{row.why_simulated}; so it was computed in float exactly as its file defines it"
            )
    if facts["unreadable"]:
        paths = facts["unreadable"]
        notes.append(f"{len(paths)} images do not decode and were left out: {', '.join(paths[:5])}")
    if facts["calibration_overlap"]:
        notes.append(f"{facts['calibration_overlap']} of these images also calibrated the bundle")
    return notes
