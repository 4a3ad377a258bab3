"""Source: a GStreamer pipeline, or a camera on the CSI connector through one.

`gst:videotestsrc ! videoconvert`          any pipeline; one that does not end in an appsink gets
                                           one that keeps the newest frame only
`csi://0?width=1280&height=720&fps=30&flip=2`   nvarguscamerasrc on a Jetson (known by
                                           /etc/nv_tegra_release), libcamerasrc elsewhere

`flip` is the method of nvvidconv or the one of videoflip, which agree: 0 none, 2 by 180 degrees.
OpenCV must have been built with GStreamer; the wheels of PyPI are not, those of distributions are.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from device_profiles.errors import MissingError, SourceError
from runtime.frame import Frame
from runtime.opencv import opencv, quiet
from runtime.pool import Pool
from runtime.sources._options import Policy, SourceOptions, read_options, redacted

LIVE = True

_PIPELINE, _CSI = "gst:", "csi://"
_SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
_TEGRA = Path("/etc/nv_tegra_release")
_BUILT = re.compile(r"^\s*GStreamer:\s*YES", re.MULTILINE)


@dataclass(frozen=True)
class CsiOptions:
    """What is asked of a CSI camera, in pixels and frames per second; `flip` by method."""

    width: int = 1280
    height: int = 720
    fps: float = 30.0
    flip: int = 0


def accepts(uri: str) -> bool:
    """Say whether `uri` is a pipeline or names a CSI camera."""
    return uri.startswith((_PIPELINE, _CSI))


def check(uri: str) -> None:
    """Raise SourceError for an address that is no pipeline and no camera."""
    pipeline(uri)


def open_source(uri: str, options: SourceOptions | None = None) -> Pipeline:
    """Start a pipeline; MissingError without GStreamer, SourceError when it does not start."""
    return Pipeline(uri, options or SourceOptions())


def pipeline(uri: str) -> str:
    """Return the GStreamer pipeline that `uri` stands for."""
    if uri.startswith(_PIPELINE):
        text = uri.removeprefix(_PIPELINE).strip()
        if not text:
            raise SourceError(f"{redacted(uri)}: holds no pipeline; try 'gst:videotestsrc'")
        return text if re.search(r"\bappsink\b", text) else f"{text} ! {_SINK}"
    sensor = uri.removeprefix(_CSI).partition("?")[0]
    if not sensor.isdecimal():
        raise SourceError(f"{redacted(uri)}: is no camera; use csi://0 or csi://1")
    options = read_options(uri, CsiOptions)
    if not options.fps or not options.width or not options.height:
        raise SourceError(f"{redacted(uri)}: options width, height and fps must be positive")
    rate = _rate(options.fps)
    size = f"width={options.width},height={options.height}"
    caps = f"{size},framerate={rate.numerator}/{rate.denominator}"
    if _TEGRA.exists():
        return (
            f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{caps} ! "
            f"nvvidconv flip-method={options.flip} ! video/x-raw,format=BGRx ! {_SINK}"
        )
    if sensor != "0":
        raise SourceError(f"{redacted(uri)}: of several cameras, use picamera://{sensor} here")
    flip = f"videoflip method={options.flip} ! " if options.flip else ""
    return f"libcamerasrc ! video/x-raw,{caps} ! {flip}{_SINK}"


def _rate(fps: float) -> Fraction:
    """Return the rate that is meant: 29.97 is NTSC's 30000/1001, and cameras offer that alone."""
    ntsc = Fraction(1000 * round(fps * 1.001), 1001)
    return ntsc if abs(fps - ntsc) < 0.005 else Fraction(fps).limit_denominator(1001)


class Pipeline:
    """A running GStreamer pipeline, live."""

    live = True
    count = None
    policy: Policy | None = None

    def __init__(self, uri: str, options: SourceOptions) -> None:
        cv2 = opencv()
        self.uri = redacted(uri)
        self._pool = Pool()
        text = pipeline(uri)
        # The list of backends names GStreamer even where it was left out of the build.
        if not _BUILT.search(cv2.getBuildInformation()):
            raise MissingError(
                f"{self.uri}: this OpenCV was built without GStreamer; sudo apt install "
                "python3-opencv, and make the environment with: python3 -m venv "
                "--system-site-packages (without opencv from PyPI in it)"
            )
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(options.open * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(options.grab * 1000)),
        ]
        with quiet():
            self._capture = cv2.VideoCapture(text, cv2.CAP_GSTREAMER, limits)
            if not self._capture.isOpened():  # older ones refuse to be limited
                self._capture = cv2.VideoCapture(text, cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{self.uri}: the pipeline does not start; see why with: "
                f"gst-launch-1.0 {redacted(text)}"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = fps if fps > 0 else None
        self._index = 0

    def read(self) -> Frame:
        """Return the next frame; SourceError when the pipeline ended, failed or gave nothing."""
        ok, image = self._capture.read(self._pool.free())
        if not ok:
            raise SourceError(f"{self.uri}: the pipeline ended or gives no more frames")
        self._pool.keep(image)
        frame = Frame(image, self._index, time.monotonic_ns(), f"frame {self._index}")
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop the pipeline."""
        self._capture.release()
