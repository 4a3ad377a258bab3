"""Source: a camera on the network that speaks RTSP (`rtsp://user:password@camera/stream`).

FFmpeg reads it through OpenCV, over TCP and with the least delay that it can be asked for: no
buffer for reordering, and one thread, as each further one keeps a frame back. Before it gives a
first frame it looks at some, to learn what they are; these wait and come at once, old, and are
skipped. (`fflags=nobuffer` drops them too, but undecoded: the first picture then has to wait for
the next key frame, 1.05 s instead of 0.3 s from a camera that sends one a second.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.opencv import opencv, quiet
from runtime.pool import Pool
from runtime.sources._options import Policy, SourceOptions, redacted
from runtime.sources._stream_clock import StreamClock

LIVE = True

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_LOW_DELAY = "rtsp_transport;tcp|flags;low_delay|fpsprobesize;0"
_CATCH_UP_S = 1.0
_USUAL_FPS = 30.0
_MOST_FPS = 1000.0  # streams that do not know their rate state that of their clock, 90000


def accepts(uri: str) -> bool:
    """Say whether `uri` names an RTSP stream."""
    return uri.lower().startswith(("rtsp://", "rtsps://"))


def open_source(uri: str, options: SourceOptions | None = None) -> Stream:
    """Open a stream; SourceError when it cannot be reached or understood."""
    return Stream(uri, options or SourceOptions())


class Stream:
    """A video stream through FFmpeg; one that states how many frames it has is not live."""

    policy: Policy | None = None

    def __init__(self, uri: str, options: SourceOptions) -> None:
        cv2 = opencv()
        self.uri = redacted(uri)
        self._pool = Pool()
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(options.open * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(options.grab * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ]
        with quiet(), _low_delay():
            self._capture = cv2.VideoCapture(uri, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(
                f"{self.uri}: the stream does not open; is the address right, the password too, "
                "and does the camera answer (ffprobe -rtsp_transport tcp ADDRESS)?"
            )
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float | None = fps if 0 < fps < _MOST_FPS else None
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count: int | None = count if count > 0 else None
        self.live = self.count is None
        self._position = cv2.CAP_PROP_POS_MSEC
        self._clock = StreamClock()
        self._grab_s = options.grab
        self._index = 0
        self._new = not self.live

    def read(self) -> Frame | None:
        """Return the next frame, None at the end of a file; SourceError when there is none."""
        if not self._new:
            self._skip_old()
        ok, image = self._capture.read(self._pool.free())
        if not ok:
            if not self.live:
                return None
            raise SourceError(
                f"{self.uri}: the stream ended, or gave nothing for {self._grab_s:g} s (#grab)"
            )
        self._pool.keep(image)
        now = time.monotonic_ns()
        stamp = int(float(self._capture.get(self._position)) * 1e6)
        captured = self._clock.captured_ns(now, stamp) if self.live else now
        frame = Frame(image, self._index, captured, f"frame {self._index}")
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the stream."""
        self._capture.release()

    def _skip_old(self) -> None:
        """Skip what has waited: frames that come sooner than a camera can have taken them.

        What decoding takes is no waiting: a slow device would take old frames for new ones.
        """
        until = time.monotonic() + _CATCH_UP_S
        wait = 0.5 / (self.fps or _USUAL_FPS)
        while not self._new:
            start, worked = time.monotonic(), time.thread_time()
            if not self._capture.grab():
                return
            self._index += 1
            now = time.monotonic()
            waited = now - start - (time.thread_time() - worked)
            self._new = waited > wait or now > until


_using = 0
_lock = threading.Lock()


@contextmanager
def _low_delay() -> Iterator[None]:
    """Set the options that FFmpeg takes from the environment, unless the user has set them.

    They are the same for all: the first of those who open at a time sets them, the last removes
    them, and no one waits for another that hangs.
    """
    global _using  # noqa: PLW0603 - so is the environment
    with _lock:
        ours = _using > 0 or _VARIABLE not in os.environ
        if ours:
            os.environ[_VARIABLE] = _LOW_DELAY
            _using += 1
    try:
        yield
    finally:
        with _lock:
            _using -= ours
            if ours and not _using:
                os.environ.pop(_VARIABLE, None)
