"""An outlet: every result, or the newest; its sink closed by its own thread, whatever happens."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import OutputError
from runtime.frame import Frame
from runtime.outlet import LIVE_QUEUE, Hooks, Outlet
from runtime.sinks import Stamp, StopRun
from runtime.sinks.memory import Memory
from runtime.telemetry import LatencyRecorder

STAMP = Stamp(1.0, "null/cpu")


class Gate(Memory):
    """A sink that writes only while its gate is open, and notes who closed it."""

    def __init__(self, newest: bool = False, raises: Exception | None = None) -> None:
        super().__init__()
        self.newest = newest
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.raises = raises
        self.closed_by = ""

    def write(self, frame: Frame, result: Any, stamp: Stamp) -> None:
        self.entered.set()
        assert self.gate.wait(20)
        if self.raises:
            raise self.raises
        super().write(frame, result, stamp)

    def close(self) -> None:
        self.closed_by = threading.current_thread().name
        super().close()


class Told:
    """What an outlet told the run."""

    def __init__(self) -> None:
        self.stops = 0
        self.errors: list[BaseException] = []

    def stop(self) -> None:
        self.stops += 1

    @property
    def hooks(self) -> Hooks:
        return Hooks(self.stop, self.errors.append)


def outlet(sink: Memory, queue: int | None, told: Told | None = None) -> Outlet:
    made = Outlet("it", sink, (told or Told()).hooks, LatencyRecorder(), queue)
    made.start()
    return made


def put(target: Outlet, *indexes: int) -> list[bool]:
    image = np.zeros((2, 2, 3), np.uint8)
    return [target.put(Frame(image, i, i), f"result {i}", STAMP) for i in indexes]  # type: ignore[arg-type]


def written(sink: Memory) -> list[int]:
    return [record.index for record in sink.records]


def test_a_slow_sink_of_a_live_run_is_never_waited_for() -> None:
    sink = Gate()
    target = outlet(sink, None)
    put(target, 0)
    assert sink.entered.wait(20)
    total = LIVE_QUEUE + 10
    start = time.monotonic()
    put(target, *range(1, total))
    assert time.monotonic() - start < 5  # it would wait for ever
    sink.gate.set()
    target.finish()
    assert written(sink) == [0, *range(total - LIVE_QUEUE, total)]
    assert (target.written, target.skipped) == (LIVE_QUEUE + 1, 9)


def test_a_lossless_run_waits_for_its_sink() -> None:
    sink = Gate()
    target = outlet(sink, 2)
    put(target, 0)
    assert sink.entered.wait(20)
    put(target, 1, 2)
    done = threading.Event()
    writer = threading.Thread(target=lambda: (put(target, 3), done.set()))
    writer.start()
    assert not done.wait(0.05)
    sink.gate.set()
    assert done.wait(20)
    writer.join()
    target.finish()
    assert written(sink) == [0, 1, 2, 3]
    assert target.skipped == 0


@pytest.mark.parametrize("queue", [None, 4])
def test_a_sink_of_the_newest_skips_what_it_has_no_time_for(queue: int | None) -> None:
    sink = Gate(newest=True)
    target = outlet(sink, queue)
    put(target, 0)
    assert sink.entered.wait(20)
    put(target, *range(1, 8))
    sink.gate.set()
    target.finish()
    assert written(sink) == [0, 7]
    assert target.skipped == 6


def test_a_sink_that_fails_is_closed_and_takes_no_more() -> None:
    told, sink = Told(), Gate(raises=OutputError("the disk is full"))
    sink.gate.set()
    target = outlet(sink, 4, told)
    put(target, 0)
    target.finish()
    assert [str(error) for error in told.errors] == ["the disk is full"]
    assert put(target, 1) == [False]
    assert (sink.closed, sink.closed_by) == (True, "sink it")


def test_a_sink_that_ends_the_run_says_so_once_and_gets_nothing_more() -> None:
    told, sink = Told(), Gate(raises=StopRun())
    target = outlet(sink, 4, told)
    put(target, 0, 1, 2)
    sink.gate.set()
    assert put(target, 3) == [True]
    target.finish()
    assert (told.stops, told.errors, written(sink)) == (1, [], [])
    assert sink.closed


def test_an_outlet_that_never_ran_closes_its_sink() -> None:
    sink = Memory()
    target = Outlet("it", sink, Told().hooks, LatencyRecorder(), 4)
    target.finish()
    assert sink.closed
