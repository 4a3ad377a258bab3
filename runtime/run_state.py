"""What a run is, as its threads note it: frames, results, drops, ages, states."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from device_profiles.errors import RequestError
from runtime.engines.base import Engine
from runtime.governor import Pace
from runtime.monitor import Observer
from runtime.outlet import Outlet
from runtime.sources import Source
from runtime.status import RunStatus, SourceState, SourceStatus
from runtime.telemetry import StageTimes

SHORTEST_LAP_S = 0.2


class Health(Protocol):
    """The health of a board at one moment."""

    def to_json(self) -> dict[str, Any]:
        """Return what is known as flat JSON-ready values."""


class Brake(Protocol):
    """What slows a run down where the board asks for it (`governor.Governor`); `interval_s` is the
    least time between two frames, 0 for no limit, and `reason` why there is one."""

    reason: str

    @property
    def interval_s(self) -> float:
        """The least time between two frames taken, in seconds."""

    def observe(self, health: Any, fps: float, now: float) -> None:
        """Take the health of the board, the rate of frames that were taken, and the time."""


@dataclass(frozen=True)
class PipelineOptions:
    """How to run: `max_frames` results at most (None: all), `queue` frames between two stages for
    sources that are not live, `track` to follow things from frame to frame.

    `board` reads the health of the board once a second, `governor` slows the run down by it;
    `observers` are told the state of the run once a second. `own_engine` has the runner's engine
    closed at the end.
    """

    max_frames: int | None = None
    queue: int = 4
    track: bool = False
    board: Callable[[], Health] | None = None
    governor: Brake | None = None
    observers: tuple[Observer, ...] = ()
    own_engine: bool = False

    def __post_init__(self) -> None:
        for name in ("max_frames", "queue"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RequestError(f"pipeline option {name} must be at least 1, not {value}")


@dataclass(frozen=True)
class RunSummary:
    """What a run was: `frames` captured = `results` + what was `dropped`, by reason.

    Reasons: `newer` (a live source had a newer frame), `stopped` (the run ended or failed before
    its turn). `seconds` is from start to last result, `fps` results per second. `ended` is `end`,
    `max_frames`, `stopped` or `failed`. `stages` are times per stage, `age` among them, `engine`
    says what really ran. `sources` and `sinks` have the counts of each; a sink has `skipped` the
    results that it had no time for.
    """

    source: str
    frames: int
    results: int
    dropped: dict[str, int]
    seconds: float
    fps: float
    ended: str
    stages: dict[str, Any]
    engine: dict[str, Any]
    sources: tuple[dict[str, Any], ...] = ()
    sinks: tuple[dict[str, Any], ...] = ()
    board: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return {**vars(self), "sources": list(self.sources), "sinks": list(self.sinks)}


@dataclass
class Tally:
    """The counts of one source; each is written by one thread. `lost` frames were captured, and
    gone before they could be read."""

    frames: int = 0
    lost: int = 0
    results: int = 0

    def count(self, index: int) -> None:
        """Count the frame with this index, and those that were lost before it."""
        self.lost += max(0, index - self.frames)
        self.frames = max(self.frames + 1, index + 1)


class RunState:
    """What the threads of a run note as they go."""

    def __init__(
        self,
        sources: Sequence[Source],
        engine: Engine,
        times: StageTimes,
        options: PipelineOptions,
    ) -> None:
        self.tallies = [Tally() for _ in sources]
        self.start = time.monotonic()
        self.last = 0.0
        self.ended = "end"
        self._sources = sources
        self._engine = engine
        self._times = times
        self._options = options
        self._error: BaseException | None = None
        self._board: dict[str, Any] = {}
        self._lap = (self.start, 0)
        self._recent: dict[str, Any] = {}
        self._fps = 0.0
        self._total: dict[str, Any] = {}
        self._pace = Pace()
        self._stopped = threading.Event()

    @property
    def results(self) -> int:
        """How many results were delivered."""
        return sum(tally.results for tally in self.tallies)

    def delivered(self, number: int) -> None:
        """Count a result of a source."""
        self.tallies[number].results += 1
        self.last = time.monotonic()

    def note(self, error: BaseException) -> None:
        """Keep the first error."""
        if self._error is None:
            self._error = error
            self.ended = "failed"

    def raise_error(self) -> None:
        """Raise the error that was kept, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait_for_turn(self) -> None:
        """Wait until the governor allows a further frame, but not beyond the end of the run."""
        wait_s = self._pace.wait_s(time.monotonic())
        if wait_s:
            self._stopped.wait(wait_s)

    def took(self, frames: int) -> None:
        """Note that so many frames were taken."""
        governor = self._options.governor
        if governor is not None:
            for _ in range(frames):
                self._pace.took(time.monotonic(), governor.interval_s)

    def stop(self) -> None:
        """Let nobody wait for the governor any more."""
        self._stopped.set()

    def tick(self, outlets: Sequence[Outlet], dropped: Sequence[int]) -> RunStatus:
        """End an interval: return its status, with the health of the board read anew."""
        now, results = time.monotonic(), self.results
        since, before = self._lap
        whole = now - since >= SHORTEST_LAP_S  # what is left over at the end says nothing
        if whole:
            self._fps = (results - before) / (now - since)
            self._lap = (now, results)
            self._recent = self._times.lap()
        if self._options.board is not None:
            health = self._options.board()
            self._board = health.to_json()
            governor = self._options.governor
            if governor is not None and whole:
                governor.observe(health, self._fps, now)
            if governor is not None and governor.interval_s:
                limit = {"limit_fps": round(1 / governor.interval_s, 3)}
                self._board |= {**limit, "limit_reason": governor.reason}
        self._total = self._times.to_json()
        return self.status(outlets, dropped)

    def status(self, outlets: Sequence[Outlet], dropped: Sequence[int]) -> RunStatus:
        """Return what the run is now; times and rates are those of the last interval."""
        newer = sum(dropped) + sum(tally.lost for tally in self.tallies)
        return RunStatus(
            seconds=round(time.monotonic() - self.start, 3),
            frames=sum(tally.frames for tally in self.tallies),
            results=self.results,
            dropped={"newer": newer},
            fps=round(self._fps, 3),
            recent=self._recent,
            total=self._total or self._times.to_json(),
            sources=tuple(self._source_status(i) for i in range(len(self._sources))),
            engine=engine_facts(self._engine),
            board=self._board,
            sinks={outlet.name: outlet.skipped for outlet in outlets},
        )

    def summary(self, outlets: Sequence[Outlet], dropped: Sequence[int]) -> RunSummary:
        """Return what the run was so far."""
        frames = sum(tally.frames for tally in self.tallies)
        newer = sum(dropped) + sum(tally.lost for tally in self.tallies)
        seconds = max(0.0, self.last - self.start)
        sources = []
        for number, (source, tally) in enumerate(zip(self._sources, self.tallies, strict=True)):
            status = self._source_status(number)
            counts = {"frames": tally.frames, "results": tally.results}
            lost = {"newer": tally.lost + dropped[number], "reconnects": status.reconnects}
            sources.append({"uri": source.uri, **counts, **lost, "state": status.state.value})
        return RunSummary(
            source=", ".join(source.uri for source in self._sources),
            frames=frames,
            results=self.results,
            dropped={"newer": newer, "stopped": frames - newer - self.results},
            seconds=round(seconds, 6),
            fps=round(self.results / seconds, 3) if seconds else 0.0,
            ended=self.ended,
            stages=self._times.to_json(),
            engine=engine_facts(self._engine),
            sources=tuple(sources),
            sinks=tuple(
                {"sink": o.name, "written": o.written, "skipped": o.skipped} for o in outlets
            ),
            board=self._board,
        )

    def _source_status(self, number: int) -> SourceStatus:
        """Return what a source says of itself; one that says nothing is a file, which is there."""
        source = self._sources[number]
        status: Callable[[], SourceStatus] | None = getattr(source, "status", None)
        if status is not None:
            return status()
        since_ns = int(self.start * 1e9)
        frames = self.tallies[number].frames
        return SourceStatus(source.uri, SourceState.LIVE, since_ns, frames=frames)


def engine_facts(engine: Any) -> dict[str, Any]:
    """Return what really runs: `name`, `version`, `provider`, and what else the engine tells."""
    facts = {"name": engine.name, "version": engine.version, "provider": engine.provider}
    tell: Callable[[], Mapping[str, Any]] | None = getattr(engine, "status", None)
    return facts if tell is None else {**facts, **tell()}
