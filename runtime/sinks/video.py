"""Sink: a video file (`.mp4`, `.avi`, `.mkv`) with the results drawn on the frames."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import OutputError
from runtime.drawing import annotated
from runtime.frame import Frame
from runtime.opencv import opencv, quiet
from runtime.sinks._files import SourceNumbers, unwritable
from runtime.sinks.base import SinkContext, Stamp
from runtime.tasks.base import Result

# Best first; H.264 plays in every browser, but pip's OpenCV has no encoder for it.
_CODECS = {".mp4": ("avc1", "mp4v"), ".mkv": ("avc1", "mp4v"), ".avi": ("MJPG",)}
_FPS = 10.0
"""Rate for sources without one (a folder of images)."""
_FPS_LIMITS = (0.1, 240.0)
"""A rate beyond these is none: some streams tell the ticks of their clock, 90000 per second."""
_GAP_S = 10.0
"""A live source that was silent for longer stands still in the video for this long only."""


def accepts(uri: str) -> bool:
    """Say whether `uri` is the name of a video file."""
    return "://" not in uri and Path(uri).suffix.lower() in _CODECS


def open_sink(uri: str, context: SinkContext) -> Video:
    """Prepare the file; OutputError when the folder cannot be written."""
    return Video(uri, context)


class Video:
    """Writes annotated frames beside the final name, which a file takes only when it is closed.

    Each source has a film of its own, as it has a size and a pace of its own: of `out.mp4` that of
    the second is `out-2.mp4`.
    """

    newest = False

    def __init__(self, uri: str, context: SinkContext) -> None:
        opencv()
        self._path = Path(uri)
        low, high = _FPS_LIMITS
        self._fps = context.fps if context.fps and low <= context.fps <= high else _FPS
        self._live = context.live
        self._numbers = SourceNumbers(context)
        self._films: dict[str, _Film] = {}
        probe = _partial(self._path)
        try:
            if self._path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise unwritable(uri, error) from error

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Draw the result on a copy of the frame and append it to the film of its source."""
        picture = annotated(frame, result)
        if frame.source not in self._films:
            stem = f"{self._path.stem}{self._numbers.suffix(frame.source)}"
            path = self._path.with_name(f"{stem}{self._path.suffix}")
            self._films[frame.source] = _Film(path, self._fps, self._live, picture)
        self._films[frame.source].append(picture, frame.captured_ns)

    def close(self) -> None:
        """Finish every film and give it its name; OutputError for what did not reach the disk."""
        problems = []
        while self._films:
            try:
                self._films.popitem()[1].close()
            except OutputError as error:
                problems.append(error)
        if problems:
            raise problems[0]


class _Film:
    """One video file in the making, of the rate `fps`.

    The first picture sets the size; others are fitted into it with bars. Pictures of a live source
    are repeated or left out so that the video runs as fast as the scene did.
    """

    def __init__(self, path: Path, fps: float, live: bool, first: NDArray[np.uint8]) -> None:
        self._path = path
        self._partial = _partial(path)
        self._fps = fps
        self._live = live
        self._size = first.shape[1], first.shape[0]
        self._written = 0
        self._last_ns = 0
        self._writer = self._open_writer()

    def append(self, picture: NDArray[np.uint8], captured_ns: int) -> None:
        """Append one picture, uint8 BGR (height, width, 3), so often as the pace asks for."""
        picture = _fitted(picture, self._size)
        for _ in range(self._repeats(captured_ns)):
            self._writer.write(picture)
            self._written += 1

    def close(self) -> None:
        """Give the file its name, if it plays; OutputError when frames are missing in it."""
        self._writer.release()
        found = self._readable()
        try:
            if not found:
                self._partial.unlink(missing_ok=True)
                raise OSError(0, f"none of {self._written} frames can be read back")
            self._partial.replace(self._path)
            if found < self._written:  # OpenCV hides a full disk
                raise OSError(0, f"only the first {found} of {self._written} frames are there")
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _open_writer(self) -> Any:
        cv2 = opencv()
        for code in _CODECS[self._path.suffix.lower()]:
            with quiet():
                fourcc = cv2.VideoWriter.fourcc(*code)
                writer = cv2.VideoWriter(str(self._partial), fourcc, self._fps, self._size)
            if writer.isOpened():
                return writer
        self._partial.unlink(missing_ok=True)
        raise OutputError(
            f"{self._path}: this OpenCV cannot encode such a video of {self._size[0]}x"
            f"{self._size[1]}; use another suffix ({', '.join(_CODECS)}) or results.jsonl"
        )

    def _repeats(self, captured_ns: int) -> int:
        """How often a picture must be written for the video to keep pace with the scene."""
        if not self._live:
            return 1
        if not self._written:
            self._last_ns = captured_ns
            return 1
        elapsed = (captured_ns - self._last_ns) / 1e9
        count = round(min(elapsed, _GAP_S) * self._fps)
        # Only what was written is counted as passed, so that rounding does not add up.
        self._last_ns += round((elapsed if elapsed > _GAP_S else count / self._fps) * 1e9)
        return count

    def _readable(self) -> int:
        """Return how many frames the file holds."""
        cv2 = opencv()
        with quiet():
            capture = cv2.VideoCapture(os.fspath(self._partial))
            found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.read()[0] else 0
            capture.release()
        return max(0, found)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.stem}.part{path.suffix}")


def _fitted(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    columns = max(1, min(width, round(picture.shape[1] * scale)))
    rows = max(1, min(height, round(picture.shape[0] * scale)))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    canvas[top : top + rows, left : left + columns] = opencv().resize(picture, (columns, rows))
    return canvas
