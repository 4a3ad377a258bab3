"""From the grid of a model's output to the pixels of the frame.

Both are sampled at the centres of their cells. The grid covers the model's picture from edge to
edge, whatever its stride, and bars of a letterbox are no part of the picture: what is beyond the
last cell of the picture is that cell's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from runtime.contract import InputContract
from runtime.opencv import opencv
from runtime.preprocess import placement

Classes = NDArray[np.unsignedinteger]
Planes = NDArray[np.float32]
Indices = NDArray[np.intp]

_SLACK = 1e-6  # cells: what is left of a whole number after a division and a multiplication
_BAND = 16  # rows of the frame that are interpolated at once: few enough to stay in the cache
_VALUES = 1 << 17  # values that are interpolated at once: half a megabyte


@dataclass(frozen=True, eq=False)
class Line:
    """One direction: `size` pixels of the frame, of which the model saw `start` to `stop`.

    For each of those: the cells `before` and `after` its centre, the `weight` of the latter
    (float32, 0..1), and the `nearest` cell.
    """

    size: int
    start: int
    stop: int
    before: Indices
    after: Indices
    weight: NDArray[np.float32]
    nearest: Indices


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the pixels of a frame lie in an output of (rows, columns) cells."""

    rows: Line
    columns: Line

    def blank(self, value: int, dtype: type[np.unsignedinteger]) -> tuple[Classes, Classes]:
        """Return a picture of the frame's size filled with `value`, and the part that the model
        saw as a view of it."""
        whole = np.full((self.rows.size, self.columns.size), value, dtype)
        seen = whole[self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]
        return whole, seen


@lru_cache(maxsize=16)
def grid(frame: tuple[int, int], contract: InputContract, cells: tuple[int, int]) -> Grid:
    """Return where a `frame` of (height, width) pixels lies in an output of (rows, columns)."""
    place = placement(*frame, contract)
    rows = _line(frame[0], place.scale_y, place.offset_y, cells[0], contract.height)
    columns = _line(frame[1], place.scale_x, place.offset_x, cells[1], contract.width)
    return Grid(rows, columns)


def _line(size: int, scale: float, offset: float, cells: int, model: int) -> Line:
    pitch = cells / (model * scale)  # cells per pixel of the frame
    centres = (np.arange(size) + 0.5 - offset) * pitch
    seen = np.flatnonzero((centres > -_SLACK) & (centres < cells + _SLACK))
    first = max(int(np.ceil(-offset * pitch - 0.5 - _SLACK)), 0)
    last = min(int(np.floor((size - offset) * pitch - 0.5 + _SLACK)), cells - 1)
    # A picture thinner than a cell has no cell's centre in it: the cell that holds it is its own.
    first, last = (first, last) if first <= last else (min(first, cells - 1),) * 2
    at = np.clip(centres[seen] - 0.5, first, last)
    before = np.floor(at + _SLACK).astype(np.intp)
    weight = np.clip(at - before, 0, 1).astype(np.float32)
    after = np.minimum(before + 1, last)
    nearest = np.clip(np.floor(at + 0.5), first, last).astype(np.intp)
    start = int(seen[0]) if seen.size else 0
    return Line(size, start, start + len(seen), before, after, weight, nearest)


def best(planes: Planes) -> Classes:
    """Return the best class of each cell, (h, w); of equal scores the lower class.

    `planes` are float32 (classes, h, w). uint8 up to 255 classes, so that one number is left for
    what is unknown, else uint16.
    """
    if len(planes) > 255:
        many: Classes = planes.argmax(0).astype(np.uint16)
        return many
    cv2 = opencv()
    top = planes[0].copy()
    found = np.zeros(top.shape, np.uint8)
    for index, plane in enumerate(planes[1:], 1):
        better = cv2.compare(plane, top, cv2.CMP_GT)
        cv2.max(top, plane, dst=top)
        cv2.max(found, cv2.min(better, index), dst=found)
    return found


def nearest(cells: Classes, grid: Grid, unknown: int) -> Classes:
    """Return a picture of the frame's size: of each pixel the nearest cell, or `unknown`."""
    whole, seen = grid.blank(unknown, cells.dtype.type)
    seen[...] = cells.take(grid.columns.nearest, 1).take(grid.rows.nearest, 0)
    return whole


