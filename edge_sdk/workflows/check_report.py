"""A finished check as a report: how each artifact answers, beside its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import RequestError
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.workflows.cells import decibels, percent, points, share
from edge_sdk.workflows.limits import exceeds
from runtime.golden import Replay
from runtime.manifest import Artifact


@dataclass(frozen=True)
class Row:
    """One artifact in a check: how it compares (JSON-ready), its golden replay (None for a file,
    which has no golden set), and, where it was not computed by this machine's kernels, why."""

    artifact: Artifact
    comparison: Mapping[str, Any]
    golden: Replay | None = None
    why_simulated: str = ""

    @property
    def arithmetic(self) -> str:
        """`native` or `simulated`."""
        return "simulated" if self.why_simulated else "native"

    @property
    def name(self) -> str:
        """Short name for tables, such as `onnx int8`."""
        name = f"{self.artifact.format} {self.artifact.precision}"
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
            "golden": self.golden.to_json() if self.golden else None,
            **self.comparison,
        }


def check_report(facts: Mapping[str, Any], rows: list[Row], max_drop: float | None) -> Report:
    """Return the report; its gates are the golden sets and, where one is stated, the budget.

    Raises RequestError for a budget where the task has no accuracy.
    """
    labelled = rows[0].comparison.get("reference") is not None
    classified = "agreement" in rows[0].comparison
    gates = [
        Gate(f"golden set, {row.name}", row.golden.passed, row.golden.reason)
        for row in rows
        if row.golden
    ]
    if max_drop is not None:
        gates.append(_budget(rows[0], max_drop))
    return Report(
        title=_title(facts),
        summary=_summary(rows[0], facts),
        tables=((_answers if classified else _outputs)(rows, facts["reference"]),),
        charts=(_chart(rows),) if labelled else (),
        gates=tuple(gates),
        facts={**facts, "artifacts": [row.to_json() for row in rows]},
        notes=tuple(remarks(rows, facts)),
    )


def _title(facts: Mapping[str, Any]) -> str:
    if "file" in facts:
        return str(facts["file"]["name"])
    return f"{facts['bundle']['name']} for {facts['profile']}"


def _budget(row: Row, max_drop: float) -> Gate:
    """Judge the first rung, which is the one that runs, by the points that may be lost."""
    if "agreement" not in row.comparison:
        raise RequestError("--max-drop needs a task with an accuracy; leave it out for raw outputs")
    drop, agreement = row.comparison["drop"], row.comparison["agreement"]
    lost = 100 * (1 - agreement["value"]) if drop is None else drop["value"]
    detail = f"{lost:.2f} points lost, {max_drop:g} allowed"
    return Gate("accuracy budget", not exceeds(lost, max_drop), detail)


def _answers(rows: list[Row], reference: str) -> Table:
    columns = ("artifact", "top-1, %", "lost, points", "agreement, %", "SNR, dB", "largest error")
    found = rows[0].comparison.get("reference")
    body = [("reference", percent(found["top1"] if found else None), "", "", "", "")]
    for row in rows:
        c = row.comparison
        accuracy = c.get("artifact")
        body.append(
            (
                row.name,
                percent(accuracy["top1"] if accuracy else None),
                points(c.get("drop")),
                percent(c["agreement"]),
                decibels(c["snr_db"]),
                f"{c['max_abs_difference']:.3g}",
            )
        )
    note = (
        f"n = {rows[0].comparison['n']}; in brackets 95 % confidence intervals (lost: paired); "
        f"the reference is {reference}"
    )
    return Table("Accuracy on the same images", columns, tuple(body), note)


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


def _chart(rows: list[Row]) -> Bars:
    found = [("reference", rows[0].comparison["reference"]["top1"], False)]
    found += [(r.artifact.precision, r.comparison["artifact"]["top1"], i == 0)
              for i, r in enumerate(rows)]  # fmt: skip
    bars = tuple(
        Bar(name, 100 * t["value"], 100 * t["low"], 100 * t["high"], first)
        for name, t, first in found
    )
    return Bars("Top-1 accuracy", "%", bars, "whiskers: 95 % confidence (Wilson)")


def _summary(row: Row, facts: Mapping[str, Any]) -> str:
    c = row.comparison
    if "agreement" not in c:
        worst = min(output["cosine"] for output in c["outputs"])
        return f"{row.name}: cosine {worst:.6f} to {facts['reference']} in the worst output."
    said = f"{row.name} agrees with {facts['reference']} on {share(c['agreement'])} of the images"
    lost = f" and loses {points(c['drop'])} points of top-1" if c.get("drop") else ""
    return f"{said}{lost}, n = {c['n']}."


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
