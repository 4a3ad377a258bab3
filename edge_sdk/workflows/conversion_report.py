"""A finished conversion as a report: what was tried, what it lost, what went into the bundle."""

from __future__ import annotations

from edge_sdk.report import Cell, Point, Report, Scatter, Table
from edge_sdk.workflows.cells import decibels, heading, loss, measured, percent, scale, share
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
    terms = candidate.terms
    if comparison["drop"]:
        lost = f"{loss(comparison['drop'], terms)} {terms.lost}"
        return f"{name} loses {lost} of {terms.figures[0].name}"
    if comparison["agreement"]:
        agreed = f"{share(comparison['agreement'])} of the {terms.agreement}"
        return f"{name} agrees with the original on {agreed}"
    return f"{name} has a signal-to-noise ratio of {decibels(candidate.snr_db)} dB"


def _table(done: Conversion) -> Table:
    """Return the table of what was tried, with the columns that this task has figures for."""
    rows = [
        _row(c, "fails" if c.broken else done.verdict.refused.get(i, "kept"))
        for i, c in enumerate(done.verdict.candidates)
    ]
    columns = [name for name in rows[0] if any(row[name] not in ("-", None) for row in rows)]
    note = (
        f"against the original model, on the same {done.verdict.kept[0].comparison['n']} "
        "images; in brackets 95 % confidence intervals (lost: paired)"
    )
    cells = tuple(tuple(row[name] for name in columns) for row in rows)
    return Table("What was tried", tuple(columns), cells, note)


def _row(candidate: Candidate, verdict: str) -> dict[str, Cell]:
    c, recipe, terms = candidate.comparison, candidate.recipe, candidate.terms
    return {
        "artifact": f"{recipe.format} {recipe.precision}",
        "runs on": f"{recipe.engine}/{recipe.provider}",
        "MB": round(candidate.size / 1e6, 2) if candidate.size else None,
        **{heading(figure): measured(c.get("artifact"), figure) for figure in terms.figures[:1]},
        f"lost, {terms.lost}": loss(c.get("drop"), terms),
        "agreement, %": percent(c.get("agreement")),
        "SNR, dB": "-" if candidate.broken else decibels(candidate.snr_db),
        "verdict": verdict,
    }


def _charts(done: Conversion) -> tuple[Scatter, ...]:
    seen = {c.recipe.file: c for c in done.verdict.candidates}.values()
    told = [candidate for candidate in seen if candidate.comparison.get("artifact")]
    if len(told) < 2:
        return ()
    figure = told[0].terms.figures[0]
    spots = tuple(
        Point(
            f"{c.recipe.format} {c.recipe.precision}",
            c.size / 1e6,
            scale(figure) * float(c.comparison["artifact"][figure.key]["value"]),
        )
        for c in told
    )
    return (Scatter("Accuracy against size", "size, MB", heading(figure), spots),)


def _notes(done: Conversion) -> list[str]:
    broken: dict[str, list[str]] = {}
    for candidate in done.verdict.candidates:
        if candidate.broken:
            name = f"{candidate.recipe.format} {candidate.recipe.precision}"
            broken.setdefault(str(candidate.comparison["fault"]), []).append(name)
    notes = [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in broken.items()]
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
