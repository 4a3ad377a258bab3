"""Source: a camera of this machine through OpenCV (`camera:0`, `0`, `/dev/video0`).

Options stand in the query: `camera:0?width=1280&height=720&fps=30&format=MJPG`. A camera that is
unplugged may come back as another number; its name under /dev/v4l/by-id stays.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.opencv import opencv, quiet
from runtime.pool import Pool
from runtime.sources._options import Policy, SourceOptions, read_options, redacted

LIVE = True

_ADDRESS = re.compile(r"(?:camera:)?(\d+|/dev/v(?:ideo|4l/).+)")
_CLOCK_NS = 1_000_000_000
"""A driver's time stamp older than this, or in the future, is of another clock."""


def accepts(uri: str) -> bool:
    """Say whether `uri` names a camera."""
    return _ADDRESS.fullmatch(uri.partition("?")[0]) is not None or uri.startswith("camera:")


def check(uri: str) -> None:
    """Raise SourceError for an address that no camera can have."""
    _parse(uri)


def open_source(uri: str, options: SourceOptions | None = None) -> Camera:
    """Open a camera; SourceError when it cannot be opened or refuses an option."""
    return Camera(uri)


@dataclass(frozen=True)
class CameraOptions:
    """What is asked of a camera, in pixels and frames per second; 0 and "" leave it its own."""

    width: int = 0
    height: int = 0
    fps: float = 0.0
    format: str = ""


def _parse(uri: str) -> tuple[int | str, CameraOptions]:
    address = _ADDRESS.fullmatch(uri.partition("?")[0])
    if address is None:
        raise SourceError(f"{redacted(uri)}: is no camera; use camera:0, camera:1 or /dev/video0")
    device = int(address[1]) if address[1].isdigit() else address[1]
    options = read_options(uri, CameraOptions)
    if options.format and len(options.format.encode()) != 4:
        raise SourceError(
            f"{redacted(uri)}: option format must be a code of four letters, as MJPG or YUYV"
        )
    return device, options


class Camera:
    """A local camera, live: the driver keeps a frame while the last one is decoded."""

    live = True
    count = None
    policy: Policy | None = None

    def __init__(self, uri: str) -> None:
        cv2 = opencv()
        self.uri = redacted(uri)
        self._pool = Pool()
        device, options = _parse(uri)
        # A read that waits longer ends by itself; V4L2 alone listens to this, once, in seconds.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        with quiet():
            self._capture = cv2.VideoCapture(device, backend)
        if not self._capture.isOpened():
            raise SourceError(
                f"{self.uri}: the camera does not open; is it plugged in, free (no other program "
                "uses it) and allowed (sudo usermod -aG video $USER, then log in again)? "
                "`edge-sdk doctor` lists the cameras"
            )
        self._configure(cv2, options)
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = fps if fps > 0 else None
        self._time_stamp = cv2.CAP_PROP_POS_MSEC
        self._index = 0

    def read(self) -> Frame:
        """Return the next frame; SourceError when the camera gives none any more."""
        ok, image = self._capture.read(self._pool.free())
        if not ok:
            raise SourceError(
                f"{self.uri}: the camera gives no more frames; check its cable and power, then "
                "`edge-sdk doctor`"
            )
        self._pool.keep(image)
        now = time.monotonic_ns()
        # V4L2 drivers stamp a frame with the monotonic clock when it is exposed, before decoding.
        stamp = int(float(self._capture.get(self._time_stamp)) * 1e6)
        captured = stamp if now - _CLOCK_NS < stamp <= now else now
        frame = Frame(image, self._index, captured, f"frame {self._index}")
        self._index += 1
        return frame

    def close(self) -> None:
        """Free the camera."""
        self._capture.release()

    def _configure(self, cv2: Any, options: CameraOptions) -> None:
        code = cv2.VideoWriter.fourcc(*options.format) if options.format else 0
        if code:
            self._capture.set(cv2.CAP_PROP_FOURCC, code)
        # One is filled while the other is decoded; a driver without a free one skips a frame.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        asked = (
            ("width", cv2.CAP_PROP_FRAME_WIDTH, options.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, options.height),
            ("fps", cv2.CAP_PROP_FPS, options.fps),
        )
        for _, key, value in asked:
            if value:
                self._capture.set(key, value)
        if code and int(self._capture.get(cv2.CAP_PROP_FOURCC)) not in (code, 0):
            self.close()
            raise SourceError(
                f"{self.uri}: the camera does not give format {options.format}; ask for one that "
                "it has (v4l2-ctl --list-formats-ext)"
            )
        for name, key, value in asked:
            given = float(self._capture.get(key))
            # Drivers state 29.97 as 30 and the reverse; a size must be exact.
            if value and given > 0 and abs(given - value) > (0.5 if name == "fps" else 0):
                self.close()
                raise SourceError(
                    f"{self.uri}: the camera gives {name} {given:g}, not {value:g}; ask for what "
                    "it has (v4l2-ctl --list-formats-ext), perhaps with &format=MJPG"
                )
