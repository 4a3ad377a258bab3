"""What writes frames of one shape into batches: resized, recoloured, between bars or in tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.antialias import Antialias, Cut, plain
from runtime.contract import InputContract
from runtime.geometry import plan_of
from runtime.opencv import opencv
from runtime.tiles import tiling

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]
Write = Callable[[Pixels, Pixels], None]  # from a picture into another

_CV2_METHODS = {
    "linear": "INTER_LINEAR",
    "area": "INTER_AREA",
    "cubic": "INTER_CUBIC",
    "nearest": "INTER_NEAREST",
}


def writer(frame: Shape, contract: InputContract) -> Write:
    """Return what writes frames of this shape into batches."""
    return _Tiles(frame, contract) if contract.resize == "tile" else _Picture(frame, contract)


class _Picture:
    """Writes frames of one shape as the model's picture, between bars where it has any."""

    def __init__(self, frame: Shape, contract: InputContract) -> None:
        plan = plan_of(frame[0], frame[1], contract)
        rows = Cut(plan.height, max(plan.top, 0), min(plan.top + contract.height, plan.height))
        columns = Cut(plan.width, max(plan.left, 0), min(plan.left + contract.width, plan.width))
        top, left = max(-plan.top, 0), max(-plan.left, 0)
        self._bars = contract.pad_value
        self._top, self._bottom = top, top + len(rows)
        self._left, self._right = left, left + len(columns)
        self._resize = _resizer(frame, rows, columns, contract.interpolation)
        other = frame[2] != contract.channels
        self._colored = np.empty((len(rows), len(columns), frame[2]), np.uint8) if other else None

    def __call__(self, image: Pixels, out: Pixels) -> None:
        canvas, bars = out[0], self._bars
        canvas[: self._top] = bars
        canvas[self._bottom :] = bars
        seen = canvas[self._top : self._bottom]
        seen[:, : self._left] = bars
        seen[:, self._right :] = bars
        seen = seen[:, self._left : self._right]
        if self._colored is None:
            self._resize(image, seen)
        else:
            self._resize(image, self._colored)
            _recolor(self._colored, seen)


class _Tiles:
    """Writes frames of one shape as tiles.

    A picture is enlarged in its own colours: luma has less of their rounding than they have.
    """

    def __init__(self, frame: Shape, contract: InputContract) -> None:
        tiles = tiling(frame[0], frame[1], contract)
        self._corners = [
            (row.start, column.start) for row in tiles.rows for column in tiles.columns
        ]
        size, channels = (tiles.height, tiles.width), contract.channels
        self._enlarged = self._colored = self._reflected = None
        if contract.upscale > 1:
            rows, columns = (Cut(side, 0, side) for side in size)
            self._enlarged = np.empty((*size, frame[2]), np.uint8)
            self._resize = _resizer(frame, rows, columns, contract.interpolation)
        if frame[2] != channels:
            self._colored = np.empty((*size, channels), np.uint8)
        if tiles.height < contract.height or tiles.width < contract.width:
            whole = max(tiles.height, contract.height), max(tiles.width, contract.width)
            self._reflected = np.empty((*whole, channels), np.uint8)

    def __call__(self, image: Pixels, out: Pixels) -> None:
        if self._enlarged is not None:
            self._resize(image, self._enlarged)
            image = self._enlarged
        if self._colored is not None:
            _recolor(image, self._colored)
            image = self._colored
        if self._reflected is not None:
            _reflect(image, self._reflected)
            image = self._reflected
        height, width = out.shape[1:3]
        for tile, (top, left) in zip(out, self._corners, strict=True):
            np.copyto(tile, image[top : top + height, left : left + width])


def _resizer(frame: Shape, rows: Cut, columns: Cut, interpolation: str) -> Write:
    """Return what writes what is kept of resized frames, (rows, columns, channels of the frame)."""
    if interpolation in ("antialias", "antialias-cubic"):
        return Antialias(frame, rows, columns, interpolation == "antialias-cubic")
    cv2 = opencv()
    size, method = (columns.size, rows.size), getattr(cv2, _CV2_METHODS[interpolation])
    if (len(rows), len(columns)) == (rows.size, columns.size):

        def whole(image: Pixels, out: Pixels) -> None:
            cv2.resize(plain(image), size, dst=plain(out), interpolation=method)

        return whole
    resized = np.empty((rows.size, columns.size, frame[2]), np.uint8)
    kept = resized[rows.start : rows.stop, columns.start : columns.stop]

    def part(image: Pixels, out: Pixels) -> None:
        cv2.resize(plain(image), size, dst=plain(resized), interpolation=method)
        np.copyto(out, kept)

    return part


def _recolor(picture: Pixels, out: Pixels) -> None:
    cv2 = opencv()
    code = cv2.COLOR_BGR2GRAY if out.shape[2] == 1 else cv2.COLOR_GRAY2BGR
    cv2.cvtColor(plain(picture), code, dst=plain(out))


def _reflect(picture: Pixels, out: Pixels) -> None:
    """Continue a picture beyond its last lines by those before them."""
    cv2 = opencv()
    down, right = (out.shape[axis] - picture.shape[axis] for axis in (0, 1))
    mode: Any = cv2.BORDER_REFLECT_101
    cv2.copyMakeBorder(plain(picture), 0, down, 0, right, mode, dst=plain(out))
