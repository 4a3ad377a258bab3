"""Two operands of one shape, or of shapes that broadcast, side by side in one layout."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.placed import Perm, Placed, identity
from converters.graphs import name_of
from converters.quantize.grid import Grid


def operands(net: Net, node: ir.Node, grid: Grid | None = None) -> tuple[list[Tensor], Perm]:
    """Return the inputs of an elementwise node as tensors that broadcast, and their layout.

    The layout is that of the largest computed input: the others follow it, constants for free.
    Quantized ones are brought to `grid` where it is given.
    """
    rank = len(net.shape(node.outputs[0]))
    indices = [i for i, value in enumerate(node.inputs) if value is not None]
    placed = {i: of_rank(net.read(node, i), rank, net) for i in indices if not net.known(node, i)}
    largest = max(placed.values(), key=lambda one: prod(one.tensor.shape), default=None)
    perm = identity(rank) if largest is None else largest.perm
    tensors = []
    for i in indices:
        constant = net.known(node, i)
        if constant is None:
            tensors.append(net.on_grid(net.arrange(placed[i], perm).tensor, grid))
            continue
        if grid is not None:
            constant = Constant(grid.quantize(constant.real.astype(np.float32)), grid)
        elif constant.grid is not None and not net.integer:
            constant = Constant(constant.real)
        tensors.append(constant_operand(net, constant, perm, name_of(node.inputs[i])))
    return tensors, perm


def constant_operand(net: Net, constant: Constant, perm: Perm, name: str) -> Tensor:
    """Add a constant that broadcasts, in the layout `perm`, without leading axes of size 1."""
    shape = (1,) * (len(perm) - constant.array.ndim) + constant.array.shape
    moved = constant.reshape(shape).transpose(perm)
    kept = list(moved.array.shape)
    while kept and kept[0] == 1:
        kept.pop(0)
    return net.constant(moved.reshape(kept), name)


def of_rank(placed: Placed, rank: int, net: Net) -> Placed:
    """Return `placed` with axes of size 1 before its own, so that it has `rank` of them."""
    more = rank - len(placed.perm)
    if not more:
        return placed
    perm = (*range(more), *(axis + more for axis in placed.perm))
    tensor = net.reshape(placed.tensor, (1,) * more + placed.tensor.shape)
    return Placed(tensor, perm)
