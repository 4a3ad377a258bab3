"""Chart: series over a common x, each named at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from edge_sdk.report.axes import FOOT, HEIGHT, Plot, columns, framed, rows
from edge_sdk.report.drawing import COLORS, hint, sheet, tag, width_of, words, wrap
from edge_sdk.report.report import Lines, Series
from edge_sdk.report.scale import scale, spread

_DASHES = ("none", "8 4", "2 3")
_STEP = 18.0  # px, between the names of two series
_ROOM = 210.0  # px, for the names
_MARKED = 40  # a line of more points is drawn without a mark on each

_Place = tuple[float, float]


def draw(chart: Lines) -> str:
    """Return the picture; the colours begin again, with other dashes, after the last one."""
    xs = [x for series in chart.series for x in series.xs if math.isfinite(x)] or [0.0, 1.0]
    ys = [y for series in chart.series for y in series.ys]
    names = [wrap(series.label, _ROOM, 1)[0] for series in chart.series]
    right = max(map(width_of, names), default=0.0) + 34
    scales = (spread(min(xs), max(xs)), scale(ys, percent="%" in chart.y_label))
    plot = framed(chart.title, chart.y_label, scales, right)
    plot = replace(plot, height=max(HEIGHT, _STEP * len(names)))
    drawn = [*columns(plot, chart.x_label), *rows(plot, chart.y_label)]
    runs = [list(_runs(plot, series)) for series in chart.series]
    for n, (series, parts) in enumerate(zip(chart.series, runs, strict=True)):
        drawn.append(hint(series.label, *_strokes(n, parts)))
    drawn += _ends(plot, names, runs)
    if not any(runs):
        drawn.append(
            words("no data", plot.left + plot.width / 2, plot.top + 40, "quiet halo", "middle")
        )
    return sheet(chart.title, plot.bottom + FOOT, *drawn)


def _runs(plot: Plot, series: Series) -> Iterator[list[_Place]]:
    """Yield the places of each stretch of finite values."""
    run: list[_Place] = []
    for x, y in zip(series.xs, series.ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            run.append(plot.at(x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _strokes(n: int, runs: Sequence[Sequence[_Place]]) -> Iterator[str]:
    color, dash = _pen(n)
    sparse = sum(map(len, runs)) <= _MARKED
    for run in runs:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run)
        yield tag("path", d=path, fill="none", stroke=color, stroke_width=2,
                  stroke_dasharray=dash, stroke_linejoin="round")  # fmt: skip
        for x, y in run if sparse or len(run) == 1 else ():
            yield tag("circle", cx=x, cy=y, r=3.5, fill=color)


def _ends(plot: Plot, names: Sequence[str], runs: Sequence[list[list[_Place]]]) -> Iterator[str]:
    """Yield the names beside the last points, pushed apart, each with a line to its own."""
    last = {n: parts[-1][-1] for n, parts in enumerate(runs) if parts}
    order = sorted(last, key=lambda n: last[n][1])
    heights = _apart([last[n][1] for n in order], plot.top, plot.bottom)
    for n, y in zip(order, heights, strict=True):
        color, _ = _pen(n)
        (x, end), edge = last[n], plot.right + 6
        path = f"M{x:.1f} {end:.1f}H{max(x, edge):.1f}L{edge + 12:.1f} {y:.1f}h6"
        yield tag("path", d=path, fill="none", stroke=color, opacity=0.6)
        yield words(names[n], edge + 22, y + 4.5)


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return rising heights moved as little as keeps them a step apart and inside the plot."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + _STEP if placed else top))
    limit = bottom
    for n in reversed(range(len(placed))):
        placed[n] = min(placed[n], limit)
        limit = placed[n] - _STEP
    return placed


def _pen(n: int) -> tuple[str, str]:
    """Return the colour and the dashes of the nth series."""
    return f"var(--c{n % COLORS})", _DASHES[n // COLORS % len(_DASHES)]
