"""Sink: a folder of annotated pictures, `shots/` or a folder that exists.

Options: format (jpg or png), quality (of jpg, 1 to 100), every (a picture of each N-th result of a
source).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import OutputError
from runtime.drawing import annotated
from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.sinks._files import SourceNumbers, unwritable
from runtime.sinks._options import check_range, read_options
from runtime.sinks.base import SinkContext, Stamp
from runtime.tasks.base import Result

_FORMATS = ("jpg", "png")


@dataclass(frozen=True)
class _Options:
    format: str = "jpg"
    quality: int = 90
    every: int = 1


def accepts(uri: str) -> bool:
    """Say whether `uri` ends in a slash or names a folder that exists."""
    path = uri.partition("?")[0]
    return "://" not in path and bool(path) and (path.endswith("/") or Path(path).is_dir())


def open_sink(uri: str, context: SinkContext) -> Pictures:
    """Make the folder, not those above it; OutputError when it cannot be written."""
    return Pictures(uri, context)


class Pictures:
    """Writes `000012.jpg` for frame 12, each complete or not at all; `000012-2.jpg` for that of the
    second source."""

    newest = False

    def __init__(self, uri: str, context: SinkContext) -> None:
        opencv()
        path, _, query = uri.partition("?")
        self._options = read_options(path, query, _Options)
        if self._options.format not in _FORMATS:
            raise OutputError(f"{path}: option format must be {' or '.join(_FORMATS)}")
        check_range(path, "quality", self._options.quality, (1, 100))
        check_range(path, "every", self._options.every, (1, 1_000_000_000))
        self._folder = Path(path)
        self._numbers = SourceNumbers(context)
        self._seen: dict[str, int] = {}
        try:
            self._folder.mkdir(exist_ok=True)
            self._part.touch()
            self._part.unlink()
        except OSError as error:
            raise unwritable(self._folder, error) from error

    @property
    def _part(self) -> Path:
        return self._folder / f".part.{self._options.format}"

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Write one picture, if its turn has come; OutputError when the disk is full."""
        seen = self._seen.get(frame.source, 0)
        self._seen[frame.source] = seen + 1
        if seen % self._options.every:
            return
        cv2 = opencv()
        settings = (cv2.IMWRITE_JPEG_QUALITY, self._options.quality)
        jpeg = self._options.format == _FORMATS[0]
        done, data = cv2.imencode(
            f".{self._options.format}", annotated(frame, result), settings if jpeg else ()
        )
        suffix = self._numbers.suffix(frame.source)
        path = self._folder / f"{frame.index:06d}{suffix}.{self._options.format}"
        if not done:
            raise OutputError(f"{path}: OpenCV cannot encode this picture; try format=png")
        try:
            self._part.write_bytes(data)
            self._part.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error

    def close(self) -> None:
        """Leave no unfinished picture behind."""
        try:
            self._part.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._part, error) from error
