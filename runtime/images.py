"""Image files: which they are, in which order, and their pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError
from runtime import preprocess

SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


def is_image(path: Path) -> bool:
    """Say whether `path` has the suffix of an image file that OpenCV reads."""
    return path.suffix.lower() in SUFFIXES


def natural_key(path: Path) -> list[tuple[str, int]]:
    """Sort key that puts `frame2.png` before `frame10.png`."""
    pieces = re.findall(r"(\D*)(\d*)", str(path))
    return [(text.lower(), int(number or -1)) for text, number in pieces]


def image_files(folder: Path) -> list[Path]:
    """Return the image files directly in `folder`, in natural order; hidden files are left out."""
    found = (path for path in folder.iterdir() if is_image(path) and path.is_file())
    return sorted((path for path in found if not path.name.startswith(".")), key=natural_key)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image as uint8 BGR, shape (height, width, 3), turned as its EXIF data says.

    Raises DataError, naming the file, when it cannot be read, does not decode, or is a JPEG that
    is cut off (which OpenCV would fill up with grey).
    """
    if path.is_file() and _is_cut_jpeg(path.read_bytes()):
        raise DataError(f"{path} is a JPEG that is cut off; replace or remove it")
    return preprocess.read_image(path)


def _is_cut_jpeg(data: bytes) -> bool:
    """Say whether `data` is a JPEG without its end marker (ITU-T T.81, B.1.1.3)."""
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:  # start of scan: in what follows, FF D9 can only be the end
            return data.find(b"\xff\xd9", at) < 0
        fill = data[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return True