def best_between(planes: Planes, grid: Grid) -> Classes:
    """Return the best class of each pixel after `planes`, float32 (classes, h, w), are
    interpolated bilinearly to the frame; the dtype's highest number where the model saw nothing.

    A class that is best in four neighbouring cells is best everywhere between them, since every
    score there is the same weighted mean of the four. So only the pixels between cells of
    different classes are interpolated: the answer is that of interpolating every plane, and no
    float picture of the frame's size is made.
    """
    found = best(planes)
    unknown = int(np.iinfo(found.dtype).max)
    rows, columns = grid.rows, grid.columns
    mixed = _mixed(found)
    whole, seen = grid.blank(unknown, found.dtype.type)
    found[mixed] = unknown
    seen[...] = found.take(columns.before, 1).take(rows.before, 0)
    pixels = np.flatnonzero(seen == unknown)
    scores = _Scores(planes, mixed)
    step = max(_VALUES // len(planes), 1)
    for start in range(0, len(pixels), step):
        part = np.divmod(pixels[start : start + step], seen.shape[1])
        seen[part] = scores.at(grid, *part).argmax(1)
    return whole


def _mixed(cells: Classes) -> NDArray[np.bool_]:
    """Return which cells are of another class than the next one, the one below, or below that."""
    mixed = np.zeros(cells.shape, np.bool_)
    mixed[:-1] = cells[:-1] != cells[1:]
    mixed[:, :-1] |= cells[:, :-1] != cells[:, 1:]
    mixed[:-1, :-1] |= cells[:-1, :-1] != cells[1:, 1:]
    return mixed


class _Scores:
    """The scores at and around the `mixed` cells, side by side for each cell."""

    def __init__(self, planes: Planes, mixed: NDArray[np.bool_]) -> None:
        around = mixed.copy()
        around[1:] |= mixed[:-1]
        around[:, 1:] |= around[:, :-1]
        cells = np.flatnonzero(around)
        self._values = np.ascontiguousarray(planes.reshape(len(planes), -1).take(cells, 1).T)
        self._width = mixed.shape[1]
        self._places = np.zeros(mixed.size, np.int32)
        self._places[cells] = np.arange(len(cells))

    def at(self, grid: Grid, rows: Indices, columns: Indices) -> NDArray[np.float32]:
        """Return the interpolated scores at pixels of what the model saw, (n, classes)."""
        across = grid.columns.weight[columns, np.newaxis]
        down = grid.rows.weight[rows, np.newaxis]
        left, right = grid.columns.before[columns], grid.columns.after[columns]
        above, below = (
            self._between(line[rows] * self._width, left, right, across)
            for line in (grid.rows.before, grid.rows.after)
        )
        below -= above
        below *= down
        above += below
        return above

    def _between(
        self, line: Indices, left: Indices, right: Indices, weight: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        start: NDArray[np.float32] = self._values.take(self._places[line + left], 0)
        end = self._values.take(self._places[line + right], 0)
        end -= start
        end *= weight
        start += end
        return start


def interpolated_bytes(plane: NDArray[np.float32], grid: Grid) -> NDArray[np.uint8]:
    """Return `plane`, float32 (h, w) of 0..1, interpolated bilinearly to the frame in steps of
    1/255; 0 where the model saw nothing."""
    whole, seen = grid.blank(0, np.uint8)
    levels, rows, columns = plane * np.float32(255), grid.rows, grid.columns
    for first in range(0, len(seen), _BAND):
        part = slice(first, first + _BAND)
        start, stop = rows.before[first], rows.after[part][-1] + 1
        lines = levels[start:stop]
        across = lines.take(columns.before, 1)
        across += (lines.take(columns.after, 1) - across) * columns.weight
        down = across.take(rows.before[part] - start, 0)
        down += (across.take(rows.after[part] - start, 0) - down) * rows.weight[part, np.newaxis]
        # A half goes up, so that what reaches a half of 1 reaches 128.
        seen[part] = down + np.float32(0.5)
    return np.asarray(whole, np.uint8)
