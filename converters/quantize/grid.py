"""Grid: the affine map between real numbers and integers, and how one is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Grid:
    """real = (integer - zero_point) * scale, as ONNX's DequantizeLinear and TFLite define it.

    `scale` (float32) and `zero_point` (of the integer's dtype) are scalars, or vectors along
    `axis` when every channel has its own.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.integer]
    axis: int | None = None

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """The integer type: uint8, int8 or int32."""
        return self.zero_point.dtype

    @property
    def low(self) -> float:
        """The smallest real number that a per-tensor grid represents."""
        return float((np.iinfo(self.dtype).min - int(self.zero_point)) * float(self.scale))

    @property
    def high(self) -> float:
        """The largest real number that a per-tensor grid represents."""
        return float((np.iinfo(self.dtype).max - int(self.zero_point)) * float(self.scale))

    def quantize(self, values: FloatArray) -> NDArray[np.integer]:
        """Round to nearest even and saturate: 8 bits exactly as onnxruntime's QuantizeLinear."""
        shape = [1] * values.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        # QuantizeLinear divides in float32; the 32 bits of a bias need more digits than it has.
        exact = np.dtype(np.float32 if self.dtype.itemsize == 1 else np.float64)
        zero = self.zero_point.astype(exact).reshape(shape)
        info = np.iinfo(self.dtype)
        integers = _steps(values.astype(exact), self.scale.astype(exact).reshape(shape)) + zero
        result: NDArray[np.integer] = np.clip(integers, info.min, info.max).astype(self.dtype)
        return result


def _steps(values: FloatArray, scale: FloatArray) -> FloatArray:
    """Return how many steps each number is; one beyond all floats is infinitely many."""
    with np.errstate(over="ignore"):
        return np.asarray(np.rint(values / scale))


def activation_grid(low: float, high: float, dtype: np.dtype[np.integer], symmetric: bool) -> Grid:
    """Return the per-tensor grid that covers [low, high] and represents 0 exactly.

    Zero must be exact because padding inserts it (Jacob et al. 2018, arXiv:1712.05877, section
    2.1). `symmetric` puts zero in the middle, as accelerators without zero points need it.
    """
    info = np.iinfo(dtype)
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        middle = 0 if info.min < 0 else (info.max + 1) // 2
        scale = _normal(max(-low, high) / (info.max - middle))
        return Grid(scale, np.array(middle, dtype))
    scale = _normal((high - low) / (info.max - info.min))
    zero = int(np.clip(np.rint(info.min - low / float(scale)), info.min, info.max))
    return Grid(scale, np.array(zero, dtype))


def _normal(scale: float) -> NDArray[np.float32]:
    # No number but 0, or none that float32 can divide by with all its digits: any scale does.
    return np.array(scale if scale >= np.finfo(np.float32).tiny else 1, np.float32)


@dataclass(frozen=True)
class WeightRule:
    """How weights become int8: a scale per output channel, and whether pairs must stay small."""

    per_channel: bool = True
    pair_safe: bool = False


def weight_grid(
    weight: FloatArray, axis: int, rule: WeightRule, least: FloatArray | float = 0.0
) -> Grid:
    """Return the symmetric int8 grid of a weight whose output channels lie along `axis`.

    No step is smaller than `least`, a number or one per output channel.

    With `rule.pair_safe`, any two weights of one channel and sign sum to at most 128 steps, so
    that kernels which add pairs of u8 x s8 products in 16 signed bits (x86 `vpmaddubsw`) cannot
    saturate: 255 * 128 < 2**15, whatever order the kernel packs them in.
    """
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    if not rule.per_channel:
        rows = rows.reshape(1, -1)
    scale = np.abs(rows).max(axis=1) / 127
    if rule.pair_safe and rows.shape[1] > 1:
        scale = np.maximum(scale, _largest_pair(rows) / 128)
    scale = np.maximum(scale, np.max(least) if not rule.per_channel else least)
    scale = np.maximum(scale, np.finfo(np.float32).tiny * 256).astype(np.float32)
    if rule.pair_safe:
        scale = _keep_pairs(rows, scale)
    if not rule.per_channel:
        return Grid(scale.reshape(()), np.zeros((), np.int8))
    return Grid(scale, np.zeros(scale.shape, np.int8), axis)


def _largest_pair(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return per row the largest magnitude that two of its numbers of one sign sum to."""
    if rows.shape[1] < 2:
        return np.abs(rows[:, 0])
    ends = np.sort(rows, axis=1)
    positive = ends[:, -1] + np.maximum(ends[:, -2], 0)
    negative = ends[:, 0] + np.minimum(ends[:, 1], 0)
    largest: NDArray[np.float64] = np.maximum(positive, -negative)
    return largest


def _keep_pairs(rows: NDArray[np.float64], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    # Rounding can lift a pair from 128 to 129 steps: widen those channels until none does.
    for _ in range(8):
        steps = _steps(rows.astype(np.float32), scale[:, None])
        over = _largest_pair(steps.astype(np.float64)) > 128
        if not over.any():
            break
        scale = np.where(over, scale * np.float32(1.004), scale).astype(np.float32)
    return scale
