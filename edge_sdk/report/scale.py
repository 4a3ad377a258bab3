"""An axis: which stretch of numbers it shows, where its ticks are, what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edge_sdk.report.figures import decimals, figure

_TICKS = 6
_LOG_FROM = 50  # a largest value so many times the smallest is shown on a logarithmic axis
_SLACK = 1e-9  # of a step: what rounding may put a value beyond its tick


@dataclass(frozen=True)
class Scale:
    """A nice stretch of numbers with its ticks, ascending; the first and last are the ends."""

    ticks: tuple[float, ...]
    log: bool = False

    @property
    def low(self) -> float:
        """The number at the start of the axis."""
        return self.ticks[0]

    @property
    def high(self) -> float:
        """The number at the end of the axis."""
        return self.ticks[-1]

    @property
    def cut(self) -> bool:
        """Whether the axis leaves out zero."""
        return not self.log and not self.low <= 0 <= self.high

    def at(self, value: float) -> float:
        """Return where on the axis `value` lies: 0 at its start, 1 at its end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def labels(self) -> list[str]:
        """Return the text of each tick, with the decimals that tell it from its neighbour."""
        if self.log:
            return [figure(tick, decimals([tick])) for tick in self.ticks]
        places = max(0, -math.floor(math.log10(self.ticks[1] - self.ticks[0]) + _SLACK))
        plain = places <= 6 and max(abs(self.low), abs(self.high)) < 1e9
        return [figure(tick, places) if plain else f"{tick:.6g}" for tick in self.ticks]

    def range_note(self) -> str:
        """Return the words that warn of an axis that does not begin at zero, or is logarithmic."""
        if self.log:
            return "logarithmic axis"
        first, *_, last = self.labels()
        return f"axis from {first} to {last}, not from 0" if self.cut else ""


def scale(values: Iterable[float], *, percent: bool = False, count: int = _TICKS) -> Scale:
    """Return the axis for `values` with about `count` ticks.

    It begins at zero, except where the values lie so close together that nothing could be told
    apart: when the smallest is over half of the largest. `percent` ends it at 100 if they do.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if not (low > high / 2 > 0 or high < low / 2 < 0):
        low, high = min(low, 0.0), max(high, 0.0)
    return spread(low, high, ceiling=100.0 if percent and high <= 100 else math.inf, count=count)


def spread(low: float, high: float, *, ceiling: float = math.inf, count: int = _TICKS) -> Scale:
    """Return an axis that spans at least `low` to `high`, and at least 1 % of their size."""
    least = max(abs(low), abs(high)) / 100 or 1.0
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
        low, high = low - max(high - ceiling, 0.0), min(high, ceiling)
    step = _nice((high - low) / (count - 1))
    first = math.floor(low / step + _SLACK)
    last = math.ceil(high / step - _SLACK)
    return Scale(tuple(n * step for n in range(first, max(last, first + 1) + 1)))


def cost_scale(values: Iterable[float]) -> Scale:
    """Return the axis for costs: logarithmic where they span orders of magnitude."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) < _LOG_FROM * min(finite):
        return scale(finite)
    first, last = math.floor(math.log10(min(finite))), math.ceil(math.log10(max(finite)))
    parts = (1, 2, 5) if last - first <= 4 else (1,)
    ticks = sorted({part * 10.0**n for n in range(first, last + 1) for part in parts})
    below = max(tick for tick in ticks if tick <= min(finite) * (1 + _SLACK))
    above = min(tick for tick in ticks if tick >= max(finite) * (1 - _SLACK))
    return Scale(tuple(tick for tick in ticks if below <= tick <= above), log=True)


def _nice(step: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= step * (1 - _SLACK))
