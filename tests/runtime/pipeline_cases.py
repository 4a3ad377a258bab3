"""An engine that tells what it saw, scenes, and slow sinks, for the tests of pipelines."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from device_profiles.errors import EngineError, SourceError
from runtime.contract import InputContract
from runtime.frame import Frame
from runtime.manifest import TensorSpec
from runtime.sinks import Stamp
from runtime.sinks.memory import Memory
from runtime.sources import Policy


@dataclass
class MeanEngine:
    """Answers with the mean of the blue channel, so that a result tells its frame."""

    seconds: float = 0.0
    fails_at: int | None = None
    runs: int = 0
    name: str = "mean"
    version: str = "1.0"
    provider: str = "cpu"
    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", "uint8", (1, 8, 8, 3)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("mean", "float32", (1, 1)),)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        (batch,) = inputs
        assert batch.shape == (1, 8, 8, 3)
        assert batch.dtype == np.uint8
        time.sleep(self.seconds)
        if self.runs == self.fails_at:
            raise EngineError("the engine is broken")
        self.runs += 1
        return [batch[..., :1].mean(axis=(1, 2), dtype=np.float32)]

    def close(self) -> None:
        raise AssertionError("the pipeline must leave the engine open")


@dataclass
class Model:
    engine: MeanEngine = field(default_factory=MeanEngine)
    contract: InputContract = field(default_factory=lambda: InputContract(8, 8))
    labels: tuple[str, ...] = ()
    task: str = "raw"
    decoder: dict[str, Any] = field(default_factory=dict)


class Scene:
    """Frames filled with their own number; live ones come every `seconds`."""

    fps = 100.0
    policy: Policy | None = None

    def __init__(
        self, count: int = 30, live: bool = False, seconds: float = 0.0, uri: str = "scene"
    ) -> None:
        self.uri = uri
        self.count: int | None = count
        self.live = live
        self.fails_at: int | None = None
        self.closed = threading.Event()
        self.closed_by = ""
        self._seconds = seconds
        self._index = 0

    def read(self) -> Frame | None:
        time.sleep(self._seconds)
        if self._index == self.fails_at:
            raise SourceError("the cable is out")
        if self._index == self.count:
            return None
        image = np.full((8, 8, 3), self._index % 256, np.uint8)
        self._index += 1
        return Frame(image, self._index - 1, time.monotonic_ns(), f"f{self._index - 1}")

    def close(self) -> None:
        self.closed_by = threading.current_thread().name
        self.closed.set()


class Slow(Memory):
    """A memory that takes its time, and may fail or end the run."""

    def __init__(self, seconds: float = 0.0, at: int = -1, raises: Exception | None = None) -> None:
        super().__init__()
        self._seconds, self._at, self._raises = seconds, at, raises

    def write(self, frame: Frame, result: Any, stamp: Stamp) -> None:
        time.sleep(self._seconds)
        if frame.index == self._at and self._raises:
            raise self._raises
        super().write(frame, result, stamp)


def seen(sink: Memory) -> list[int]:
    """Which frames the results in `sink` are of, by what the engine saw."""
    return [round(result.outputs[0].mean) for result in sink.results]  # type: ignore[attr-defined]
