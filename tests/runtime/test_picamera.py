"""The Raspberry Pi's camera, through a module that is called as picamera2 is."""

from __future__ import annotations

import concurrent.futures
import sys
import time
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from device_profiles.errors import MissingError, SourceError
from runtime.sources import SourceOptions, connect, open_source
from runtime.sources.picamera import captured_ns


class Request:
    """A completed request: its buffer belongs to the camera until it is released."""

    def __init__(self, camera: Picamera2, metadata: dict[str, int]) -> None:
        self._camera, self._metadata, self.released = camera, metadata, 0

    def make_array(self, name: str) -> Any:
        assert name == "main"
        assert not self.released
        if self._camera.fails_in == "make_array":
            raise RuntimeError("no such buffer")
        width, height = self._camera.config["main"]["size"]
        # Rows are padded: the picture is a view of wider ones. In memory, "RGB888" is BGR.
        rows = np.zeros((height, width + 16, 3), np.uint8)
        rows[..., 0], rows[..., 2] = 10, 200
        return rows[:, :width]

    def get_metadata(self) -> dict[str, int]:
        assert not self.released
        if self._camera.fails_in == "get_metadata":
            raise RuntimeError("no metadata")
        return self._metadata

    def release(self) -> None:
        self.released += 1


class Picamera2:
    """As much of picamera2 as a camera needs."""

    made: ClassVar[list[Picamera2]] = []
    cameras = 1
    fails_in = ""
    given: tuple[int, int] | None = None
    stamp: int | None = None

    def __init__(self, camera_num: int = 0) -> None:
        if camera_num >= self.cameras:
            raise IndexError("list index out of range")
        self.number, self.calls, self.requests = camera_num, [], []
        self.made.append(self)

    def create_video_configuration(
        self, main: dict[str, Any], controls: dict[str, Any], buffer_count: int
    ) -> dict[str, Any]:
        return {"main": dict(main), "controls": controls, "buffer_count": buffer_count}

    def configure(self, config: dict[str, Any]) -> None:
        self.config = config
        if self.given:
            config["main"]["size"] = self.given
        self.calls.append("configure")

    def camera_configuration(self) -> dict[str, Any]:
        return self.config

    def start(self) -> None:
        if self.fails_in == "start":
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.calls.append("start")

    def capture_request(self, wait: bool | float | None = None) -> Request:
        assert isinstance(wait, float)
        if self.fails_in == "capture_request":
            raise concurrent.futures.TimeoutError
        stamp = time.monotonic_ns() - 30_000_000 if self.stamp is None else self.stamp
        metadata = {} if self.stamp == -1 else {"SensorTimestamp": stamp}
        self.requests.append(Request(self, metadata))
        return self.requests[-1]

    def stop(self) -> None:
        self.calls.append("stop")
        if self.fails_in == "stop":
            raise RuntimeError("not started")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    kind = type("Picamera2", (Picamera2,), {"made": []})
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=kind))
    return kind


def test_frames_are_bgr_whole_and_as_old_as_the_sensor_says(camera: type[Picamera2]) -> None:
    source = connect("picamera://0?width=320&height=240&fps=25", SourceOptions())
    assert (source.live, source.fps, source.count) == (True, 25.0, None)
    before = time.monotonic_ns()
    first, second = source.read(), source.read()
    source.close()
    assert first and second
    assert (first.index, second.index) == (0, 1)
    assert first.image.shape == (240, 320, 3)
    assert first.image.flags.c_contiguous
    assert (first.image == (10, 0, 200)).all()
    assert before - 40_000_000 < first.captured_ns < before
    (made,) = camera.made
    assert made.config["main"] == {"size": (320, 240), "format": "RGB888"}
    assert made.config["controls"] == {"FrameDurationLimits": (40000, 40000)}
    assert made.calls == ["configure", "start", "stop", "close"]
    assert [request.released for request in made.requests] == [1, 1]


@pytest.mark.parametrize("where", ["make_array", "get_metadata"])
def test_a_request_is_released_whatever_fails(where: str, camera: type[Picamera2]) -> None:
    camera.fails_in = where
    source = connect("picamera://0", SourceOptions())
    with pytest.raises(SourceError, match="gives no more frames"):
        source.read()
    assert [request.released for request in camera.made[0].requests] == [1]
    source.close()


def test_a_camera_that_gives_nothing_in_time_is_lost(camera: type[Picamera2]) -> None:
    camera.fails_in = "capture_request"
    source = connect("picamera://0", SourceOptions(grab=1.5))
    with pytest.raises(SourceError, match=r"nothing for 1\.5 s \(#grab\)"):
        source.read()
    source.close()


def test_a_camera_that_does_not_start_is_freed(camera: type[Picamera2]) -> None:
    camera.fails_in = "start"
    with pytest.raises(SourceError, match=r"does not start .*did not complete.*rpicam-hello"):
        connect("picamera://0", SourceOptions())
    assert camera.made[0].calls[-1] == "close"


def test_a_size_that_it_cannot_give_is_refused_and_the_camera_freed(
    camera: type[Picamera2],
) -> None:
    camera.given = (1296, 972)
    with pytest.raises(SourceError, match="gives 1296 x 972, not 1280 x 720"):
        connect("picamera://0", SourceOptions())
    assert camera.made[0].calls[-1] == "close"


def test_it_is_closed_even_if_it_cannot_be_stopped(camera: type[Picamera2]) -> None:
    source = connect("picamera://0", SourceOptions())
    camera.fails_in = "stop"
    with pytest.raises(RuntimeError, match="not started"):
        source.close()
    assert camera.made[0].calls[-1] == "close"


def test_a_camera_that_is_not_there(camera: type[Picamera2]) -> None:
    with pytest.raises(SourceError, match="list index out of range"):
        open_source("picamera://1")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("picamera://", "is no camera; use picamera://0"),
        ("picamera://front", "is no camera"),
        ("picamera://0?width=0", "must be positive"),
        ("picamera://0?fps=0", "must be positive"),
        ("picamera://0?wdth=3", "did you mean width"),
    ],
)
def test_a_wrong_address_is_refused_though_it_waits(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(f"{uri}#wait=1")


def test_without_picamera2_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingError, match=r"apt install python3-picamera2.*--system-site"):
        open_source("picamera://0")


# --- the sensor's clock


def test_a_stamp_of_either_clock_is_understood() -> None:
    now = time.monotonic_ns()
    assert captured_ns(now - 20_000_000) == pytest.approx(now - 20_000_000, abs=15_000_000)
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert captured_ns(boot - 20_000_000) == pytest.approx(now - 20_000_000, abs=15_000_000)


@pytest.mark.parametrize("stamp", [0, -1, 10**18])
def test_a_stamp_of_no_clock_is_now(stamp: int) -> None:
    before = time.monotonic_ns()
    assert before <= captured_ns(stamp) <= time.monotonic_ns()


def test_a_camera_without_stamps_is_of_now(camera: type[Picamera2]) -> None:
    camera.stamp = -1
    source = connect("picamera://0", SourceOptions())
    before = time.monotonic_ns()
    frame = source.read()
    source.close()
    assert frame
    assert before <= frame.captured_ns <= time.monotonic_ns()
