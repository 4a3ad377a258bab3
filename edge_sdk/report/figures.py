"""Cells and figures as people read them: the digits that say something, and no others."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from edge_sdk.report.report import Cell

_FIGURE = re.compile(r"[-+~<>≤≥±]?\d[\d,.]*(e[-+]?\d+)?(x|%|\s|$)")
_EMPTY = ("", "-")


def clean(words: str) -> str:
    """Return `words` on one line, without control characters (a label may hold anything)."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def decimals(values: Iterable[float]) -> int | None:
    """Return how many decimals show four digits of the largest value and two of the smallest.

    Below 10 three digits are enough. Zeros that end every value are dropped. None where the values
    are too far apart, or too large or small, to be read side by side: each is then shown alone.
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    sizes = [abs(value) for value in finite if value]
    if not sizes:
        return 0
    top, bottom = (math.floor(math.log10(f(sizes))) for f in (max, min))
    if bottom < -4 or top > 8:
        return None
    places = max((3 if top > 0 else 2) - top, 1 - bottom, 0)
    while places and all(round(v, places) == round(v, places - 1) for v in finite):
        places -= 1
    return places


def figure(value: float, places: int | None) -> str:
    """Return a number with so many decimals and grouped thousands; None is three digits."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if places is None:
        return f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,.{places}f}" if places else f"{value:,}"
    return f"{round(value, places) + 0.0:,.{places}f}"  # adding 0.0 turns -0.0 into 0.0


def cells(column: Sequence[Cell]) -> list[str]:
    """Return a column as text; its floats share their number of decimals."""
    floats = [cell for cell in column if isinstance(cell, float)]
    numbers = [c for c in column if isinstance(c, (int, float)) and not isinstance(c, bool)]
    places = decimals(numbers) if floats else 0
    return [_cell(cell, places) for cell in column]


def is_numeric(column: Sequence[Cell]) -> bool:
    """Say whether a column holds figures, also such with a unit or an interval behind them."""
    filled = [c for c in column if c is not None and c not in _EMPTY]
    return bool(filled) and all(
        bool(_FIGURE.match(c)) if isinstance(c, str) else not isinstance(c, bool) for c in filled
    )


def _cell(cell: Cell, places: int | None) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return clean(cell) if isinstance(cell, str) else figure(cell, places)
