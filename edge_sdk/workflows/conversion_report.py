"""A finished conversion as a report: what was tried, what it lost, what went into the bundle."""

from __future__ import annotations

from collections.abc import Iterator

from converters.islands import Island
from edge_sdk.report import Cell, Point, Report, Scatter, Table
from edge_sdk.workflows.cells import decibels, heading, loss, measured, percent, scale, share
from edge_sdk.workflows.convert import Conversion
from edge_sdk.workflows.verdict import Candidate, Verdict
from edge_sdk.workflows.weight import Weight


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
        "latency": [
            {"artifact": c.recipe.file, "runs_on": "/".join(c.rung), **c.weight.to_json()}
            for c in verdict.candidates
        ],
    }
    return Report(
        title=f"{manifest.name} for {manifest.profile['name']}",
        summary=f"{done.path}: {_sentence(first)}, judged on {n} images.",
        tables=(_table(done), *_islands(done)),
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
        _row(c, _against(done.verdict, c), "fails" if c.broken else _verdict(done.verdict, i))
        for i, c in enumerate(done.verdict.candidates)
    ]
    columns = [name for name in rows[0] if any(row[name] not in ("-", None) for row in rows)]
    note = (
        f"against the original model, on the same {done.verdict.kept[0].comparison['n']} "
        "images; in brackets 95 % confidence intervals (lost: paired)"
    )
    ways = dict.fromkeys(c.weight.how for c in done.verdict.candidates if c.weight.ms is not None)
    note += "".join(f"; latency: {way}" for way in ways)
    cells = tuple(tuple(row[name] for name in columns) for row in rows)
    return Table("What was tried", tuple(columns), cells, note)


def _verdict(verdict: Verdict, position: int) -> str:
    """Return `kept` with its rank, or why it is not."""
    why = verdict.why(position)
    return f"kept, rung {verdict.order.index(position) + 1}" if why is None else why


def _against(verdict: Verdict, candidate: Candidate) -> str:
    """Return how long an artifact takes relative to float32 on the same rung."""
    same = [c for c in verdict.candidates if c.rung == candidate.rung]
    plain = next((c for c in same if c.recipe.precision == "fp32"), None)
    ratio = None if plain is None else candidate.weight.against(plain.weight)
    if plain is candidate or ratio is None:
        return "-"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _latency(weight: Weight) -> str:
    if weight.ms is None:
        return "-"
    return f"{weight.ms:.3g} ({weight.low:.3g} to {weight.high:.3g})"


def _row(candidate: Candidate, against: str, verdict: str) -> dict[str, Cell]:
    c, recipe, terms = candidate.comparison, candidate.recipe, candidate.terms
    return {
        "artifact": f"{recipe.format} {recipe.precision}",
        "runs on": f"{recipe.engine}/{recipe.provider}",
        "MB": round(candidate.size / 1e6, 2) if candidate.size else None,
        "latency, ms": _latency(candidate.weight),
        "times fp32": against,
        **{heading(figure): measured(c.get("artifact"), figure) for figure in terms.figures[:1]},
        f"lost, {terms.lost}": loss(c.get("drop"), terms),
        "agreement, %": percent(c.get("agreement")),
        "SNR, dB": "-" if candidate.broken else decibels(candidate.snr_db),
        "verdict": verdict,
    }


def _islands(done: Conversion) -> tuple[Table, ...]:
    """Return the islands of every artifact, those of one op and reason together."""
    groups: dict[tuple[str, str, str, bool], list[Island]] = {}
    for candidate in {c.recipe.file: c for c in done.verdict.candidates}.values():
        for island in candidate.islands:
            name = f"{candidate.recipe.format} {candidate.recipe.precision}"
            groups.setdefault((name, island.op, island.reason, island.inside), []).append(island)
    if not groups:
        return ()
    rows = tuple(
        (name, op, len(found), "between integers" if inside else "at an end", why,
         round(100 * sum(i.macs_share for i in found), 1),
         round(100 * sum(i.moved_share for i in found), 1), _where(found))
        for (name, op, why, inside), found in groups.items()
    )  # fmt: skip
    columns = ("artifact", "op", "count", "where", "why", "of the multiply-adds, %",
               "of the numbers moved, %", "lines")  # fmt: skip
    note = "what no integer kernel computes, or a slower one: each costs two conversions as well"
    return (Table("Islands in the integer artifacts", columns, rows, note),)


def _where(found: list[Island]) -> str:
    """Return where some islands come from: lines of the model, else names of nodes."""
    places = list(dict.fromkeys(island.line or island.node for island in found))
    more = f" and {len(places) - 2} more" if len(places) > 2 else ""
    return "; ".join(places[:2]) + more


def _charts(done: Conversion) -> tuple[Scatter, ...]:
    seen = {c.recipe.file: c for c in done.verdict.candidates}.values()
    told = [candidate for candidate in seen if candidate.comparison.get("artifact")]
    if len(told) < 2:
        return ()
    figure = told[0].terms.figures[0]

    def spot(c: Candidate, cost: float) -> Point:
        worth = scale(figure) * float(c.comparison["artifact"][figure.key]["value"])
        return Point(f"{c.recipe.format} {c.recipe.precision}", cost, worth)

    sizes = tuple(spot(c, c.size / 1e6) for c in told)
    charts = [Scatter("Accuracy against size", "size, MB", heading(figure), sizes)]
    weighed = [(c, c.weight) for c in told if c.weight.ms is not None]
    if len(weighed) > 1:
        spots = tuple(spot(c, weight.ms) for c, weight in weighed if weight.ms is not None)
        title, note = "Accuracy against latency", weighed[0][1].how
        charts.append(Scatter(title, "latency, ms", heading(figure), spots, note))
    return tuple(charts)


def _notes(done: Conversion) -> list[str]:
    broken: dict[str, list[str]] = {}
    for candidate in done.verdict.candidates:
        if candidate.broken:
            name = f"{candidate.recipe.format} {candidate.recipe.precision}"
            broken.setdefault(str(candidate.comparison["fault"]), []).append(name)
    notes = [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in broken.items()]
    if done.manifest.task == "raw":
        notes.append("task raw: the outputs are handed out as they are; nothing decodes them")
    if done.verdict.max_drop is None:
        notes.append("no budget was stated; pass --max-drop to make the accuracy a gate")
    return [*notes, *_weighing(done.verdict)]


def _weighing(verdict: Verdict) -> Iterator[str]:
    """Yield what the weights decided, and what they did not."""
    for position, candidate in enumerate(verdict.candidates):
        name = f"{candidate.recipe.format} {candidate.recipe.precision}"
        if position in verdict.slower and position not in verdict.refused:
            rival = verdict.slower[position][0]
            if candidate.recipe.precision != "fp32":
                yield (
                    f"{name} was asked for by name; it is slower than {rival} here, "
                    f"{verdict.times(position)}; --precision auto would not choose it"
                )
    if verdict.reordered:
        first = verdict.kept[0]
        yield (
            "the ladder is in the order of what was weighed, not in the profile's: first "
            f"{first.recipe.format} {first.recipe.precision} on {'/'.join(first.rung)}"
        )
    unknown = [c.weight.how for c in verdict.candidates if c.weight.ms is None and not c.broken]
    for how in dict.fromkeys(unknown):
        yield f"latency was {how}; see edge-sdk bench on the device"
