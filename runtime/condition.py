"""The condition in which a machine is while something is timed on it: what may disturb that."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from runtime.board import Board
from runtime.sysfs import Sysfs


class Watch:
    """Looks at the machine again and again; what only counts up shows between two looks."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._files = Sysfs(root)
        self._board = Board(root)

    def look(self) -> dict[str, Any]:
        """Return what there is to see, as flat JSON-ready values; what is not told is left out.

        Beside the health of the board: `at_s` (monotonic), `load_average` of the last minute,
        `runnable` (threads of others that run or wait for a core, now), `busy_s` (seconds of all
        cores since the start of the system, also those that a hypervisor gave to others) and
        `own_s` (those of this process).
        """
        found: dict[str, Any] = {
            "at_s": time.monotonic(),
            "own_s": time.process_time(),
            "busy_s": _busy(self._files.text("proc/stat")),
            **_load(self._files.text("proc/loadavg")),
            **self._board.read().to_json(),
        }
        return {key: value for key, value in found.items() if value is not None}


def _load(text: str | None) -> dict[str, float | None]:
    """Read `3.25 1.60 0.85 7/120 14293`, as proc(5) describes it."""
    words = (text or "").split()
    try:
        return {"load_average": float(words[0]), "runnable": int(words[3].split("/")[0]) - 1}
    except (IndexError, ValueError):
        return {"load_average": None, "runnable": None}


def _busy(text: str | None) -> float | None:
    """Read user, nice, system, irq, softirq and steal of the line `cpu` of proc(5)."""
    words = (text or "").partition("\n")[0].split()
    try:
        ticks = [int(words[column]) for column in (1, 2, 3, 6, 7, 8)]
    except (IndexError, ValueError):
        return None
    return sum(ticks) / os.sysconf("SC_CLK_TCK")
