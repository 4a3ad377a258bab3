"""Constants as the file stores them: float32, float16 that is widened, or integers on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converters.graphs import Array, constant
from converters.quantize.grid import Grid


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers known now, and the grid that they are on, where they are quantized."""

    array: Array
    grid: Grid | None = None

    @property
    def real(self) -> Array:
        """The numbers that this stands for: float32 for quantized ones, else as they are."""
        if self.grid is None:
            halved = self.array.dtype == np.float16
            return self.array.astype(np.float32) if halved else self.array
        return _dequantized(self.array, self.grid)

    def transpose(self, perm: Sequence[int]) -> Constant:
        """Return the constant with its axes in another order."""
        axis = None if self.grid is None else self.grid.axis
        if self.grid is None or axis is None:
            return replace(self, array=self.array.transpose(perm))
        moved = replace(self.grid, axis=list(perm).index(axis))
        return Constant(self.array.transpose(perm), moved)

    def reshape(self, shape: Sequence[int], axis: int | None = None) -> Constant:
        """Return the constant in another shape, whose channels lie along `axis`."""
        grid = self.grid
        if grid is not None and grid.axis is not None:
            assert axis is not None
            grid = replace(grid, axis=axis)
        return Constant(self.array.reshape(shape), grid)


def _dequantized(array: Array, grid: Grid) -> Array:
    shape = [1] * array.ndim
    if grid.axis is not None:
        shape[grid.axis] = -1
    zero = grid.zero_point.astype(np.float64).reshape(shape)
    scale = grid.scale.astype(np.float64).reshape(shape)
    return ((array.astype(np.float64) - zero) * scale).astype(np.float32)


def signed_codes(array: Array) -> Array:
    """Return integers as int8 where they are uint8, less 128; others as they are."""
    if array.dtype != np.uint8:
        return array
    return (array.astype(np.int16) - 128).astype(np.int8)


def signed(grid: Grid) -> Grid:
    """Return the same grid for int8 where it is one for uint8: the zero point moves by 128."""
    return replace(grid, zero_point=np.asarray(signed_codes(grid.zero_point)))


def known(value: ir.Value | None) -> Constant | None:
    """Return what `value` holds if that is known now: given, or given and dequantized or widened.

    Quantized uint8 becomes int8.
    """
    array = constant(value)
    if array is not None:
        return Constant(array)
    node = None if value is None else value.producer()
    if node is None or node.op_type not in ("DequantizeLinear", "Cast"):
        return None
    source = constant(node.inputs[0])
    if source is None:
        return None
    if node.op_type == "Cast":
        halved = source.dtype == np.float16 and node.outputs[0].dtype == ir.DataType.FLOAT
        return Constant(source) if halved else None
    return Constant(signed_codes(source), grid_of(node))


def grid_of(node: ir.Node) -> Grid:
    """Return the grid of a QuantizeLinear or DequantizeLinear node, signed as TFLite has it."""
    scale = np.asarray(constant(node.inputs[1]), np.float32)
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    integers = np.zeros(scale.shape, np.uint8) if zero is None else zero
    return signed(Grid(scale, np.asarray(integers), axis if scale.ndim else None))
