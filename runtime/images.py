"""Image files: which they are, in which order, and their pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError
from runtime.jpeg import is_cut
from runtime.opencv import opencv

SUFFIXES = frozenset(
    (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)


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


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read one image as uint8 BGR, shape (height, width, 3), turned as its EXIF data says.

    16-bit, grey and transparent pictures come as 8-bit BGR. Raises DataError, naming the file,
    when it cannot be read, does not decode, or is a JPEG that is cut off (which OpenCV would fill
    up with grey).
    """
    cv2 = opencv()
    try:
        # OpenCV's own reader cannot open every path that the file system allows.
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read image {path}: {error.strerror or error}") from error
    if is_cut(data):
        raise DataError(f"{path} is a JPEG that is cut off; replace or remove it")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:  # a header that promises more pixels than OpenCV decodes
        raise DataError(
            f"{path} is damaged or too large for OpenCV ({error.err}); replace or remove it"
        ) from error
    if image is None:
        raise DataError(f"{path} is not an image that OpenCV can decode; replace or remove it")
    return np.asarray(image, np.uint8)
