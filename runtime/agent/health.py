"""Whether a release that was just started does its work: it is up, and results come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_profiles.errors import ReleaseError
from runtime.agent.layout import remove
from runtime.agent.release import Health
from runtime.agent.services.base import Liveness, Service

STATS = "stats.json"
LOOK_S = 0.05
_MOST_BYTES = 1 << 20
MOST_RESTARTS = 2
"""How often it may end by itself before it is given up: a camera may need a second attempt."""


@dataclass(frozen=True)
class Healthy:
    """What a service showed: so many results, `seconds` after its start, on which engine."""

    results: int
    seconds: float
    engine: Mapping[str, Any] = field(default_factory=dict)


class Results:
    """Counts the results of a service by the stats that it keeps: of its best life, since many that
    each ended early are no sign of health."""

    def __init__(self, work: Path) -> None:
        self._path = work / STATS
        self._most = 0
        self.engine: Mapping[str, Any] = {}

    def clear(self) -> None:
        """Forget what an earlier service left."""
        remove(self._path)

    def count(self) -> int:
        """Return how many results there were, by now, without its having been started again."""
        status, _ = read_stats(self._path)
        results = status.get("results")
        self._most = max(self._most, results if isinstance(results, int) else 0)
        engine = status.get("engine")
        self.engine = engine if isinstance(engine, dict) else self.engine
        return self._most


def read_stats(path: Path) -> tuple[dict[str, Any], float]:
    """Return what a run says of itself, and when it did (`time.time`); nothing before it did.

    Its own user writes that file, who is not to have us read another one, or wait for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            at = os.fstat(descriptor).st_mtime
            found = json.loads(file.read(_MOST_BYTES)).get("status")
    except (OSError, ValueError, AttributeError, RecursionError):  # not there yet, or none of ours
        return {}, 0.0
    return (found, at) if isinstance(found, dict) else ({}, 0.0)


def judge(service: Service, results: Results, wanted: Health) -> Healthy:
    """Wait until a service gave its results; ReleaseError with the reason when it does not."""
    start = time.monotonic()
    while True:
        seconds = time.monotonic() - start
        alive = service.liveness()
        count = max(results.count(), int(alive.ready))  # it is ready from its first result on
        if count >= wanted.results and alive.running:
            return Healthy(count, seconds, results.engine)
        if alive.restarts > MOST_RESTARTS:
            raise ReleaseError(f"its service ended {alive.restarts} times: {_why(service, alive)}")
        if seconds > wanted.within_s:
            raise ReleaseError(
                f"{count} of {wanted.results} results within {wanted.within_s:.0f} s: "
                f"{_why(service, alive)}"
            )
        time.sleep(LOOK_S)


def _why(service: Service, alive: Liveness) -> str:
    """Say why it does not work: how it ended, or the last line that it wrote."""
    said = [line.strip() for line in service.log(20) if line.strip()]
    if alive.reason:
        return alive.reason
    last = f"; it wrote: {said[-1][:300]}" if said else ""
    return f"it {'runs' if alive.running else 'does not run'}{last}"
