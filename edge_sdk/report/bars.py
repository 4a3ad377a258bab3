"""Chart: values of one unit in rows, with whiskers."""

from __future__ import annotations

import math

from edge_sdk.report.axes import FOOT, Plot, columns, named
from edge_sdk.report.drawing import WIDTH, head_height, hint, sheet, tag, width_of, words, wrap
from edge_sdk.report.figures import decimals, figure
from edge_sdk.report.report import Bar, Bars
from edge_sdk.report.scale import Scale, scale

_GAP = 16.0  # px, beside the plot
_BOLD = 1.1  # what words in bold are wider
_CAP = 5.0  # px, half a whisker's end


def draw(chart: Bars) -> str:
    """Return the picture: label, bar (or, on an axis without zero, a dot), whiskers, value."""
    places = decimals(bar.value for bar in chart.items)
    texts = [_value(bar, places) for bar in chart.items]
    labels = [wrap(bar.label, WIDTH * 0.28, 2) for bar in chart.items]
    plot = _plot(chart, labels, texts)
    row = plot.height / max(len(labels), 1)
    some = any(bar.highlight for bar in chart.items)
    drawn = columns(plot, named(chart.unit, plot.x))
    for n, (bar, label, text) in enumerate(zip(chart.items, labels, texts, strict=True)):
        middle = plot.top + row * (n + 0.5)
        kind = "strong" if bar.highlight else ""
        color = "var(--c0)" if bar.highlight or not some else "var(--rest)"
        first = middle + 4.5 - 8 * (len(label) - 1)
        name = [words(part, 0, first + 16 * i, kind) for i, part in enumerate(label)]
        value = words(text, WIDTH, middle + 4.5, kind, "end")
        drawn.append(hint(f"{bar.label}: {text}", *name, *_mark(bar, plot, middle, color), value))
    if not chart.items:
        drawn.append(words("no data", WIDTH / 2, plot.top + 20, "quiet halo", "middle"))
    return sheet(chart.title, plot.bottom + FOOT, *drawn)


def _plot(chart: Bars, labels: list[list[str]], texts: list[str]) -> Plot:
    ends = [end for bar in chart.items for end in (bar.low, bar.high) if end is not None]
    values = [*(bar.value for bar in chart.items), *ends]
    across = scale(values, percent=chart.unit.startswith("%"), count=5)
    left = max((width_of(part) for label in labels for part in label), default=0.0) * _BOLD + _GAP
    right = max(map(width_of, texts), default=0.0) * _BOLD + _GAP
    row = 42.0 if any(len(label) > 1 for label in labels) else 30.0
    top = head_height(chart.title)
    size = (WIDTH - left - right, row * max(len(labels), 1))
    return Plot(left, top, *size, across, Scale((0.0, 1.0)))


def _value(bar: Bar, places: int | None) -> str:
    if bar.low is None or bar.high is None:
        return figure(bar.value, places)
    value, low, high = (figure(v, places) for v in (bar.value, bar.low, bar.high))
    return f"{value} ({low} to {high})"


def _mark(bar: Bar, plot: Plot, middle: float, color: str) -> list[str]:
    """Return the bar or dot and its whiskers; nothing for a value that is not finite."""
    if not math.isfinite(bar.value):
        return []
    at = plot.at(bar.value, 0)[0]
    if plot.x.cut:
        return [
            *_whiskers(bar, plot, middle, color),
            tag("circle", cx=at, cy=middle, r=5.5, fill=color),
        ]
    zero = plot.at(0, 0)[0]
    box = {"x": min(zero, at), "y": middle - 8, "width": abs(at - zero), "height": 16.0}
    return [
        tag("rect", **box, rx=2, fill=color, fill_opacity=0.75),
        *_whiskers(bar, plot, middle, "var(--ink)"),
    ]


def _whiskers(bar: Bar, plot: Plot, middle: float, color: str) -> list[str]:
    ends = [end for end in (bar.low, bar.high) if end is not None and math.isfinite(end)]
    if not ends:
        return []
    reach = [plot.at(value, 0)[0] for value in (*ends, bar.value)]
    caps = [((x, middle - _CAP), (x, middle + _CAP)) for x in reach[:-1]]
    strokes = [((min(reach), middle), (max(reach), middle)), *caps]
    path = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in strokes)
    return [tag("path", d=path, stroke=color, stroke_width=1.6)]
