"""Masks: pictures whose pixels are numbers of classes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError
from runtime.opencv import opencv

IGNORED = 255
"""The class of pixels that nobody judges, as in PASCAL VOC."""

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE, _DEPTHS = 0, 3, (1, 2, 4, 8)


def read_mask(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask as uint8 (height, width) of class numbers.

    Of a PNG with a palette, as those of PASCAL VOC are, the numbers are those of the palette and
    not its colours. Raises DataError, naming the file, when it cannot be read, does not decode, or
    has colours or 16 bits.
    """
    cv2 = opencv()
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read mask {path}: {error.strerror or error}") from error
    try:
        plain, step = _without_palette(data) if data.startswith(_PNG) else (data, 1)
        found = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except (cv2.error, struct.error) as error:
        raise DataError(f"{path} is damaged or too large for OpenCV; replace it") from error
    if found is None:
        raise DataError(f"{path} is not an image that OpenCV can decode; replace it")
    if found.dtype != np.uint8 or found.ndim != 2:
        raise DataError(
            f"{path} is a picture of {found.dtype} {found.shape}; a mask has one number of 8 bits "
            "for each pixel: save it in grey, or with a palette"
        )
    mask: NDArray[np.uint8] = found // np.uint8(step)
    return mask


def _without_palette(data: bytes) -> tuple[bytes, int]:
    """Return a PNG whose palette is left out, so that its numbers are shades of grey, and by how
    much decoders multiply these (PNG specification, 11.2.1: the samples are laid out alike)."""
    chunks = []
    at, step = len(_PNG), 1
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if struct.unpack_from(">I", data, at + 8 + length) != (zlib.crc32(kind + body),):
            return data, 1  # damaged: the decoder says so
        at += length + 12
        if kind == b"IHDR":
            depth, color = struct.unpack_from(">8xBB", body)
            if color != _PALETTE or depth not in _DEPTHS:
                return data, 1
            step = 255 // (2**depth - 1)
            body = body[:9] + bytes([_GREY]) + body[10:]
        if kind not in (b"PLTE", b"tRNS", b"bKGD", b"hIST", b"sBIT"):
            check = struct.pack(">I", zlib.crc32(kind + body))
            chunks.append(struct.pack(">I", len(body)) + kind + body + check)
    return _PNG + b"".join(chunks), step
