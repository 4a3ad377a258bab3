"""Figures with their intervals, for the cells of tables and for sentences."""

from __future__ import annotations

from collections.abc import Mapping

Interval = Mapping[str, float]


def percent(interval: Interval | None) -> str:
    """Return a share as a cell under a column in %: `97.4 (95.6 to 98.5)`; `-` for None."""
    if interval is None:
        return "-"
    value, low, high = (100 * interval[key] for key in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def share(interval: Interval) -> str:
    """Return a share for a sentence: `97.4 % (95.6 to 98.5)`."""
    return percent(interval).replace(" (", " % (", 1)


def points(interval: Interval | None) -> str:
    """Return a difference in points with its interval: `0.4 (-0.6 to 1.4)`; `-` for None."""
    if interval is None:
        return "-"
    return f"{interval['value']:.1f} ({interval['low']:.1f} to {interval['high']:.1f})"


def decibels(value: float | None) -> str:
    """Return a ratio in dB; None stands for outputs without any difference."""
    return "exact" if value is None else f"{value:.1f}"
