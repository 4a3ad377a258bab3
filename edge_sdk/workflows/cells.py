"""Figures with their intervals, for the cells of tables and for sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.evaluate.base import Figure, Terms

Interval = Mapping[str, float]


def heading(figure: Figure) -> str:
    """Return the head of a figure's column: `top-1, %`."""
    return f"{figure.name}, {figure.unit}"


def scale(figure: Figure) -> float:
    """Return what a figure is multiplied by for its unit."""
    return 100.0 if figure.unit == "%" else 1.0


def measured(accuracy: Mapping[str, Any] | None, figure: Figure) -> str:
    """Return a figure of a comparison's `reference` or `artifact` as a cell of its column."""
    interval = accuracy.get(figure.key) if accuracy else None
    return percent(interval) if figure.unit == "%" else _numbers(interval, 2)


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
    return _numbers(interval, 1)


def loss(interval: Interval | None, terms: Terms) -> str:
    """Return a `drop` as a cell under a column in `terms.lost`; `-` for None."""
    return _numbers(interval, 1 if terms.lost == "points" else 2)


def worst_snr(comparison: Mapping[str, Any]) -> float | None:
    """Return the signal-to-noise ratio of the worst output in dB; None when all are exact."""
    ratios = [o.get("snr_db") for o in comparison.get("outputs", [comparison])]
    return min((float(ratio) for ratio in ratios if ratio is not None), default=None)


def largest_error(comparison: Mapping[str, Any]) -> float:
    """Return the largest difference between outputs of artifact and reference."""
    if "outputs" not in comparison:
        return float(comparison["max_abs_difference"])
    return max((float(output["max_abs"]) for output in comparison["outputs"]), default=0.0)


def decibels(value: float | None) -> str:
    """Return a ratio in dB; None stands for outputs without any difference."""
    return "exact" if value is None else f"{value:.1f}"


def _numbers(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "-"
    value, low, high = (f"{interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
