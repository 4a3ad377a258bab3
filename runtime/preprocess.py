"""The only resize, colour, normalise and layout code of the product.

The same functions prepare the frames of calibration, reference, accuracy check and camera, so a
number measured on the host is the number of the device. Frames stay 8-bit: what a device hands to
an artifact is `prepare_batch(frame, contract)`, and nothing else happens to it outside the
artifact. A camera's frames are all prepared by one `Preparer`, which allocates nothing for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, DataError
from runtime.antialias import Antialias, Cut, plain
from runtime.contract import InputContract
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


@dataclass(frozen=True)
class Placement:
    """Where the model's picture lies in the frame: `frame = model * scale + offset`, in pixels.

    Coordinates are continuous and measured from the picture's edge: pixel i reaches from i to
    i + 1 and its centre is i + 0.5. Corners of boxes are such coordinates.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float


@dataclass(frozen=True)
class _Plan:
    """Size of the resized frame, and where in it the model's picture begins (negative: bars)."""

    height: int
    width: int
    top: int = 0
    left: int = 0


def prepare(image: Pixels, contract: InputContract, out: Pixels | None = None) -> Pixels:
    """Return `image` as the artifact takes it: uint8 `contract.shape`, contiguous, BGR or grey.

    `image` is uint8, (height, width, 3) in BGR order, or (height, width) or (height, width, 1)
    for grey. One that already has the model's size and channels is taken as prepared and comes
    back as it is, without OpenCV. `out`, of the shape that is returned, is written and returned.
    Raises DataError for any other array, ContractError when `shorter_side` is too small to cut
    the model's picture out of this frame or the contract is one of tiles, MissingError when a
    resize is needed and OpenCV is not installed.
    """
    if contract.resize == "tile":
        raise ContractError("a contract of tiles makes a batch of a frame; call prepare_batch")
    if out is None:
        image = _checked(image)
        if image.shape == contract.shape:
            return np.ascontiguousarray(image)
    batch = prepare_batch(image, contract, None if out is None else out[np.newaxis])
    only: Pixels = batch[0]
    return only


def prepare_batch(image: Pixels, contract: InputContract, out: Pixels | None = None) -> Pixels:
    """Return `image` as inputs of the artifact, uint8 (n, *contract.shape), as `prepare` does.

    n is 1, unless the contract cuts a frame into tiles: then every frame is cut, in the order of
    `runtime.tiles`.
    """
    return Preparer(contract).prepare(image, out)


