"""The report of a bench: accuracy, latency and size in one table, then what is behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_sdk.report import Bar, Bars, Cell, Chart, Gate, Point, Report, Scatter, Table
from edge_sdk.workflows.bench_figures import Ratio, others_cores
from edge_sdk.workflows.bench_result import Found, Timing

_GOOD = "settled"

# Of a look: its key, and how it is called in the table.
_SEEN = {
    "temperature_c": "temperature, °C",
    "limit_c": "the kernel slows it down from, °C",
    "governor": "governor",
    "clock_mhz": "clock, MHz",
    "max_mhz": "clock at the most, MHz",
    "throttle_reasons": "throttled by",
    "throttle_past": "throttled before by",
    "under_voltage": "under-voltage",
    "load_average": "load average, 1 min",
    "runnable": "threads of others that run or wait",
}
_SLOW_GOVERNOR = "powersave"


def bench_report(found: Found, gates: Sequence[Gate]) -> Report:
    """Return the report; its facts are the card."""
    timings = found.timings
    tables = [_overview(found), _start(timings)]
    if any(timing.flows for timing in timings):
        tables.append(_throughput(timings))
    tables.append(_condition(found))
    bars = tuple(
        Bar(t.entrant.label, t.latency.p50, t.latency.low, t.latency.high, i == 0)
        for i, t in enumerate(timings)
    )
    charts: list[Chart] = [
        Bars("Median latency", "ms", bars, "whiskers: 95 % confidence of the median")
    ]
    charts += _tradeoff(timings)
    names = dict.fromkeys(timing.entrant.model.name for timing in timings)
    return Report(
        title=f"{', '.join(names)} on {found.machine.get('arch', found.uri)}",
        summary=_summary(found),
        tables=tuple(tables),
        charts=tuple(charts),
        gates=tuple(gates),
        facts=found.facts(),
        notes=tuple(_notes(found)),
    )


def _summary(found: Found) -> str:
    first = found.timings[0]
    latency = first.latency
    said = f"{first.entrant.label}: {latency.p50:.3g} ms median of {found.options.runs} runs."
    doubts = [*found.marks, *first.marks]
    return f"{said} DOUBTFUL, {'; '.join(map(str, doubts))}." if doubts else said


def _state(found: Found, timing: Timing) -> str:
    kinds = dict.fromkeys(mark.kind for mark in (*found.marks, *timing.marks))
    return ", ".join(kinds) or _GOOD


def _overview(found: Found) -> Table:
    timings = found.timings
    heading, accuracies, note = _accuracies([t.entrant.accuracy for t in timings])
    columns: dict[str, list[Cell]] = {
        "artifact": [t.entrant.label for t in timings],
        heading: accuracies,
        "p50, ms": [f"{t.latency.p50:.3g} ({t.latency.words})" for t in timings],
        "MB": [round(t.entrant.size / 1e6, 2) for t in timings],
        **_compared("first", [t.ratio for t in timings]),
        **_compared("card", [t.against for t in timings]),
        "state": [_state(found, t) for t in timings],
    }
    shown = {name: cells for name, cells in columns.items() if any(c is not None for c in cells)}
    rows = tuple(zip(*shown.values(), strict=True))
    return Table("Accuracy, latency and size", tuple(shown), rows, note)


def _compared(what: str, ratios: Sequence[Ratio | None]) -> dict[str, list[Cell]]:
    """Return the columns that tell the times relative to `what`."""
    return {
        f"time, {what} = 1": [ratio.words if ratio else None for ratio in ratios],
        f"against the {what}": [ratio.verdict if ratio else None for ratio in ratios],
    }


def _accuracies(known: Sequence[Mapping[str, Any] | None]) -> tuple[str, list[Cell], str]:
    """Return heading, cells and note; each cell tells its metric only where they differ."""
    metrics = {(a["metric"], a["unit"]) for a in known if a is not None}
    samples = sorted({a["n"] for a in known if a is not None and "n" in a})
    on = f" on {' or '.join(map(str, samples))} samples" if samples else ""
    note = f"accuracy as measured{on} when it was converted" if metrics else ""
    if len(metrics) == 1:
        ((metric, unit),) = metrics
        return f"{metric}, {unit}", [_accuracy(a) if a else None for a in known], note
    cells = [f"{a['metric']} {_accuracy(a)} {a['unit']}" if a else None for a in known]
    return "accuracy", list(cells), note


def _accuracy(known: Mapping[str, Any]) -> str:
    """Return `97.4 (95.6 to 98.5)`."""
    interval = f" ({known['low']:.1f} to {known['high']:.1f})" if "low" in known else ""
    return f"{known['value']:.1f}{interval}"


def _start(timings: Sequence[Timing]) -> Table:
    columns = ("artifact", "p90, ms", "p99, ms", "frames/s", "cold start, ms", "loading, ms",
               "first inference, ms", "memory, MiB")  # fmt: skip
    rows = tuple(
        (t.entrant.label, round(t.latency.p90, 3), round(t.latency.p99, 3),
         round(1e3 / t.latency.p50, 1), round(t.start.cold), round(t.start.load_ms),
         round(t.start.first_ms, 1), round(t.start.memory_mb))
        for t in timings
    )  # fmt: skip
    note = (
        "frames/s of one stream, by its median; cold starts, with loading and the first inference "
        f"in them, are medians of {len(timings[0].start.cold_ms)} new processes, from the start of "
        "Python to the first result; memory is their peak"
    )
    return Table("Latency, cold start and memory", columns, rows, note)


def _throughput(timings: Sequence[Timing]) -> Table:
    shapes = dict.fromkeys((f.streams, f.threads) for t in timings for f in t.flows)
    columns = ("artifact", *(_shape(*shape) for shape in shapes))
    rows = []
    for timing in timings:
        known = {(f.streams, f.threads): round(f.fps, 1) for f in timing.flows}
        rows.append((timing.entrant.label, *(known.get(shape) for shape in shapes)))
    note = "frames/s; streams run side by side in one process, each with an engine of one thread"
    return Table("Throughput", columns, tuple(rows), note)


def _shape(streams: int, threads: int) -> str:
    if streams > 1:
        return f"{streams} streams"
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _condition(found: Found) -> Table:
    first, last = found.looks[0], found.looks[-1]
    rows: list[tuple[Cell, ...]] = [
        (name, _cell(first.get(key)), _cell(last.get(key)))
        for key, name in _SEEN.items()
        if key in first or key in last
    ]
    others = others_cores(found.looks[1:])
    if others is not None:
        rows.append(("cores taken by others meanwhile", None, _cell(round(others, 2))))
    return Table("The machine", ("what", "before", "after"), tuple(rows))


def _cell(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, (int, float)) else value


def _tradeoff(timings: Sequence[Timing]) -> list[Chart]:
    """Return accuracy against latency, where two or more have an accuracy of one metric."""
    known = [(t, t.entrant.accuracy) for t in timings if t.entrant.accuracy is not None]
    metrics = {(accuracy["metric"], accuracy["unit"]) for _, accuracy in known}
    if len(known) < 2 or len(metrics) != 1:
        return []
    ((metric, unit),) = metrics
    points = tuple(Point(t.entrant.label, t.latency.p50, float(a["value"])) for t, a in known)
    return [Scatter("Accuracy against latency", "median latency, ms", f"{metric}, {unit}", points)]


def _notes(found: Found) -> list[str]:
    timed, timings = found.timed, found.timings
    notes = [f"these figures are of {_called(found)}; they say nothing about another one"]
    notes.append(
        f"warmed up for {timed.warm_s:.1f} s ({timed.warm_rounds} rounds), which are not counted"
    )
    if any("file" in t.entrant.model.facts for t in timings):
        notes.append("timed on noise of the input's own kind; making that of a frame is not in it")
    if len(timings) > 1:
        notes.append("the rungs were timed in turns within one run: their ratios are sound")
    notes += [f"DOUBTFUL, all: {mark}" for mark in found.marks]
    notes += [f"DOUBTFUL, {t.entrant.label}: {mark}" for t in timings for mark in t.marks]
    if found.looks[0].get("governor") == _SLOW_GOVERNOR:
        notes.append("the governor is powersave: where it keeps clocks low, set performance")
    return [*notes, *found.notes]


def _called(found: Found) -> str:
    where = "this machine" if found.uri == "local" else found.uri
    return f"{where} ({found.machine['cpu']})" if found.machine.get("cpu") else where
