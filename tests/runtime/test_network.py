"""RTSP: a real server, frozen, killed and back, and addresses where nobody speaks it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.pixel_clock import read_clock
from runtime.sources import SourceOptions, connect, network, open_source
from runtime.sources.base import Source
from runtime.status import SourceState
from tests.bench.cameras import Server, missing_for_rtsp
from tests.runtime.source_cases import PATIENCE_S, until

VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    reason = missing_for_rtsp()
    if reason:
        pytest.skip(f"no RTSP server here ({reason}): apt install gir1.2-gst-rtsp-server-1.0")
    made = Server("rtsp")
    yield made
    made.kill()


@pytest.fixture
def source(server: Server) -> Iterator[Source]:
    made = open_source(server.uri + "#open=15")
    yield made
    made.close()


def read(source: Source) -> Frame:
    frame = source.read()
    assert frame is not None
    return frame


def state(source: Any) -> SourceState:
    status = source.status()
    assert isinstance(status.state, SourceState)
    return status.state


def test_frames_are_of_now_and_say_so(source: Source) -> None:
    began = time.monotonic_ns()
    frames = [read(source) for _ in range(30)]
    assert (source.live, source.fps, source.count) == (True, 30.0, None)
    assert frames[0].image.shape == (720, 1280, 3)
    clocks = [read_clock(frame.image) for frame in frames]
    shown = [clock for clock in clocks if clock is not None]
    assert len(shown) > 25
    assert shown == sorted(set(shown))
    assert [frame.captured_ns for frame in frames] == sorted(frame.captured_ns for frame in frames)
    # The first one that is given is none of those that the server has kept for a second or more.
    assert shown[0] > began - 1_000_000_000
    for frame, clock in zip(frames, clocks, strict=True):
        if clock is not None:
            # The way through encoder and network is unknown, and on a busy machine long.
            assert 0 <= frame.captured_ns - clock < 1_000_000_000


def test_a_frozen_server_goes_stale_and_comes_back(server: Server, source: Any) -> None:
    read(source)
    server.freeze()
    try:
        until(lambda: state(source) is not SourceState.LIVE, "a stale source")
        assert "older than" in source.status().reason
    finally:
        server.thaw()
    until(lambda: state(source) is SourceState.LIVE, "a live source")
    thawed = time.monotonic_ns()
    until(lambda: read(source).captured_ns > thawed)


def test_a_killed_server_is_found_again(server: Server, source: Any) -> None:
    read(source)
    server.kill()
    until(lambda: state(source) in (SourceState.LOST, SourceState.CONNECTING), "a lost source")
    server.start()
    until(lambda: source.status().reconnects == 1, "another connection")
    started = time.monotonic_ns()
    until(lambda: read(source).captured_ns > started)


def test_a_stream_that_is_not_there_is_an_error_without_its_password(server: Server) -> None:
    uri = server.uri.replace("://", "://me:s3cret@").replace("/cam", "/nosuch")
    with pytest.raises(SourceError, match=r"rtsp://me:\*\*\*@.*does not open") as caught:
        open_source(uri)
    assert "s3cret" not in str(caught.value)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(SourceError, match="does not open; is the address right, the password too"):
        open_source("rtsp://127.0.0.1:1/x")


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_speaks_no_rtsp_is_left_in_time(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(says)
                done.wait(PATIENCE_S)

        done = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        begun = time.monotonic()
        options = SourceOptions(open=0.5, grab=0.5)
        with pytest.raises(SourceError, match="does not open"):
            connect(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x", options)
        assert time.monotonic() - begun < PATIENCE_S / 2
        done.set()
        thread.join(PATIENCE_S)


# --- what FFmpeg is asked for


class Clock:
    """Time that passes when the test says so; it takes the place of the module `time`."""

    wall = cpu = 100.0

    def monotonic(self) -> float:
        return self.wall

    def monotonic_ns(self) -> int:
        return round(self.wall * 1e9)

    def thread_time(self) -> float:
        return self.cpu


class Capture:
    """OpenCV's capture of a stream: what waits comes at once, then a frame each interval."""

    clock: Clock
    waiting = 12
    decoding_s = 0.001
    interval_s = 0.03
    length = 10_000
    count = 0.0
    fps = 30.0
    environment: str | None = None

    def __init__(self, uri: str, backend: int, limits: list[int]) -> None:
        assert backend == cv2.CAP_FFMPEG
        self.limits, self.at, self.released = limits, 0, 0
        type(self).environment = os.environ.get(VARIABLE)
        Capture.last = self

    last: Capture

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        stated = {cv2.CAP_PROP_FPS: self.fps, cv2.CAP_PROP_FRAME_COUNT: self.count}
        return stated.get(key, self.at * 1000 / 30)

    def grab(self) -> bool:
        if self.at == self.length:
            return False
        if self.at >= self.waiting:
            self.clock.wall += self.interval_s
        self.clock.wall += self.decoding_s
        self.clock.cpu += self.decoding_s
        self.at += 1
        return True

    def read(self, image: Any = None) -> tuple[bool, Any]:
        return (True, np.zeros((4, 4, 3), np.uint8)) if self.grab() else (False, None)

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[Capture]:
    kind = type("Capture", (Capture,), {"clock": Clock()})
    monkeypatch.setattr(network, "time", kind.clock)
    monkeypatch.setattr(cv2, "VideoCapture", kind)
    monkeypatch.delenv(VARIABLE, raising=False)
    return kind