class Preparer:
    """Prepares the frames of one source into buffers that it owns; for one thread at a time.

    What it needs for frames of one shape it keeps until one of another shape comes.

        preparer = Preparer(contract)
        batch = preparer.prepare(frame)  # as `prepare_batch`, valid until the next call
    """

    def __init__(self, contract: InputContract) -> None:
        self._contract = contract
        self._frame: Shape = (0, 0, 0)
        self._write: Write = _nothing
        self._own: Pixels | None = None

    def shape(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the shape of the batch that a frame of `height` x `width` pixels makes."""
        contract = self._contract
        count = len(tiling(height, width, contract)) if contract.resize == "tile" else 1
        return (count, *contract.shape)

    def prepare(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Return `image` as `prepare_batch` does: in `out`, uint8 and contiguous of the shape that
        `shape` says, or where there is none in a buffer that the next call writes again.

        A frame that is taken as prepared comes back as it is. Raises as `prepare` does, DataError
        for an `out` of another kind.
        """
        image = _checked(image)
        contract = self._contract
        ready = contract.resize != "tile" and image.shape == contract.shape
        if out is not None:
            _check_out(out, self.shape(*image.shape[:2]))
        if ready and out is None:
            return np.ascontiguousarray(image)[np.newaxis]
        if ready and out is not None:
            np.copyto(out[0], image)
            return out
        if image.shape != self._frame:
            self._write, self._own = _writer(image.shape, contract), None
            self._frame = image.shape
        if out is None:
            if self._own is None:
                self._own = np.empty(self.shape(*image.shape[:2]), np.uint8)
            out = self._own
        self._write(image, out)
        return out


def placement(height: int, width: int, contract: InputContract) -> Placement:
    """Return how the model's pixel coordinates map back to a frame of `height` x `width`.

    Raises ContractError where the model sees tiles, none of which is the whole frame.
    """
    if contract.resize == "tile":
        raise ContractError(
            "preprocessing resize=tile is for enhancement; this task needs the whole frame in one "
            "picture: say stretch, letterbox or center-crop"
        )
    plan = _plan(height, width, contract)
    scale_x, scale_y = width / plan.width, height / plan.height
    return Placement(scale_x, scale_y, plan.left * scale_x, plan.top * scale_y)


def normalize(batch: Pixels, contract: InputContract) -> NDArray[np.float32]:
    """Return what the original model takes: float32 (N, C, H, W) in the order of `color`.

    `batch` is uint8 (N, H, W, C) as `prepare` returns it. Each value is `(pixel * scale - mean)
    / std`, computed in double precision and rounded once. Raises DataError for another array.
    """
    if batch.ndim != 4 or batch.shape[1:] != contract.shape or batch.dtype != np.uint8:
        raise DataError(
            f"a batch of {batch.dtype} {batch.shape} cannot be normalised; "
            f"expected uint8 (N, {', '.join(map(str, contract.shape))})"
        )
    count, height, width, channels = batch.shape
    order = range(channels)[::-1] if contract.color == "RGB" else range(channels)
    output = np.empty((count, channels, height, width), np.float32)
    for index, (source, table) in enumerate(zip(order, _tables(contract), strict=True)):
        np.take(table, batch[..., source], out=output[:, index])
    return output


def byte_values(contract: InputContract) -> NDArray[np.float64]:
    """Return the normalised value of each of the 256 bytes, (channels, 256), as in `color`."""
    scaled = np.arange(256) * contract.scale
    return np.stack([(scaled - m) / s for m, s in zip(contract.mean, contract.std, strict=True)])


def _checked(image: Pixels) -> Pixels:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise DataError(f"a frame must be an array of uint8, not {kind}; convert it to 8 bits")
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.size == 0:
        raise DataError(
            f"a frame of shape {image.shape} cannot be used; expected (height, width, 3) in BGR "
            "order, or (height, width) for grey, not empty"
        )
    return image


def _plan(height: int, width: int, contract: InputContract) -> _Plan:
    if contract.resize == "letterbox":
        return _letterbox(height, width, contract)
    if contract.resize == "center-crop":
        return _center_crop(height, width, contract)
    return _Plan(contract.height, contract.width)


def _letterbox(height: int, width: int, contract: InputContract) -> _Plan:
    scale = min(contract.height / height, contract.width / width)
    rows = min(max(round(height * scale), 1), contract.height)
    columns = min(max(round(width * scale), 1), contract.width)
    return _Plan(
        rows, columns, -((contract.height - rows) // 2), -((contract.width - columns) // 2)
    )


def _center_crop(height: int, width: int, contract: InputContract) -> _Plan:
    """Round as torchvision's Resize(shorter_side) and CenterCrop do (transforms/functional.py)."""
    side = contract.shorter_side
    if not side:
        # The smallest size that covers the model's picture: one of the two sides fits exactly.
        fits_height = contract.height * width >= contract.width * height
        side = contract.height if fits_height else contract.width
        rows, columns = (
            (side, int(side * width / height))
            if fits_height
            else (int(side * height / width), side)
        )
    elif height <= width:
        rows, columns = side, int(side * width / height)
    else:
        rows, columns = int(side * height / width), side
    if rows < contract.height or columns < contract.width:
        raise ContractError(
            f"a frame of {height}x{width} with shorter_side {side} becomes {rows}x{columns}, too "
            f"small for the model's {contract.height}x{contract.width}; raise shorter_side"
        )
    top, left = round((rows - contract.height) / 2), round((columns - contract.width) / 2)
    return _Plan(rows, columns, top, left)


def _nothing(image: Pixels, out: Pixels) -> None:
    """Stand in before the first frame."""


def _check_out(out: Pixels, shape: tuple[int, ...]) -> None:
    if out.dtype != np.uint8 or out.shape != shape or not out.flags.c_contiguous:
        raise DataError(
            f"a buffer of {out.dtype} {out.shape} cannot take this frame; give contiguous uint8 "
            f"{shape}"
        )


def _writer(frame: Shape, contract: InputContract) -> Write:
    """Return what writes frames of this shape into batches."""
    return _Tiles(frame, contract) if contract.resize == "tile" else _Picture(frame, contract)


class _Picture:
    """Writes frames of one shape as the model's picture, between bars where it has any."""

    def __init__(self, frame: Shape, contract: InputContract) -> None:
        plan = _plan(frame[0], frame[1], contract)
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


@lru_cache(maxsize=16)
def _tables(contract: InputContract) -> tuple[NDArray[np.float32], ...]:
    return tuple(byte_values(contract).astype(np.float32))
