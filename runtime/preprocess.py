"""The only resize, colour, normalise and layout code of the product.

The same functions prepare the frames of calibration, reference, accuracy check and camera, so a
number measured on the host is the number of the device. Frames stay 8-bit: what a device hands to
an artifact is `prepare(frame, contract)`, and nothing else happens to it outside the artifact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, DataError
from runtime.contract import InputContract
from runtime.opencv import opencv

Pixels = NDArray[np.uint8]

# Pillow keeps a filter's weights in fixed point with 32 - 8 - 2 bits after the point
# (src/libImaging/Resample.c, PRECISION_BITS).
_WEIGHT_ONE = 1 << 22
# Output lines per matrix product: small, so that few of the products are with zeros.
_BAND = 4
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


@dataclass(frozen=True, eq=False)
class _Band:
    """Output lines as weighted sums of the input lines `start` to `stop`."""

    start: int
    stop: int
    weights: NDArray[np.float64]


def prepare(image: Pixels, contract: InputContract) -> Pixels:
    """Return `image` as the artifact takes it: uint8 `contract.shape`, contiguous, BGR or grey.

    `image` is uint8, (height, width, 3) in BGR order, or (height, width) or (height, width, 1)
    for grey. One that already has the model's size and channels is taken as prepared and comes
    back as it is, without OpenCV. Raises DataError for any other array, ContractError when
    `shorter_side` is too small to cut the model's picture out of this frame, MissingError when a
    resize is needed and OpenCV is not installed.
    """
    image = _checked(image)
    if image.shape == contract.shape:
        return np.ascontiguousarray(image)
    plan = _plan(image.shape[0], image.shape[1], contract)
    picture = _recolored(_resized(image, plan, contract), contract)
    if picture.shape == contract.shape:
        return np.ascontiguousarray(picture)
    canvas = np.full(contract.shape, contract.pad_value, np.uint8)
    canvas[-plan.top :, -plan.left :][: plan.height, : plan.width] = picture
    return canvas


def prepare_batch(image: Pixels, contract: InputContract) -> Pixels:
    """Return `image` as inputs of the artifact, uint8 (n, *contract.shape), as `prepare` does."""
    return prepare(image, contract)[None]


def placement(height: int, width: int, contract: InputContract) -> Placement:
    """Return how the model's pixel coordinates map back to a frame of `height` x `width`."""
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


def _resized(image: Pixels, plan: _Plan, contract: InputContract) -> Pixels:
    """Return the part of the resized frame that the model sees, (h, w, channels of `image`)."""
    rows = max(plan.top, 0), min(plan.top + contract.height, plan.height)
    columns = max(plan.left, 0), min(plan.left + contract.width, plan.width)
    if contract.interpolation == "antialias":
        return _antialiased(image, plan, rows, columns)
    cv2 = opencv()
    method = getattr(cv2, _CV2_METHODS[contract.interpolation])
    resized = cv2.resize(image, (plan.width, plan.height), interpolation=method)
    picture: Pixels = resized.reshape(plan.height, plan.width, -1)
    return picture[rows[0] : rows[1], columns[0] : columns[1]]


def _recolored(picture: Pixels, contract: InputContract) -> Pixels:
    if picture.shape[2] == contract.channels:
        return picture
    cv2 = opencv()
    code = cv2.COLOR_BGR2GRAY if contract.channels == 1 else cv2.COLOR_GRAY2BGR
    recolored: Pixels = cv2.cvtColor(picture, code)
    return recolored.reshape(*picture.shape[:2], contract.channels)


def _antialiased(
    image: Pixels, plan: _Plan, rows: tuple[int, int], columns: tuple[int, int]
) -> Pixels:
    """Resize as Pillow's `Image.resize(size, BILINEAR)` does, only the window asked for.

    Two passes, across and then down, each rounded to 8 bits, with Pillow's fixed-point weights:
    equal bit for bit to Pillow up to 12. Pillow 13 takes the passes in the other order for some
    shapes, which changes pixels by one level. Each pass combines whole lines, so the one across
    works on the transposed picture.
    """
    cv2 = opencv()
    height, width, channels = image.shape
    across = _bands(width, plan.width, *columns)
    down = _bands(height, plan.height, *rows)
    seen = image[down[0].start : down[-1].stop, across[0].start : across[-1].stop]
    turned = _filtered(cv2.transpose(seen).reshape(seen.shape[1], seen.shape[0], channels), across)
    upright = cv2.transpose(turned).reshape(seen.shape[0], turned.shape[0], channels)
    return _filtered(upright, down)


def _filtered(lines: Pixels, bands: tuple[_Band, ...]) -> Pixels:
    """Return the weighted sums of `lines` (n, m, c) that `bands` ask for, rounded to 8 bits."""
    flat = lines.reshape(len(lines), -1)
    first = bands[0].start
    output = np.empty((sum(len(band.weights) for band in bands), flat.shape[1]), np.uint8)
    row = 0
    for band in bands:
        taps = flat[band.start - first : band.stop - first].astype(np.float64)
        # 22-bit weights times bytes: exact in double precision, whatever the order of the sum.
        output[row : row + len(band.weights)] = band.weights @ taps + 0.5
        row += len(band.weights)
    return output.reshape(-1, *lines.shape[1:])


@lru_cache(maxsize=64)
def _bands(size_in: int, size_out: int, first: int, last: int) -> tuple[_Band, ...]:
    """Return the triangle filter for output lines `first` to `last` of `size_out`.

    Its support is one input pixel, widened by the reduction (Pillow's precompute_coeffs).
    """
    scale = size_in / size_out
    support = max(scale, 1.0)
    centre = (np.arange(first, last) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), size_in)
    taps = low[:, None] + np.arange(2 * math.ceil(support) + 1)
    weights = np.maximum(1.0 - np.abs((taps - centre[:, None] + 0.5) * (1.0 / support)), 0.0)
    weights[taps >= high[:, None]] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.floor(weights * _WEIGHT_ONE + 0.5) / _WEIGHT_ONE
    bands = []
    for begin in range(0, last - first, _BAND):
        part = slice(begin, begin + _BAND)
        start, stop = int(low[part][0]), int(high[part][-1])
        matrix = np.zeros((len(taps[part]), int(taps[part].max()) + 1 - start))
        np.put_along_axis(matrix, taps[part] - start, weights[part], axis=1)
        bands.append(_Band(start, stop, np.ascontiguousarray(matrix[:, : stop - start])))
    return tuple(bands)


@lru_cache(maxsize=16)
def _tables(contract: InputContract) -> tuple[NDArray[np.float32], ...]:
    return tuple(byte_values(contract).astype(np.float32))
