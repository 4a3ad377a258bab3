"""What a run is at this moment: the values that sinks, logs and operators are shown."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Times = Mapping[str, Mapping[str, float]]
"""Stage -> `count`, `mean_ms`, `p50_ms`, `p90_ms`, `p99_ms`, `max_ms`."""


class SourceState(str, enum.Enum):
    """What a live source is doing; a file is always LIVE."""

    CONNECTING = "CONNECTING"  # being opened, no frame yet
    LIVE = "LIVE"
    STALE = "STALE"  # open, but its newest frame is too old
    LOST = "LOST"  # given up on this connection; the next attempt is due


@dataclass(frozen=True)
class SourceStatus:
    """One source: its URI without passwords, its state, and since when (`time.monotonic_ns`).

    `age_s` is the age of its newest frame, None before the first; `reason` says in one line why it
    is not LIVE; `frames` were captured, `reconnects` counts successful openings after the first.
    """

    uri: str
    state: SourceState
    since_ns: int
    age_s: float | None = None
    frames: int = 0
    reconnects: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RunStatus:
    """A run so far, and in its last interval.

    `seconds` since the start; `frames` captured = `results` + `dropped` (by reason) + what is in
    flight. `fps` (results per second) and `recent` are of the last interval, `total` of the whole
    run; the stages are those of `telemetry.StageTimes`, `age` among them. `engine` says what
    really runs (name, version, provider, rung), `board` is the health of the board, `sinks` how
    many results each had no time for.
    """

    seconds: float
    frames: int
    results: int
    dropped: Mapping[str, int]
    fps: float
    recent: Times
    total: Times
    sources: tuple[SourceStatus, ...]
    engine: Mapping[str, Any]
    board: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON-ready values."""
        return asdict(self)
