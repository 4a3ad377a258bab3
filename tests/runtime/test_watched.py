"""Watched: whatever the camera does, frames are new, states are true, nothing hangs or leaks."""

from __future__ import annotations

import gc
import logging
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from device_profiles.errors import MissingError, SourceError
from runtime import watched
from runtime.frame import Frame
from runtime.sources import Policy, SourceOptions
from runtime.status import SourceState
from runtime.watched import MAX_HUNG, Watched
from tests.runtime.source_cases import PATIENCE_S, Line, Port, picture, until

CONNECTING, LIVE, STALE, LOST = SourceState
QUICK = SourceOptions(stale=0.05, retry_cap=0.02)
Make = Callable[..., tuple[Watched, Port]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return what makes a watched source and its port; both are closed and must leave nothing."""
    monkeypatch.setattr(watched, "_CLOSE_GRACE_S", 0.05)  # most of them hang
    before = set(threading.enumerate())
    made: list[tuple[Watched, Port]] = []

    def build(
        options: SourceOptions | None = None, port: Port | None = None, uri: str = "fake"
    ) -> tuple[Watched, Port]:
        port = port or Port()
        made.append((Watched(uri, port, options), port))
        return made[-1]

    yield build
    for source, port in made:
        source.close()
        port.release()
    until(lambda: set(threading.enumerate()) <= before, "the end of every thread")
    for _, port in made:
        assert all(line.closed.is_set() for line in port.every)


def read(source: Watched) -> Frame:
    """Read a frame that must come; what never ends is closed, so that the test does."""
    timer = threading.Timer(PATIENCE_S, source.close)
    timer.start()
    frame = source.read()
    timer.cancel()
    timer.join()
    assert frame is not None
    return frame


def state(source: Watched) -> SourceState:
    return source.status().state


# --- frames


def test_frames_come_in_order_and_those_overtaken_are_counted(make: Make) -> None:
    source, port = make()
    line = port.next()
    assert source.status().age_s is None
    line.give()
    assert read(source).index == 0
    for _ in range(3):
        line.give()
    until(lambda: source.status().frames == 4)
    assert read(source).index == 3
    assert source.dropped == 2
    line.give(skipped=5)  # lost inside the source
    assert read(source).index == 9
    assert (source.dropped, source.status().frames) == (7, 10)


def test_read_waits_for_a_frame(make: Make) -> None:
    source, port = make()
    line = port.next()
    got: list[Frame | None] = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    line.give()
    reader.join(PATIENCE_S)
    assert len(got) == 1


def test_no_frame_is_given_twice_nor_one_older_than_the_last(make: Make) -> None:
    source, port = make()
    line = port.next()
    now = time.monotonic_ns()
    line.give(captured_ns=now)
    assert read(source).captured_ns == now
    for old in (now, now - 1):
        line.give(captured_ns=old)
    line.give(captured_ns=now + 1)
    assert read(source).captured_ns == now + 1
    assert source.dropped == 2


def test_a_time_of_capture_in_the_future_is_now(make: Make) -> None:
    source, port = make()
    port.next().give(captured_ns=time.monotonic_ns() + 10**12)
    assert read(source).captured_ns <= time.monotonic_ns()


def test_a_source_of_known_length_ends_and_loses_nothing(make: Make) -> None:
    source, port = make(port=Port(lambda: Line(fps=25.0, count=3)))
    line = port.next()
    for _ in range(3):
        line.give()
    line.steps.put(None)
    assert [read(source).index for _ in range(3)] == [0, 1, 2]
    assert (source.live, source.count, source.fps) == (False, 3, 25.0)
    assert source.read() is None
    assert source.read() is None
    assert (port.attempts, source.dropped) == (1, 0)


def test_with_the_policy_block_the_camera_waits_and_does_not_go_stale(make: Make) -> None:
    options = SourceOptions(stale=0.05, policy=Policy(drops=False, depth=0))
    source, port = make(options)
    line = port.next()
    for _ in range(4):
        line.give()
    assert read(source).index == 0
    time.sleep(0.2)  # four times the age at which it would be stale
    assert state(source) is LIVE
    assert [read(source).index for _ in range(3)] == [1, 2, 3]
    assert source.dropped == 0


# --- the first connection


@pytest.mark.parametrize("fault", [SourceError("fake: is not there"), ValueError("odd"), None])
def test_a_camera_that_is_not_there_at_the_start_is_an_error(
    fault: Exception | None, make: Make
) -> None:
    port = Port()
    if fault:
        port.faults = [fault]
    else:
        port.free.clear()
    source, _ = make(SourceOptions(open=0.05), port)
    said = str(fault).removeprefix("fake: ") if fault else r"gives no frame within 0\.05 s"
    with pytest.raises(SourceError, match=rf"fake: .*{said}.*#wait=1"):
        source.wait_for_first()
    with pytest.raises(SourceError, match="#wait=1"):
        source.read()
    assert (port.attempts, state(source)) == (1, LOST)


def test_wait_waits_for_a_camera(make: Make) -> None:
    port = Port()
    port.faults = [SourceError("no")] * 3
    source, _ = make(SourceOptions(wait=True, retry_cap=0.01), port)
    port.next().give()
    source.wait_for_first()
    assert (port.attempts, state(source), source.status().reconnects) == (4, LIVE, 0)


def test_what_is_not_installed_is_not_waited_for(make: Make) -> None:
    port = Port()
    port.faults = [MissingError("no picamera2")]
    source, _ = make(SourceOptions(wait=True), port)
    with pytest.raises(MissingError, match="no picamera2"):
        source.read()


# --- faults


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (None, "the stream ended"),
        (SourceError("fake: unplugged"), "fake: unplugged"),
        (RuntimeError("bad\nthing"), r"RuntimeError\('bad"),
        (SystemExit(3), r"SystemExit\(3\)"),
    ],
)
def test_a_source_that_ends_or_fails_is_opened_again(step: Any, reason: str, make: Make) -> None:
    port = Port()
    source, _ = make(port=port)
    line = port.next()
    line.give()
    read(source)
    port.free.clear()
    line.steps.put(step)
    until(lambda: port.attempts == 2)
    assert state(source) is CONNECTING
    assert re.search(reason, source.status().reason)
    assert "\n" not in source.status().reason
    port.free.set()
    port.next().give()
    assert read(source).index == 1
    status = source.status()
    assert (status.state, status.reason, status.reconnects) == (LIVE, "", 1)
    assert line.closed.is_set()


def test_a_read_that_hangs_goes_stale_and_is_left_behind(make: Make) -> None:
    source, port = make(SourceOptions(stale=0.2))
    first = port.next()
    first.give()
    read(source)
    second = port.next()  # the first one hangs
    assert not first.closed.is_set()
    second.give()
    assert read(source).index == 1
    first.give()  # it returns after all: too late, nobody wants that frame
    assert first.closed.wait(PATIENCE_S)
    second.give()
    assert read(source).index == 2
    assert source.status().reconnects == 1


def test_a_camera_slower_than_it_says_is_met_with_more_patience(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_STALE_S", 0.1)
    source, port = make(SourceOptions(retry_cap=0.01), Port(lambda: Line(fps=100.0)))
    patience = []
    for _ in range(5):
        line = port.next()
        line.give()
        read(source)
        began = time.monotonic()
        until(lambda: not port.lines.empty(), "another connection")
        patience.append(time.monotonic() - began)
        line.steps.put(None)  # it hung, and returns
    # 0.15 s, doubled up to eight times; what is measured can only be longer.
    assert all(wait >= 0.14 * 2 ** min(n, 3) for n, wait in enumerate(patience))
    line = port.next()
    for _ in range(4):
        line.give()
        read(source)
    until(lambda: not port.lines.empty(), "another connection")
    assert source._slow == 0  # it gave more than a few: it is no slow one


def test_a_freeze_shorter_than_our_patience_keeps_the_connection(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_LOST_SHARE", 1e6)
    source, port = make(QUICK)
    line = port.next()
    line.give()
    read(source)
    until(lambda: state(source) is STALE)
    assert "older than 0.05 s" in source.status().reason
    assert source.status().age_s >= 0.05
    line.give()
    read(source)
    assert port.attempts == 1


def test_frames_that_were_held_up_on_the_way_are_stale_not_live(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_LOST_SHARE", 1e6)
    source, port = make(SourceOptions(stale=5))
    line = port.next()
    line.give(captured_ns=time.monotonic_ns() - 10**10)
    read(source)
    until(lambda: state(source) is STALE)
    line.give()
    read(source)
    until(lambda: state(source) is LIVE)


def test_a_hang_while_opening_is_left_behind(make: Make) -> None:
    source, port = make(SourceOptions(open=0.1, retry_cap=0.02))
    line = port.next()
    line.give()
    read(source)
    port.free.clear()
    line.steps.put(None)
    until(lambda: port.attempts >= 3)
    assert "gives no frame within 0.1 s" in source.status().reason
    port.free.set()
    until(lambda: [line.give() for line in port.every] and source.status().frames > 1)
    assert read(source).index >= 1


def test_few_connections_hang_at_a_time(make: Make) -> None:
    port = Port()
    source, _ = make(SourceOptions(open=0.02, retry_cap=0.01, wait=True), port)
    port.free.clear()
    until(lambda: "connections hang" in source.status().reason)
    assert state(source) is LOST
    assert port.attempts == MAX_HUNG
    assert "#isolate=process" in source.status().reason
    port.free.set()
    until(lambda: port.attempts > MAX_HUNG)
    until(lambda: [line.give() for line in port.every] and source.status().frames)


def test_no_more_threads_is_a_fault_like_another(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, refused = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "capture" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    source, port = make(SourceOptions(wait=True, retry_cap=0.01))
    port.next().give()
    read(source)
    assert refused


def test_pauses_grow_to_a_limit_and_a_lost_stream_is_tried_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_FIRST_PAUSE_S", 1.0)
    monkeypatch.setattr(watched, "_SETTLED_S", -1.0)
    pauses: list[float] = []
    wait_for = threading.Condition.wait_for

    def note(condition: Any, predicate: Any, timeout: float | None = None) -> Any:
        if timeout is not None:
            pauses.append(timeout)
        return wait_for(condition, predicate, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", note)
    monkeypatch.setattr(watched.random, "uniform", lambda low, high: 1e-3)
    port = Port()
    source, _ = make(SourceOptions(retry_cap=5), port)
    line = port.next()
    line.give()
    read(source)
    port.faults = [SourceError("no")] * 6
    line.steps.put(None)
    port.next().give()
    read(source)
    assert pauses == pytest.approx([0.0, 1e-3, 2e-3, 4e-3, 5e-3, 5e-3, 5e-3])


@pytest.mark.parametrize(("fps", "age"), [(10.0, 0.3), (5.0, 0.6)])
def test_the_age_that_is_too_old_follows_the_rate(
    fps: float, age: float, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "_STALE_S", 0.1)
    monkeypatch.setattr(watched, "_LOST_SHARE", 1e6)
    source, port = make(port=Port(lambda: Line(fps=fps)))
    port.next().give()
    until(lambda: state(source) is STALE)
    assert f"older than {age:g} s" in source.status().reason


# --- closing


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_a_read_that_waits_ends_with_the_source(how: str, make: Make) -> None:
    source, port = make()
    port.next()
    got: list[Frame | None] = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    getattr(source, how)()
    reader.join(PATIENCE_S)
    assert got == [None]
    assert source.read() is None


@pytest.mark.parametrize("where", ["open", "read", "pause", "hung", "held"])
def test_close_returns_whatever_hangs(where: str, make: Make) -> None:
    port = Port()
    policy = Policy(drops=False, depth=0) if where == "held" else None
    options = SourceOptions(
        wait=True, open=0.02 if where == "hung" else 30.0, retry_cap=0.01, policy=policy
    )
    if where in ("open", "hung"):
        port.free.clear()
    if where == "pause":
        port.faults = [SourceError("no")] * 1000
    source, _ = make(options, port)
    until(lambda: port.attempts)
    if where == "read":
        port.next()
    if where == "hung":
        until(lambda: "connections hang" in source.status().reason)
    if where == "held":
        line = port.next()
        line.give()
        line.give()
        until(line.steps.empty)
    start = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - start < PATIENCE_S / 2
    assert source.read() is None


def test_a_source_that_can_be_interrupted_is(make: Make) -> None:
    class Interruptible(Line):
        def interrupt(self) -> None:
            self.steps.put(SourceError("interrupted"))

    source, port = make(QUICK, Port(Interruptible))
    first = port.next()
    first.give()
    read(source)
    port.next()
    assert first.closed.is_set()  # before the next one was opened


# --- what is told


def test_transitions_are_logged_once_each(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "edge_sdk.watched")
    source, port = make(SourceOptions(stale=0.2, retry_cap=0.01))
    line = port.next()
    line.give()
    read(source)
    port.faults = [SourceError("fake: no route")] * 5
    port.next().give()
    read(source)
    assert [(record.event, record.levelname) for record in caplog.records[:5]] == [  # type: ignore[attr-defined]
        ("source_live", "INFO"),
        ("source_stale", "WARNING"),
        ("source_lost", "WARNING"),
        ("source_lost", "WARNING"),  # for another reason: said once for five attempts
        ("source_live", "INFO"),
    ]
    assert caplog.messages[2] == "fake is LOST (its newest frame is older than 0.2 s)"


def test_no_password_is_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    uri = "rtsp://me:s3cret@cam/live?token=s3cret"
    port = Port()
    port.faults = [OSError(f"cannot open {uri}"), SourceError(f"{uri}: gone")]
    source, _ = make(SourceOptions(wait=True, retry_cap=0.01), port, uri)
    reasons = {until(lambda: source.status().reason)}
    line = port.next()
    line.give()
    read(source)
    line.steps.put(ValueError(uri))
    until(lambda: source.status().reconnects or source.status().reason)
    told = [source.uri, str(source.status()), *reasons, *caplog.messages]
    told += [str(vars(record)) for record in caplog.records]
    assert any("rtsp://me:***@cam" in text for text in told)
    assert not [text for text in told if "s3cret" in text]


@pytest.mark.parametrize("fault", [SourceError, ValueError, None])
def test_a_lost_connection_is_gone_without_a_search_for_garbage(fault: Any) -> None:
    lines: list[weakref.ref[Any]] = []

    class Failing:
        live, count, fps, policy, uri = True, None, None, None, "fake"

        def __init__(self) -> None:
            self.given = 0
            lines.append(weakref.ref(self))

        def read(self) -> Frame | None:
            self.given += 1
            if self.given < 3:
                return picture(self.given)
            if fault is None:
                return None
            raise fault("gone")

        def close(self) -> None:
            """Nothing to close."""

    gc.disable()
    try:
        source = Watched("fake", Failing, SourceOptions(retry_cap=0.001))
        until(lambda: len(lines) > 5)
        source.close()
        # The newest may be on its way.
        until(lambda: not [line for line in lines[:4] if line() is not None])
    finally:
        gc.enable()


# --- everything at once


class Chaos:
    """A camera of 500 frames per second that fails within some twenty frames, in some way."""

    live, count, fps, policy, uri = True, None, None, None, "fake"

    def __init__(self, rng: random.Random, faults: list[str]) -> None:
        self._rng, self._faults, self._index = rng, faults, 0
        self._fault_at = rng.randrange(2, 20)
        self._fault = rng.choice(("hang", "raise", "end", "freeze", "hang in open", "refuse"))
        if self._fault == "hang in open":
            self._note()
            time.sleep(0.3)  # in C, for all that anybody can do about it
        elif self._fault == "refuse":
            self._note()
            raise SourceError("fake: refused")

    def _note(self) -> None:
        self._faults.append(self._fault)

    def read(self) -> Frame | None:
        time.sleep(0.002)
        self._index += 1
        if self._index == self._fault_at:
            self._note()
            if self._fault == "raise":
                raise OSError("unplugged")
            if self._fault == "end":
                return None
            time.sleep(0.3 if self._fault == "hang" else 0.06)
            self._fault_at += self._rng.randrange(2, 20)
        return picture(self._index)

    def close(self) -> None:
        time.sleep(self._rng.choice((0.0, 0.0, 0.02)))


def test_two_hundred_faults_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "_GRACE_S", 0.01)
    rng, faults = random.Random(0), []
    threads, files = set(threading.enumerate()), os.listdir("/proc/self/fd")
    options = SourceOptions(stale=0.04, open=0.1, retry_cap=0.01, wait=True)
    source = Watched("fake", lambda: Chaos(rng, faults), options)
    last, most = -1, 0
    while len(faults) < 200:
        frame = read(source)
        assert frame.index > last
        last = frame.index
        most = max(most, threading.active_count() - len(threads))
    assert set(faults) == {"hang", "raise", "end", "freeze", "hang in open", "refuse"}
    assert source.status().reconnects > 20
    # The one that watches, the one that reads, and those left behind.
    assert most <= 2 + MAX_HUNG
    source.close()
    until(lambda: set(threading.enumerate()) <= threads, "the end of every thread")
    assert len(os.listdir("/proc/self/fd")) <= len(files)
