"""Resizing as Pillow does it: filters that widen with the reduction, in fixed-point arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from runtime.opencv import opencv

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]

# Pillow keeps a filter's weights in fixed point with 32 - 8 - 2 bits after the point
# (src/libImaging/Resample.c, PRECISION_BITS).
_WEIGHT_ONE = 1 << 22
# Output lines per matrix product: few, so that few of the products are with zeros (measured).
_BAND = 8


@dataclass(frozen=True)
class Cut:
    """One direction of a resized picture: its `size`, of which lines `start` to `stop` are kept."""

    size: int
    start: int
    stop: int

    def __len__(self) -> int:
        """Return how many lines are kept."""
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class _Band:
    """Output lines as weighted sums of the input lines `start` to `stop`."""

    start: int
    stop: int
    weights: Numbers


class Antialias:
    """Resizes pictures of one shape (height, width, channels) as Pillow's `Image.resize` does with
    BILINEAR or, when `cubic`, BICUBIC; only what is kept of `rows` and `columns`.

    Two passes, across and then down, each rounded to 8 bits, with Pillow's fixed-point weights:
    equal bit for bit to Pillow up to 12. Pillow 13 takes the passes in the other order for some
    shapes, which changes pixels by one level. Each pass combines whole lines, so the one across
    works on the transposed picture. What lies between is in buffers that are reused: for one
    thread.
    """

    def __init__(self, shape: tuple[int, int, int], rows: Cut, columns: Cut, cubic: bool) -> None:
        height, width, channels = shape
        across, down = _bands(width, columns, cubic), _bands(height, rows, cubic)
        top, bottom = down[0].start, max(band.stop for band in down)
        left, right = across[0].start, max(band.stop for band in across)
        self._seen = slice(top, bottom), slice(left, right)
        self._across = _Pass(across, (bottom - top) * channels)
        self._down = _Pass(down, len(columns) * channels)
        self._lines = np.empty((right - left, bottom - top, channels), np.uint8)
        self._turned = np.empty((len(columns), bottom - top, channels), np.uint8)
        self._upright = np.empty((bottom - top, len(columns), channels), np.uint8)

    def __call__(self, image: Pixels, out: Pixels) -> None:
        """Resize `image`, uint8 of the shape, into `out`, (rows, columns, channels)."""
        cv2 = opencv()
        cv2.transpose(plain(image[self._seen]), dst=plain(self._lines))
        self._across(self._lines, self._turned)
        cv2.transpose(plain(self._turned), dst=plain(self._upright))
        self._down(self._upright, out)


class _Pass:
    """Weighted sums of lines, each of `length` bytes, rounded to 8 bits."""

    def __init__(self, bands: tuple[_Band, ...], length: int) -> None:
        self._bands = bands
        # Weights below 0 reach beyond the bytes; sums with the others do not.
        self._beyond = any((band.weights < 0).any() for band in bands)
        self._taps = np.empty((max(b.stop - b.start for b in bands), length))
        self._sums = np.empty((_BAND, length))

    def __call__(self, lines: Pixels, out: Pixels) -> None:
        flat = lines.reshape(len(lines), -1)
        first, row = self._bands[0].start, 0
        for band in self._bands:
            taps = self._taps[: band.stop - band.start]
            sums = self._sums[: len(band.weights)]
            np.copyto(taps, flat[band.start - first : band.stop - first])
            # 22-bit weights times bytes: exact in double precision, whatever the order of the sum.
            np.matmul(band.weights, taps, out=sums)
            sums += 0.5
            if self._beyond:
                np.clip(sums, 0, 255, out=sums)
            part = out[row : row + len(sums)]
            part[...] = sums.reshape(part.shape)
            row += len(sums)


def plain(picture: Pixels) -> Pixels:
    """Return a picture (h, w, 1) as OpenCV has it, (h, w), and one of colours as it is."""
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def _triangle(distance: Numbers) -> Numbers:
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: Numbers) -> Numbers:
    """Return Keys' cubic with a = -0.5, as bicubic_filter of src/libImaging/Resample.c."""
    a, x = -0.5, distance
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


@lru_cache(maxsize=64)
def _bands(size_in: int, cut: Cut, cubic: bool) -> tuple[_Band, ...]:
    """Return the filter for the lines that are kept (Pillow's precompute_coeffs).

    The support is one input pixel, or two, widened by the reduction.
    """
    scale = size_in / cut.size
    widened = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * widened
    centre = (np.arange(cut.start, cut.stop) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), size_in)
    taps = low[:, None] + np.arange(2 * math.ceil(support) + 1)
    distance = np.abs((taps - centre[:, None] + 0.5) * (1.0 / widened))
    weights = (_cubic if cubic else _triangle)(distance)
    weights[taps >= high[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    # Away from zero, as C's cast after adding half a step does.
    weights = np.trunc(weights * _WEIGHT_ONE + np.copysign(0.5, weights)) / _WEIGHT_ONE
    bands = []
    for begin in range(0, len(cut), _BAND):
        part = slice(begin, begin + _BAND)
        start, stop = int(low[part][0]), int(high[part][-1])
        matrix = np.zeros((len(taps[part]), int(taps[part].max()) + 1 - start))
        np.put_along_axis(matrix, taps[part] - start, weights[part], axis=1)
        bands.append(_Band(start, stop, np.ascontiguousarray(matrix[:, : stop - start])))
    return tuple(bands)
