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
from runtime.sinks._files import unwritable
from runtime.sinks.base import SinkContext, Stamp
from runtime.tasks.base import Result

# Best first; H.264 plays in every browser, but pip's OpenCV has no encoder for it.
_CODECS = {".mp4": ("avc1", "mp4v"), ".mkv": ("avc1", "mp4v"), ".avi": ("MJPG",)}
_FPS = 10.0
"""Rate for sources without one (a folder of images)."""
_GAP_S = 10.0
"""A live source that was silent for longer stands still in the video for this long only."""


def accepts(uri: str) -> bool:
    """Say whether `uri` is the name of a video file."""
    return "://" not in uri and Path(uri).suffix.lower() in _CODECS


def open_sink(uri: str, context: SinkContext) -> Video:
    """Prepare the file; OutputError when the folder cannot be written."""
    return Video(uri, context)


class Video:
    """Writes annotated frames beside the final name, which the file takes only when it is closed.

    The first frame sets the size; others are fitted into it with bars. Frames of a live source
    are repeated or left out so that the video runs as fast as the scene did.
    """

    newest = False

    def __init__(self, uri: str, context: SinkContext) -> None:
        opencv()
        self._path = Path(uri)
        self._partial = self._path.with_name(f".{self._path.stem}.part{self._path.suffix}")
        self._fps = context.fps or _FPS
        self._live = context.live
        self._writer: Any = None
        self._size = (0, 0)
        self._written = 0
        self._last_ns = 0
        try:
            if self._path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._partial.touch()
        except OSError as error:
            raise unwritable(uri, error) from error

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Draw the result on a copy of the frame and append it."""
        picture = annotated(frame, result)
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            self._writer = self._open_writer()
        picture = _fitted(picture, self._size)
        for _ in range(self._repeats(frame)):
            self._writer.write(picture)
            self._written += 1

    def close(self) -> None:
        """Finish the video and give it its name; OutputError when it cannot be read back."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.release()
            try:
                self._check()
                self._partial.replace(self._path)
            except OSError as error:
                self._partial.unlink(missing_ok=True)
                raise unwritable(self._path, error) from error
        self._partial.unlink(missing_ok=True)

    def _open_writer(self) -> Any:
        cv2 = opencv()
        for code in _CODECS[self._path.suffix.lower()]:
            with quiet():
                fourcc = cv2.VideoWriter.fourcc(*code)
                writer = cv2.VideoWriter(str(self._partial), fourcc, self._fps, self._size)
            if writer.isOpened():
                return writer
        raise OutputError(
            f"{self._path}: this OpenCV cannot encode such a video of {self._size[0]}x"
            f"{self._size[1]}; use another suffix ({', '.join(_CODECS)}) or results.jsonl"
        )

    def _repeats(self, frame: Frame) -> int:
        """How often the frame must be written for the video to keep pace with the scene."""
        if not self._live:
            return 1
        if not self._written:
            self._last_ns = frame.captured_ns
            return 1
        elapsed = (frame.captured_ns - self._last_ns) / 1e9
        count = round(min(elapsed, _GAP_S) * self._fps)
        # Only what was written is counted as passed, so that rounding does not add up.
        self._last_ns += round((elapsed if elapsed > _GAP_S else count / self._fps) * 1e9)
        return count

    def _check(self) -> None:
        """Raise OSError unless the file holds the frames: OpenCV hides a full disk."""
        cv2 = opencv()
        with quiet():
            capture = cv2.VideoCapture(os.fspath(self._partial))
            found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.read()[0] else 0
            capture.release()
        if found < self._written:
            raise OSError(0, f"only {found} of {self._written} frames reached the disk")


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
