"""The only resize, colour, normalise and layout code of the product.

The same functions prepare the frames of calibration, reference, accuracy check and camera, so a
number measured on the host is the number of the device. Frames stay 8-bit: what a device hands to
an artifact is `prepare_batch(frame, contract)`, and nothing else happens to it outside the
artifact. A camera's frames are all prepared by one `Preparer`, which allocates nothing for them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, DataError
from runtime.contract import InputContract
from runtime.geometry import Placement, placement
from runtime.tiles import tiling
from runtime.writers import Pixels, Shape, Write, writer

__all__ = [
    "Pixels",
    "Placement",
    "Preparer",
    "byte_values",
    "normalize",
    "placement",
    "prepare",
    "prepare_batch",
]


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
            self._write, self._own = writer(image.shape, contract), None
            self._frame = image.shape
        if out is None:
            if self._own is None:
                self._own = np.empty(self.shape(*image.shape[:2]), np.uint8)
            out = self._own
        self._write(image, out)
        return out


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


def _nothing(image: Pixels, out: Pixels) -> None:
    """Stand in before the first frame."""


def _check_out(out: Pixels, shape: tuple[int, ...]) -> None:
    if out.dtype != np.uint8 or out.shape != shape or not out.flags.c_contiguous:
        raise DataError(
            f"a buffer of {out.dtype} {out.shape} cannot take this frame; give contiguous uint8 "
            f"{shape}"
        )


@lru_cache(maxsize=16)
def _tables(contract: InputContract) -> tuple[NDArray[np.float32], ...]:
    return tuple(byte_values(contract).astype(np.float32))
