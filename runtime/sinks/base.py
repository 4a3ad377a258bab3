"""What every sink is: a place where results go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.frame import Frame
from runtime.status import RunStatus
from runtime.tasks.base import Result


class StopRun(Exception):
    """Raised by a sink's `write` to end the run cleanly; what was captured is still finished."""


@dataclass(frozen=True)
class Stamp:
    """How a result came about: its age in milliseconds when it was decoded, from the capture of its
    frame, and what really ran, as `engine/provider`."""

    latency_ms: float
    provider: str


@dataclass(frozen=True)
class SinkContext:
    """What a sink may need to know when it is opened.

    `fps` is the source's nominal rate in frames per second, `live` whether it may lose frames
    (then times of capture say how fast it really was), `facts` what is known of the run. `status`
    returns what the run is at this moment; None where nobody can say.
    """

    fps: float | None = None
    live: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    status: Callable[[], RunStatus | None] = lambda: None


class Sink(Protocol):
    """A place where results go; opened, written and closed by one thread at a time.

    `newest` says that only the newest result matters (a window, a page): a slow one of these is
    never waited for, and what it has no time for it does not get.
    """

    newest: bool

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Take one result, in the order of the frames of its source.

        `frame.image` belongs to others too: a sink that draws does so on a copy. Raises
        OutputError when the result cannot be written, StopRun when the user ends the run.
        """

    def close(self) -> None:
        """Finish the output, also after a failure elsewhere: what was written is complete."""


@dataclass(frozen=True)
class Record:
    """What is kept of one frame once its pixels are gone; fields as in `Frame` and `Stamp`."""

    index: int
    name: str
    source: str
    captured_ns: int
    latency_ms: float
    provider: str
    truth: Any
    result: Result

    @classmethod
    def of(cls, frame: Frame, result: Result, stamp: Stamp) -> Record:
        """Make the record of one result."""
        return cls(
            frame.index,
            frame.name,
            frame.source,
            frame.captured_ns,
            stamp.latency_ms,
            stamp.provider,
            frame.truth,
            result,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready values; `truth` only where the source knows it."""
        fields = {**vars(self), "latency_ms": round(self.latency_ms, 3)}
        fields["result"] = self.result.to_json()
        if self.truth is None:
            del fields["truth"]
        return fields
