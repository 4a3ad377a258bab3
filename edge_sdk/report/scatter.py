"""Chart: choices between cost and worth, and those among them that no other beats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from edge_sdk.report.axes import FOOT, Plot, columns, framed, named, rows
from edge_sdk.report.drawing import LETTER, WIDTH, hint, line, sheet, tag, width_of, words, wrap
from edge_sdk.report.report import Point, Scatter
from edge_sdk.report.scale import cost_scale, scale

_NAMED = 24  # of more points only the best are named
_LONGEST = 260.0  # px, of a name in the plot
_SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
_REACH = (11.0, 22.0, 38.0, 58.0)  # px, from a point to its name
_BEST, _BEATEN = ("var(--c0)", "var(--c0)"), ("var(--paper)", "var(--rest)")

_Place = tuple[float, float]
_Box = tuple[float, float, float, float]


def draw(chart: Scatter) -> str:
    """Return the picture; a name without room shows when its point is pointed at."""
    points = [p for p in chart.points if math.isfinite(p.x) and math.isfinite(p.y)]
    y = scale([p.y for p in points], percent="%" in chart.y_label)
    plot = framed(chart.title, chart.y_label, (cost_scale(p.x for p in points), y), 20)
    best = unbeaten(points)
    beaten = [point for point in points if point not in best]
    stairs = _stairs(plot, best)
    path = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in stairs)
    lines = tag("path", d=path, stroke="var(--c0)", stroke_dasharray="4 4")
    marks = []
    for point in [*beaten, *best]:
        mark = _mark(plot.at(point.x, point.y), *(_BEST if point in best else _BEATEN))
        marks.append(hint(f"{point.label}: {point.x:g}, {point.y:g}", mark))
    called = [*best, *beaten] if len(points) <= _NAMED else best
    full = [_around(place, place, 8) for place in (plot.at(p.x, p.y) for p in points)]
    names = list(_names(plot, called, (full, [_around(*edge, 1) for edge in stairs])))
    across = named(chart.x_label, plot.x)
    if len(names) < len(points):
        across += f"; {len(points) - len(names)} points without room for a name"
    drawn = [*columns(plot, across), *rows(plot, chart.y_label), lines, *marks, *names]
    drawn += _key(plot) if beaten else []
    if not points:
        drawn.append(words("no data", WIDTH / 2, plot.top + 40, "quiet halo", "middle"))
    return sheet(chart.title, plot.bottom + FOOT, *drawn)


def unbeaten(points: Sequence[Point]) -> list[Point]:
    """Return the points that none equals or exceeds in worth at less cost, by rising cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        equal = bool(best) and (point.x, point.y) == (best[-1].x, best[-1].y)
        if not best or equal or point.y > best[-1].y:
            best.append(point)
    return best


def _stairs(plot: Plot, best: Sequence[Point]) -> list[tuple[_Place, _Place]]:
    """Return the edges of the stairs below which lies what is to be had at each cost."""
    places = [plot.at(point.x, point.y) for point in best]
    edges = []
    for one, other in itertools.pairwise(places):
        corner = (other[0], one[1])
        edges += [(one, corner), (corner, other)]
    return edges


def _names(
    plot: Plot, points: Sequence[Point], full: tuple[Sequence[_Box], Sequence[_Box]]
) -> Iterator[str]:
    """Yield each point's name where it hides no mark and no other name, with a line if far.

    `full` are the marks and the stairs; points without room are left out.
    """
    marks, stairs = full
    taken: list[_Box] = []
    for point in points:
        x, y = plot.at(point.x, point.y)
        name = wrap(point.label, _LONGEST, 1)[0]
        found = _room(plot, (x, y), width_of(name), (marks, taken, stairs))
        if not found:
            continue
        box, trail = found
        taken += [box, *trail]
        lead = line((x, y), _nearest((x, y), box), "axis") if trail else ""
        # The box is an upper estimate, so the words stand at the side of their point.
        anchor = "start" if box[0] >= x else "end" if box[2] <= x else "middle"
        edge = {"start": box[0], "end": box[2], "middle": (box[0] + box[2]) / 2}[anchor]
        yield lead + words(name, edge, box[3] - 4, "halo", anchor)


def _room(
    plot: Plot, place: _Place, wide: float, full: tuple[Sequence[_Box], ...]
) -> tuple[_Box, list[_Box]] | None:
    """Return the best free box for a name and the trail that leads to it, None if there is none.

    `full` are the marks, the names with their trails, and the stairs, which a name may cross when
    it would otherwise not stand beside its point.
    """
    marks, taken, stairs = full
    for far, box, crossing in _boxes(place, wide):
        trail = _trail(place, box) if far else []
        hidden = [*marks, *taken] if crossing else [*marks, *taken, *stairs]
        inside = plot.left < box[0] and box[2] <= WIDTH
        inside = inside and plot.top - 8 < box[1] and box[3] < plot.bottom
        if inside and not _meet([box], hidden) and not _meet(trail, taken):
            return box, trail
    return None


def _boxes(place: _Place, wide: float) -> Iterator[tuple[bool, _Box, bool]]:
    """Yield places for a name, the best first: whether far off, the box, whether on the stairs."""
    x, y = place
    high = LETTER + 3
    for reach, crossing in ((_REACH[0], False), *((reach, True) for reach in _REACH)):
        for side, rise in _SIDES:
            aside = reach if not rise else reach * 0.7
            left = x + aside if side > 0 else x - aside - wide if side < 0 else x - wide / 2
            top = y - high / 2 + rise * (reach if side else reach + high / 2)
            yield reach > _REACH[0], (left, top, left + wide, top + high), crossing


def _trail(place: _Place, box: _Box) -> list[_Box]:
    """Return small boxes along the line from a mark to its name."""
    (x, y), (u, v) = place, _nearest(place, box)
    dots = [(x + (u - x) * n / 8, y + (v - y) * n / 8) for n in range(2, 8)]
    return [_around(dot, dot, 1.5) for dot in dots]


def _nearest(place: _Place, box: _Box) -> _Place:
    """Return the place in the box that is nearest to `place`."""
    return min(max(place[0], box[0]), box[2]), min(max(place[1], box[1]), box[3])


def _around(one: _Place, other: _Place, margin: float) -> _Box:
    """Return the box around two places."""
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(one, other, strict=True))
    return left - margin, top - margin, right + margin, bottom + margin


def _meet(boxes: Sequence[_Box], others: Sequence[_Box]) -> bool:
    """Say whether any of the boxes overlaps any of the others."""
    return any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a in boxes for b in others
    )


def _key(plot: Plot) -> list[str]:
    """Return what the two kinds of mark mean, at the top right."""
    drawn, right, y = [], WIDTH, plot.top - 20.5
    for text, pen in (("beaten by another", _BEATEN), ("best for its cost", _BEST)):
        left = right - width_of(text)
        drawn += [words(text, left, y + 4.5, "quiet"), _mark((left - 10, y), *pen)]
        right = left - 32
    return drawn


def _mark(place: _Place, fill: str, stroke: str) -> str:
    return tag("circle", cx=place[0], cy=place[1], r=5, fill=fill, stroke=stroke, stroke_width=2)
