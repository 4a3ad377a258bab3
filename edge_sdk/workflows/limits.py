"""What cannot be done is refused before any work: outputs, budgets, threads."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from device_profiles.errors import OutputError, RequestError

# More than any CPU has; an engine that is asked for some ten thousand takes all memory.
MAX_THREADS = 1024
NO_BUDGET = (
    "--max-drop needs something to measure: a task with an accuracy, and data with its ground "
    "truth; leave it out for raw outputs"
)


def check_writable(path: Path, others: Iterable[str | Path | None] = ()) -> None:
    """Raise OutputError when the file `path` cannot be written; leaves nothing behind.

    `others` are the files that the same work reads or writes, which it must not overwrite.
    """
    folder = path.parent
    if os.path.realpath(path) in {os.path.realpath(other) for other in others if other}:
        raise OutputError(f"{path} is a file of this very work; name another to write to")
    if not os.path.isdir(folder):
        raise OutputError(f"{path} cannot be written: there is no folder {folder}; make it first")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; name a file in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path} is no ordinary file; name one in a folder of your own")
    try:
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}); choose a writable folder with space"
        ) from error


def check_budget(max_drop: float | None) -> None:
    """Raise RequestError when `max_drop` is no number of points that may be lost."""
    if max_drop is not None and not 0 <= max_drop < math.inf:
        raise RequestError(
            f"a budget of {max_drop:g} points means nothing; give what may be lost: 0 or more"
        )


def exceeds(points: float, budget: float) -> bool:
    """Tell whether more was lost than allowed; 100 (1 - 0.95) is 5, whatever floats say."""
    return points > budget + 1e-9


def check_threads(threads: int) -> None:
    """Raise RequestError when `threads` is not 0 (the engine's choice) to MAX_THREADS."""
    if not 0 <= threads <= MAX_THREADS:
        raise RequestError(
            f"{threads} threads cannot be had; give 1 to {MAX_THREADS} (0: the engine's choice)"
        )