def test_times_are_limited_and_no_thread_keeps_a_frame_back(capture: type[Capture]) -> None:
    connect("rtsp://cam/x", SourceOptions(open=2, grab=1.5))
    assert Capture.last.limits == [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2000),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1500),
        *(cv2.CAP_PROP_N_THREADS, 1),
    ]


def test_what_the_user_asks_of_ffmpeg_is_left(
    capture: type[Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("rtsp://cam/x", SourceOptions())
    assert capture.environment is not None
    assert "rtsp_transport;tcp" in capture.environment
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "rtsp_transport;udp")
    connect("rtsp://cam/x", SourceOptions())
    assert capture.environment == os.environ[VARIABLE] == "rtsp_transport;udp"


def test_several_that_open_at_once_share_the_environment(
    capture: type[Capture], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Barrier(3), threading.Barrier(3)
    seen: list[str | None] = []

    class Slow(capture):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            inside.wait(PATIENCE_S)
            seen.append(os.environ.get(VARIABLE))
            go_on.wait(PATIENCE_S)

    monkeypatch.setattr(cv2, "VideoCapture", Slow)
    threads = [
        threading.Thread(target=connect, args=("rtsp://cam/x", SourceOptions())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert seen == [network._LOW_DELAY] * 3
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("decoding_s", [0.001, 0.025, 0.06])
def test_old_frames_are_skipped_even_if_decoding_is_slow(
    decoding_s: float, capture: type[Capture]
) -> None:
    capture.decoding_s = decoding_s
    frame = connect("rtsp://cam/x", SourceOptions()).read()
    assert frame is not None
    # One more than waited has been grabbed to see that it was waited for, one more is given.
    assert frame.index == capture.waiting + 1


def test_frames_that_never_stop_coming_are_not_skipped_for_ever(capture: type[Capture]) -> None:
    capture.waiting, capture.length = 10**9, 10**9
    frame = connect("rtsp://cam/x", SourceOptions()).read()
    assert frame is not None
    assert frame.index == pytest.approx(network._CATCH_UP_S / capture.decoding_s, abs=2)


def test_a_stream_that_ends_is_an_error_and_a_file_is_not(capture: type[Capture]) -> None:
    capture.waiting, capture.length = 0, 3
    source = connect("rtsp://cam/x", SourceOptions(grab=1.5))
    with pytest.raises(SourceError, match=r"ended, or gave nothing for 1\.5 s \(#grab\)"):
        while True:
            source.read()
    capture.count = 3.0
    source = connect("rtsp://cam/x", SourceOptions())
    assert (source.live, source.count) == (False, 3)
    assert [frame.index for frame in iter(source.read, None)] == [0, 1, 2]
    source.close()
    assert Capture.last.released == 1


@pytest.mark.parametrize(("stated", "fps"), [(25.0, 25.0), (90000.0, None), (0.0, None)])
def test_a_rate_that_none_has_is_not_believed(
    stated: float, fps: float | None, capture: type[Capture]
) -> None:
    capture.fps = stated
    assert connect("rtsp://cam/x", SourceOptions()).fps == fps
