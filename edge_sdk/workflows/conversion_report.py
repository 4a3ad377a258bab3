"""A finished conversion as a report: what was tried, what it lost, what went into the bundle."""

from __future__ import annotations

from edge_sdk.report import Point, Report, Scatter, Table
from edge_sdk.workflows.cells import decibels, percent, points, share
from edge_sdk.workflows.convert import Conversion
from edge_sdk.workflows.verdict import Candidate


def conversion_report(done: Conversion) -> Report:
    """Return the report of a conversion."""
    verdict, manifest = done.verdict, done.manifest
    first = verdict.kept[0]
    n = first.comparison["n"]
    facts = {
        "bundle": str(done.path),
        "id": manifest.id,
        "name": manifest.name,
        "task": manifest.task,
        "profile": dict(manifest.profile),
        "input": manifest.input.to_json(),
        "recipe": dict(manifest.recipe),
        "accuracy": {c.recipe.file: dict(c.comparison) for c in verdict.candidates},
    }
    return Report(
        title=f"{manifest.name} for {manifest.profile['name']}",
        summary=f"{done.path}: {_sentence(first)}, judged on {n} images.",
        tables=(_table(done),),
        charts=_charts(done),
        gates=(),
        facts=facts,
        notes=(*done.notes, *_notes(done)),
    )


def _sentence(candidate: Candidate) -> str:
    recipe, comparison = candidate.recipe, candidate.comparison
    name = f"{recipe.precision} {recipe.format} for {recipe.engine}/{recipe.provider}"
    if comparison.get("drop"):
        return f"{name} loses {points(comparison['drop'])} points of top-1"
    if comparison.get("agreement"):
        return f"{name} agrees with the original on {share(comparison['agreement'])}"
    return f"{name} has a signal-to-noise ratio of {decibels(candidate.snr_db)} dB"


def _table(done: Conversion) -> Table:
    columns = ("artifact", "runs on", "MB", "top-1, %", "lost, points", "agreement, %", "SNR, dB",
               "verdict")  # fmt: skip
    rows = []
    for index, candidate in enumerate(done.verdict.candidates):
        c, recipe = candidate.comparison, candidate.recipe
        rows.append((
            f"{recipe.format} {recipe.precision}",
            f"{recipe.engine}/{recipe.provider}",
            round(candidate.size / 1e6, 2) if candidate.size else None,
            percent(c["artifact"]["top1"] if c.get("artifact") else None),
            points(c.get("drop")),
            percent(c.get("agreement")),
            "-" if candidate.broken else decibels(candidate.snr_db),
            done.verdict.refused.get(index, "kept"),
        ))  # fmt: skip
    note = (
        f"against the original model, on the same {done.verdict.kept[0].comparison['n']} "
        "images; in brackets 95 % confidence intervals (lost: paired)"
    )
    return Table("What was tried", columns, tuple(rows), note)


def _charts(done: Conversion) -> tuple[Scatter, ...]:
    seen = {c.recipe.file: c for c in done.verdict.candidates}.values()
    spots = tuple(
        Point(
            c.recipe.precision, c.size / 1e6, 100 * float(c.comparison["artifact"]["top1"]["value"])
        )
        for c in seen
        if c.comparison.get("artifact")
    )
    if len(spots) < 2:
        return ()
    return (Scatter("Accuracy against size", "size, MB", "top-1, %", spots),)


def _notes(done: Conversion) -> list[str]:
    notes = []
    integer = done.manifest.recipe["artifacts"]
    for file, facts in integer.items():
        islands = facts.get("kept_float")
        if islands:
            named = ", ".join(f"{node} ({why})" for node, why in list(islands.items())[:5])
            notes.append(f"{file} keeps {len(islands)} nodes in float: {named}")
    if done.manifest.task == "raw":
        notes.append("task raw: the outputs are handed out as they are; nothing decodes them")
    if done.verdict.max_drop is None:
        notes.append("no budget was stated; pass --max-drop to make the accuracy a gate")
    notes.append("latency was not weighed: this is not the device; see edge-sdk bench there")
    return notes
