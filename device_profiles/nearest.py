"""The nearest known names to a mistyped one, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of the `known` names that resemble `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.4)


def hint(name: str, known: Iterable[str]) -> str:
    """Return "did you mean a, b?" or, where nothing resembles, "known: a, b, c"."""
    options = sorted(known)
    close = nearest(name, options)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(options)}"
