"""A clock written into the pixels of a frame, so that its age can be read from any copy of it.

The top twelfth of the picture is two rows of 24 black or white blocks: 32 bits of
`time.monotonic_ns()` in milliseconds and 16 bits of checksum. Blocks are large and their middle is
read, which survives JPEG, H.264, resizing and noise; a picture mixed from two frames fails the
checksum. It is read on the machine that wrote it: other machines count from another boot.
"""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 2, 24
_TIME_BITS = 32
_HEIGHT_SHARE = 12
_BLACK, _WHITE = 16, 235
_MIDDLE = (_BLACK + _WHITE) / 2
_CONTRAST = 30.0
"""A block nearer to the middle than this is neither black nor white."""
_MS = 1_000_000

Image = NDArray[np.uint8]


def draw_clock(image: Image, captured_ns: int) -> None:
    """Write `captured_ns` into the top of `image`, uint8 (height, width[, channels]), in place.

    The picture must be at least 48 pixels wide and 24 high. A plane of luma is a picture too.
    """
    ticks = captured_ns // _MS % 2**_TIME_BITS
    word = (ticks << 16) | _checksum(ticks)
    bits = np.array([word >> n & 1 for n in range(_ROWS * _COLUMNS)], bool)
    blocks = np.where(bits.reshape(_ROWS, _COLUMNS), _WHITE, _BLACK).astype(np.uint8)
    rows, columns = _edges(image)
    band = blocks.repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)
    image[: rows[-1]] = band if image.ndim == 2 else band[:, :, None]


def read_clock(image: Image) -> int | None:
    """Return the `time.monotonic_ns()` written into `image`, to the millisecond, None if none is.

    `image` is uint8 (height, width[, channels]); its size may differ from that drawn on.
    """
    if image.shape[0] < _ROWS * _HEIGHT_SHARE or image.shape[1] < _COLUMNS:
        return None
    rows, columns = _edges(image)
    word = 0
    for n in range(_ROWS * _COLUMNS):
        row, column = divmod(n, _COLUMNS)
        top, bottom = _inner(rows[row], rows[row + 1])
        left, right = _inner(columns[column], columns[column + 1])
        level = float(image[top:bottom, left:right].mean())
        if abs(level - _MIDDLE) < _CONTRAST:
            return None
        word |= (level > _MIDDLE) << n
    ticks, checksum = word >> 16, word & 0xFFFF
    if checksum != _checksum(ticks):
        return None
    now = time.monotonic_ns() // _MS
    # The 32 bits last 49 days: of the times that they may mean, the one nearest to now.
    half = 1 << (_TIME_BITS - 1)
    return (now + (ticks - now + half) % (2 * half) - half) * _MS


def age_ns(image: Image) -> int | None:
    """Return the age of `image` in nanoseconds by its pixel clock, None if it has none."""
    written = read_clock(image)
    return None if written is None else time.monotonic_ns() - written


def _edges(image: Image) -> tuple[NDArray[Any], NDArray[Any]]:
    height, width = image.shape[:2]
    rows = np.linspace(0, max(_ROWS, height // _HEIGHT_SHARE), _ROWS + 1).round().astype(int)
    return rows, np.linspace(0, width, _COLUMNS + 1).round().astype(int)


def _inner(start: int, end: int) -> tuple[int, int]:
    """Return the middle half of a block, which the blur of its neighbours does not reach."""
    quarter = (end - start) // 4
    return start + quarter, max(start + quarter + 1, end - quarter)


def _checksum(ticks: int) -> int:
    return zlib.crc32(ticks.to_bytes(4, "little")) & 0xFFFF
