"""The plot of a chart: where values lie on the sheet, its grid, and what is written along it."""

from __future__ import annotations

from dataclasses import dataclass

from edge_sdk.report.drawing import WIDTH, head_height, line, width_of, words, wrap
from edge_sdk.report.scale import Scale

HEIGHT = 280.0  # px, of a plot with a vertical axis
FOOT = 48.0  # px, for the ticks and the name of the horizontal axis
_LINE = 17.0


@dataclass(frozen=True)
class Plot:
    """The rectangle between the axes, in px, and the scales along them."""

    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    @property
    def right(self) -> float:
        """The right edge, px."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge, px."""
        return self.top + self.height

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where on the sheet the values lie, px."""
        return self.left + self.width * self.x.at(x), self.bottom - self.height * self.y.at(y)


def framed(title: str, y_label: str, scales: tuple[Scale, Scale], right: float) -> Plot:
    """Return the plot under a title and the name of its vertical axis, `right` px from the edge."""
    x, y = scales
    left = max(map(width_of, y.labels())) + 10
    top = head_height(title) + _LINE * len(_upright(y_label, y)) + 18
    return Plot(left, top, WIDTH - left - right, HEIGHT, x, y)


def columns(plot: Plot, name: str) -> list[str]:
    """Return the vertical grid lines, their ticks below and the name of the axis."""
    texts = plot.x.labels()
    every = 1 + int(sum(width_of(text) + 10 for text in texts) // plot.width)
    drawn = []
    for n, (tick, text) in enumerate(zip(plot.x.ticks, texts, strict=True)):
        across = plot.at(tick, plot.y.low)[0]
        drawn.append(line((across, plot.top), (across, plot.bottom), _kind(tick)))
        if n % every == 0:
            drawn.append(words(text, across, plot.bottom + 20, "quiet", "middle"))
    middle = plot.left + plot.width / 2
    room = 2 * min(middle, WIDTH - middle)
    return [*drawn, words(wrap(name, room, 1)[0], middle, plot.bottom + 41, "quiet", "middle")]


def rows(plot: Plot, label: str) -> list[str]:
    """Return the horizontal grid lines, their ticks to the left and the name of the axis above."""
    drawn = []
    for tick, text in zip(plot.y.ticks, plot.y.labels(), strict=True):
        height = plot.at(plot.x.low, tick)[1]
        drawn.append(line((plot.left, height), (plot.right, height), _kind(tick)))
        drawn.append(words(text, plot.left - 8, height + 4.5, "quiet", "end"))
    parts = _upright(label, plot.y)
    first = plot.top - 16 - _LINE * (len(parts) - 1)
    return drawn + [words(part, 0, first + _LINE * n, "quiet") for n, part in enumerate(parts)]


def _upright(label: str, scale: Scale) -> list[str]:
    return wrap(named(label, scale), WIDTH * 0.6, 2)


def named(label: str, scale: Scale) -> str:
    """Return the name of an axis with the warning that its scale asks for."""
    note = scale.range_note()
    return f"{label} ({note})" if note else label


def _kind(tick: float) -> str:
    return "grid" if tick else "axis"
