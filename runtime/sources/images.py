"""Source: a folder of images, a glob such as `shots/*.png`, or one image file."""

from __future__ import annotations

import glob
import time
from pathlib import Path

from device_profiles.errors import DataError, SourceError
from runtime.frame import Frame
from runtime.images import image_files, is_image, natural_key, read_image
from runtime.sources._options import Policy


def accepts(uri: str) -> bool:
    """Say whether `uri` is a folder, an image file, or a glob that matches something."""
    path = Path(uri)
    if path.exists():
        return path.is_dir() or is_image(path)
    return glob.has_magic(uri) and bool(glob.glob(uri))


def open_source(uri: str) -> Images:
    """Open the images that `uri` names; SourceError when there is none among the files."""
    return Images(uri)


class Images:
    """The images of a folder or glob in natural order, as BGR frames named after their files."""

    live = False
    fps = None
    policy: Policy | None = None

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._paths = _find(uri)
        self._next = 0
        self.count: int | None = len(self._paths)

    def read(self) -> Frame | None:
        """Return the next image; SourceError names one that cannot be read."""
        if self._next == len(self._paths):
            return None
        path, index = self._paths[self._next], self._next
        self._next += 1
        try:
            return Frame(read_image(path), index, time.monotonic_ns(), path.name)
        except DataError as error:
            raise SourceError(str(error)) from error

    def close(self) -> None:
        """End the source."""
        self._next = len(self._paths)


def _find(uri: str) -> list[Path]:
    path = Path(uri)
    if path.is_dir():
        found = image_files(path)
    elif path.exists():
        found = [path]
    else:
        found = sorted((p for p in map(Path, glob.glob(uri)) if is_image(p)), key=natural_key)
    if not found:
        raise SourceError(
            f"{uri}: holds no image files; put .jpg or .png files there, or name another folder"
        )
    return found
