"""A camera of which the test decides when it gives a frame, fails, ends or hangs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.frame import Frame

PATIENCE_S = 20.0
"""Longest wait for something that must happen; only a failing test waits so long."""


def until(condition: Callable[[], Any], what: str = "what was expected") -> Any:
    """Wait until `condition` holds and return it."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.002)
    return value


def picture(index: int = 0, captured_ns: int | None = None) -> Frame:
    """Return a small frame, captured now."""
    now = time.monotonic_ns() if captured_ns is None else captured_ns
    return Frame(np.full((4, 6, 3), index % 256, np.uint8), index, now)


class Line:
    """One connection: `read` gives what the test puts into `steps`, and hangs until there is."""

    live = True
    policy = None
    uri = "fake"

    def __init__(self, fps: float | None = None, count: int | None = None) -> None:
        self.fps, self.count = fps, count
        self.live = count is None
        self.steps: queue.Queue[Any] = queue.Queue()
        self.closed = threading.Event()
        self.index = 0

    def give(self, *, captured_ns: int | None = None, skipped: int = 0) -> None:
        self.index += skipped
        self.steps.put(picture(self.index, captured_ns))
        self.index += 1

    def read(self) -> Frame | None:
        step = self.steps.get()
        if isinstance(step, BaseException):
            raise step
        return step if step is None or step.captured_ns else picture(step.index)

    def close(self) -> None:
        self.closed.set()


class Port:
    """What opens lines. `faults` are raised by the next attempts; a set `hang` blocks them."""

    def __init__(self, make: Callable[[], Line] = Line) -> None:
        self.make = make
        self.lines: queue.Queue[Line] = queue.Queue()
        self.faults: list[Exception] = []
        self.attempts = 0
        self.free = threading.Event()
        self.free.set()
        self.every: list[Line] = []

    def __call__(self) -> Line:
        self.attempts += 1
        self.free.wait()
        if self.faults:
            raise self.faults.pop(0)
        line = self.make()
        self.every.append(line)
        self.lines.put(line)
        return line

    def next(self) -> Line:
        """Wait for the next line to be opened."""
        return self.lines.get(timeout=PATIENCE_S)

    def release(self) -> None:
        """Let every call that hangs return."""
        self.free.set()
        for line in self.every:
            line.steps.put(None)
