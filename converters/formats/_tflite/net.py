"""Net: the file as it grows, and the words in which `ops/` says what to add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Builder, Tensor
from converters.formats._tflite.constants import Constant, grid_of, known, signed, signed_codes
from converters.formats._tflite.placed import Placed, identity, same_numbers
from converters.graphs import Array, name_of
from converters.quantize.grid import Grid


@dataclass(frozen=True)
class Kind:
    """Shape and dtype of a value, as they were when the graph was run once."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Net:
    """What an op sees: read its inputs with `read` and `known`, add results with `put`.

    Values are those of the onnx-ir graph, by name. A value read for a node that computes on
    integers is the quantized tensor; for any other node it is real numbers.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.builder = Builder()
        self.options = self.builder.schema
        self.values: dict[str, Placed] = {}
        self.fused: set[str] = set()  # nodes that another one has taken in
        self.integer = False  # whether the node at hand computes on integers
        self._kinds = kinds
        self._reals: dict[int, Tensor] = {}
        self._unshaped: dict[int, Tensor] = {}  # what a RESHAPE was made from, by its index

    # ---- What is known of the graph ----------------------------------------------------------

    def shape(self, value: ir.Value | None) -> tuple[int, ...]:
        """Return the shape of a value in the graph's own layout."""
        constant = known(value)
        return self._kinds[name_of(value)].shape if constant is None else constant.array.shape

    def dtype(self, value: ir.Value | None) -> np.dtype[Any]:
        """Return the dtype of a value."""
        constant = known(value)
        return self._kinds[name_of(value)].dtype if constant is None else constant.real.dtype

    def known(self, node: ir.Node, index: int) -> Constant | None:
        """Return input `index` of `node` if it is constant; None if computed or left out."""
        return known(node.inputs[index]) if index < len(node.inputs) else None

    # ---- Reading -----------------------------------------------------------------------------

    def read(self, node: ir.Node, index: int = 0) -> Placed:
        """Return an input of `node`, in order, in the arithmetic of the node."""
        return self.settle(self.read_loose(node, index))

    def read_loose(self, node: ir.Node, index: int = 0) -> Placed:
        """Return an input of `node` that may still have one axis out of order."""
        value = node.inputs[index]
        constant = known(value)
        if constant is not None:
            tensor = self.constant(self.beside(node, constant), name_of(value))
            return Placed(tensor, identity(len(tensor.shape)))
        placed = self.values[name_of(value)]
        producer = None if value is None else value.producer()
        dequantized = producer is not None and producer.op_type == "DequantizeLinear"
        return self.real(placed) if dequantized and not self.integer else placed

    def beside(self, node: ir.Node, constant: Constant) -> Constant:
        """Return integers that `node` moves beside quantized ones on the grid of those."""
        if constant.grid is not None or str(constant.array.dtype) not in ("uint8", "int8", "int16"):
            return constant
        beside = (self.values.get(v.name or "") for v in node.inputs if v is not None)
        grid = next((p.tensor.grid for p in beside if p is not None and p.tensor.grid), None)
        return constant if grid is None else Constant(signed_codes(constant.array), grid)

    def real(self, placed: Placed) -> Placed:
        """Return `placed` as float32, dequantized where it is not."""
        tensor = placed.tensor
        return placed if tensor.grid is None else replace(placed, tensor=self._widened(tensor))

    def _widened(self, tensor: Tensor) -> Tensor:
        """Return quantized or half-precision numbers as float32, made once."""
        if tensor.index not in self._reals:
            made = self.temporary(tensor.shape, np.dtype(np.float32))
            self.builder.operator("DEQUANTIZE", [tensor], [made], self.options.DequantizeOptionsT())
            self._reals[tensor.index] = made
        return self._reals[tensor.index]

    def settle(self, placed: Placed) -> Placed:
        """Return `placed` with every axis in order."""
        if placed.order is None:
            return placed
        axis, indices = placed.order
        places = self.builder.constant("order", np.argsort(indices).astype(np.int32))
        options = self.options.GatherOptionsT(axis=placed.axis(axis))
        made = self.like(placed.tensor, placed.tensor.shape)
        self.builder.operator("GATHER", [placed.tensor, places], [made], options)
        return Placed(made, placed.perm)

    def arrange(self, placed: Placed, perm: Sequence[int]) -> Placed:
        """Return `placed` with its axes in the order `perm`; free where nothing has to move."""
        perm = tuple(perm)
        if placed.perm == perm:
            return placed
        shape = placed.shape
        target = [shape[axis] for axis in perm]
        data = placed.tensor.data
        if data is not None and (placed.tensor.grid is None or placed.tensor.grid.axis is None):
            moved = data.transpose([placed.perm.index(axis) for axis in perm])
            tensor = self.builder.constant("moved", moved, placed.tensor.grid)
            return Placed(tensor, perm, placed.order)
        if same_numbers(shape, placed.perm, perm):
            return Placed(self.reshape(placed.tensor, target), perm, placed.order)
        moves = np.array([placed.perm.index(axis) for axis in perm], np.int32)
        made = self.like(placed.tensor, target)
        order = self.builder.constant("perm", moves)
        options = self.options.TransposeOptionsT()
        self.builder.operator("TRANSPOSE", [placed.tensor, order], [made], options)
        return Placed(made, perm, placed.order)

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Return `tensor` in another shape, made from what it was before any other shape."""
        tensor = self._unshaped.get(tensor.index, tensor)
        if tensor.shape == tuple(shape):
            return tensor
        if tensor.data is not None and (tensor.grid is None or tensor.grid.axis is None):
            return self.builder.constant("reshaped", tensor.data.reshape(shape), tensor.grid)
        made = self.copy(tensor, shape)
        self._unshaped[made.index] = tensor
        return made

    def copy(self, tensor: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Return the same numbers as a tensor of their own, perhaps in another shape."""
        shape = tensor.shape if shape is None else shape
        made = self.like(tensor, shape)
        target = self.builder.constant("shape", np.array(shape, np.int32))
        options = self.options.ReshapeOptionsT(newShape=list(shape))
        self.builder.operator("RESHAPE", [tensor, target], [made], options)
        return made

    def on_grid(self, tensor: Tensor, grid: Grid | None) -> Tensor:
        """Return a quantized tensor on another grid: QUANTIZE where it differs."""
        if tensor.grid is None or grid is None or same_grid(tensor.grid, grid):
            return tensor
        made = self.temporary(tensor.shape, grid.dtype, grid)
        self.builder.operator("QUANTIZE", [tensor], [made], self.options.QuantizeOptionsT())
        return made

    # ---- Adding ------------------------------------------------------------------------------

    def constant(self, constant: Constant | Array, name: str = "constant") -> Tensor:
        """Add a constant; one in half precision is widened when the file is loaded."""
        if not isinstance(constant, Constant):
            constant = Constant(constant)
        tensor = self.builder.constant(name, constant.array, constant.grid)
        return self._widened(tensor) if tensor.dtype == np.float16 else tensor

    def temporary(
        self, shape: Sequence[int], dtype: np.dtype[Any], grid: Grid | None = None
    ) -> Tensor:
        """Add a tensor that no value of the graph stands for."""
        return self.builder.tensor("", shape, dtype, grid)

    def like(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Add a tensor of the dtype and grid of another one."""
        return self.temporary(shape, tensor.dtype, tensor.grid)

    def step(
        self, code: str, inputs: Sequence[Tensor | None], like: Tensor, options: Any = None
    ) -> Tensor:
        """Add an operator on the way, whose result has the shape, dtype and grid of `like`."""
        made = self.like(like, like.shape)
        self.builder.operator(code, inputs, [made], options)
        return made

    def result(self, value: ir.Value, perm: Sequence[int], source: Tensor | None) -> Tensor:
        """Add the tensor of `value`, an output of the node at hand, placed by `perm`.

        Its grid is the one on which the graph quantizes it or, where integers are only moved,
        that of `source`, the tensor that they come from.
        """
        kind = self._kinds[name_of(value)]
        shape = [kind.shape[axis] for axis in perm]
        grid = self.grid(value)
        if grid is None and kind.dtype.itemsize <= 2 and source is not None:
            grid = source.grid
        dtype = kind.dtype if grid is None else grid.dtype
        tensor = self.builder.tensor(name_of(value), shape, dtype, grid)
        self.values[name_of(value)] = Placed(tensor, tuple(perm))
        return tensor

    def put(
        self,
        value: ir.Value,
        code: str,
        inputs: Sequence[Tensor | None],
        perm: Sequence[int],
        options: Any = None,
    ) -> Placed:
        """Add an operator that computes `value`, placed by `perm`."""
        source = next((tensor for tensor in inputs if tensor is not None), None)
        made = self.result(value, perm, source)
        self.builder.operator(code, inputs, [made], options)
        return self.values[name_of(value)]

    def alias(self, value: ir.Value, placed: Placed) -> None:
        """Say that `value` is what is already there."""
        self.values[name_of(value)] = placed

    def grid(self, value: ir.Value) -> Grid | None:
        """Return the grid on which the graph stores a result of the integer node at hand."""
        if not self.integer:
            return None
        return signed(grid_of(next(iter(value.uses())).node))

    # ---- Fusing ------------------------------------------------------------------------------

    def activation(self, node: ir.Node) -> tuple[int, ir.Value]:
        """Return the activation to fuse into `node`, and the value that it then computes.

        The Relu or Clip that follows is taken in where TFLite can fuse it.
        """
        codes = self.options.ActivationFunctionType
        value = node.outputs[0]
        uses = list(value.uses())
        if self.integer or len(uses) != 1 or value.is_graph_output():
            return codes.NONE, value
        reader = uses[0].node
        name = fusible(reader)
        if name is None:
            return codes.NONE, value
        self.fused.add(reader.name or "")
        return getattr(codes, name), reader.outputs[0]


def fusible(node: ir.Node) -> str | None:
    """Return TFLite's name of the activation that `node` is, None when it cannot be fused."""
    if node.op_type == "Relu":
        return "RELU"
    if node.op_type != "Clip":
        return None
    bounds = [None if (c := known(v)) is None else float(c.real) for v in node.inputs[1:]]
    low, high = (*bounds, None, None)[:2]
    if len(node.inputs) - 1 != len([b for b in bounds if b is not None]):
        return None
    names: dict[tuple[float | None, float | None], str] = {
        (0, None): "RELU",
        (0, 6): "RELU6",
        (-1, 1): "RELU_N1_TO_1",
    }
    return names.get((low, high))


def same_grid(one: Grid, other: Grid) -> bool:
    """Tell whether two per-tensor grids are the same."""
    return (
        one.dtype == other.dtype
        and float(one.scale) == float(other.scale)
        and int(one.zero_point) == int(other.zero_point)
    )
