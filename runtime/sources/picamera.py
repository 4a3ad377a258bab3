"""Source: a Raspberry Pi camera through picamera2 (`picamera://0?width=1280&height=720&fps=30`).

picamera2 comes with the system, not from PyPI. What libcamera calls RGB888 lies in memory as blue,
green, red: OpenCV's order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_profiles.errors import MissingError, SourceError
from runtime.frame import Frame
from runtime.sources._options import Policy, SourceOptions, read_options, redacted

LIVE = True
NEEDS_SYSTEM = True  # picamera2 and libcamera come with Raspberry Pi OS

_SCHEME = "picamera://"
_BUFFERS = 4
_PLAUSIBLE_NS = 1_000_000_000
"""A sensor's time stamp older than this, or in the future, is of another clock."""


@dataclass(frozen=True)
class PicameraOptions:
    """What is asked of the camera, in pixels and frames per second."""

    width: int = 1280
    height: int = 720
    fps: float = 30.0


def accepts(uri: str) -> bool:
    """Say whether `uri` names a Raspberry Pi camera."""
    return uri.startswith(_SCHEME)


def check(uri: str) -> None:
    """Raise SourceError for an address that no camera can have."""
    _parse(uri)


def open_source(uri: str, options: SourceOptions | None = None) -> Picamera:
    """Start a camera; MissingError without picamera2, SourceError when it does not start."""
    return Picamera(uri, options or SourceOptions())


def _parse(uri: str) -> tuple[int, PicameraOptions]:
    number = uri.removeprefix(_SCHEME).partition("?")[0]
    if not number.isdecimal():
        raise SourceError(f"{redacted(uri)}: is no camera; use picamera://0 or picamera://1")
    options = read_options(uri, PicameraOptions)
    if not (options.width and options.height and options.fps):
        raise SourceError(f"{redacted(uri)}: options width, height and fps must be positive")
    return int(number), options


class Picamera:
    """A started camera, live: libcamera keeps the newest frames, older ones are lost."""

    live = True
    count = None
    policy: Policy | None = None

    def __init__(self, uri: str, watch: SourceOptions) -> None:
        number, options = _parse(uri)
        kind = _picamera2()
        self.uri = redacted(uri)
        self.fps: float | None = options.fps
        self._grab_s = watch.grab
        self._index = 0
        self._camera: Any = None
        try:
            self._camera = kind(number)
            self._start(options)
        except (RuntimeError, IndexError, ValueError, OSError) as error:
            if self._camera is not None:
                self._camera.close()
            if isinstance(error, SourceError):
                raise
            raise SourceError(
                f"{self.uri}: the camera does not start ({error}); is it connected and used by no "
                "other program? `rpicam-hello --list-cameras` lists the cameras"
            ) from error

    def read(self) -> Frame:
        """Return the next frame, BGR; SourceError when the camera fails."""
        from concurrent.futures import TimeoutError  # not the builtin one before Python 3.11

        try:
            # Releases that know no time limit take it for a yes: they wait for ever.
            request = self._camera.capture_request(wait=self._grab_s)
            try:
                image = np.ascontiguousarray(request.make_array("main"))
                stamp = int(request.get_metadata().get("SensorTimestamp", 0))
            finally:
                request.release()
        except (RuntimeError, OSError, TimeoutError) as error:
            reason = str(error) or f"nothing for {self._grab_s:g} s (#grab)"
            raise SourceError(f"{self.uri}: the camera gives no more frames ({reason})") from error
        frame = Frame(image, self._index, captured_ns(stamp), f"frame {self._index}")
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop the camera and free it for others."""
        try:
            self._camera.stop()
        finally:
            self._camera.close()

    def _start(self, options: PicameraOptions) -> None:
        size = (options.width, options.height)
        duration_us = round(1e6 / options.fps)
        self._camera.configure(
            self._camera.create_video_configuration(
                main={"size": size, "format": "RGB888"},
                controls={"FrameDurationLimits": (duration_us, duration_us)},
                buffer_count=_BUFFERS,
            )
        )
        given = tuple(self._camera.camera_configuration()["main"]["size"])
        if given != size:
            raise SourceError(
                f"{self.uri}: the camera gives {given[0]} x {given[1]}, not {size[0]} x {size[1]}; "
                "ask for what it gives"
            )
        self._camera.start()


def captured_ns(stamp_ns: int) -> int:
    """Return a SensorTimestamp by the clock of `time.monotonic_ns`, now when it is of neither.

    libcamera documents CLOCK_BOOTTIME, which goes on while a machine sleeps; what drivers stamp is
    CLOCK_MONOTONIC. The two agree until a machine has slept; then only one makes a frame new.
    """
    now = time.monotonic_ns()
    clocks = [now]
    if hasattr(time, "CLOCK_BOOTTIME"):
        clocks.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    ages = [clock - stamp_ns for clock in clocks]
    return now - min((age for age in ages if 0 <= age < _PLAUSIBLE_NS), default=0)


def _picamera2() -> Any:
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise MissingError(
            f"picamera2 cannot be imported ({error}); sudo apt install python3-picamera2, and make "
            "the environment with: python3 -m venv --system-site-packages"
        ) from error
    return Picamera2
