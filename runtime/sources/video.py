"""Source: a video file, decoded by OpenCV."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.images import is_image
from runtime.opencv import opencv, quiet
from runtime.pool import Pool
from runtime.sources._options import Policy

MISSING_SHARE = 0.05
"""A file that ends before this share of its stated length is called cut off (some containers
state an estimate, so a few frames less prove nothing)."""


def accepts(uri: str) -> bool:
    """Say whether `uri` is a file that is not an image."""
    path = Path(uri)
    return path.is_file() and not is_image(path)


def open_source(uri: str) -> Video:
    """Open a video file; SourceError when it does not open or holds no frame."""
    return Video(uri)


class Video:
    """The frames of a video file as BGR, none left out; a frame is never changed while held."""

    live = False
    policy: Policy | None = None

    def __init__(self, uri: str) -> None:
        cv2 = opencv()
        self.uri = uri
        self._pool = Pool()
        with quiet():
            self._capture = cv2.VideoCapture(uri)
        # The first frame is read here so that a file without any fails before work starts.
        self._ahead = self._grab()
        if self._ahead is None:
            self.close()
            raise SourceError(
                f"{uri}: no video frame can be read from it; it is damaged or of an unknown format"
                f" (try: ffmpeg -i {uri} -c:v libx264 repaired.mp4)"
            )
        self.fps: float | None = self._property(cv2.CAP_PROP_FPS)
        stated = self._property(cv2.CAP_PROP_FRAME_COUNT)
        self.count: int | None = int(stated) if stated else None
        self._index = 0
        self._seconds = 0.0

    def read(self) -> Frame | None:
        """Return the next frame; SourceError when the file ends well before its stated length."""
        image = self._ahead if self._index == 0 else self._grab()
        self._ahead = None
        if image is None:
            self._check_length()
            return None
        frame = Frame(image, self._index, time.monotonic_ns(), f"frame {self._index}")
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _grab(self) -> NDArray[np.uint8] | None:
        image: NDArray[np.uint8]
        ok, image = self._capture.read(self._pool.free())
        if not ok:
            return None
        self._pool.keep(image)
        return image

    def _property(self, key: int) -> float | None:
        value = float(self._capture.get(key))
        return value if np.isfinite(value) and value > 0 else None

    def _check_length(self) -> None:
        if self.count is None or self.fps is None:
            return
        # Both must fall short: a variable frame rate makes the stated count wrong, not the time.
        seconds = (self._property(opencv().CAP_PROP_POS_MSEC) or 0.0) / 1000
        wanted = (1 - MISSING_SHARE) * self.count
        if self._index < wanted and seconds < wanted / self.fps:
            raise SourceError(
                f"{self.uri}: ends after {self._index} of {self.count} frames, it is cut off; "
                "copy it again (the results so far are valid)"
            )
