"""What every sink is: a place where results go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.frame import Frame
from runtime.tasks.base import Result


@dataclass(frozen=True)
class SinkContext:
    """What a sink may need to know when it is opened: frame rate and run facts (engine, ...)."""

    fps: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """A place where results go. `write` is called in the order of the frames."""

    def write(self, frame: Frame, result: Result, latency_ms: float) -> None:
        """Take one result; `latency_ms` is from capture to now. OutputError when it cannot."""

    def close(self) -> None:
        """Finish the output: after this it is complete and playable."""
