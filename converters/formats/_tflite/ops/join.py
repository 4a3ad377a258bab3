"""Joining tensors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Perm, Placed, same_numbers
from converters.graphs import integer, name_of


def concat(net: Net, node: ir.Node) -> None:
    """Write Concat in the layout that moves the fewest numbers, all parts on the result's grid."""
    computed = {i: net.read(node, i) for i in range(len(node.inputs)) if not net.known(node, i)}
    perm = _cheapest(list(computed.values()))
    grid = net.grid(node.outputs[0])
    tensors = [
        net.on_grid(net.arrange(computed[i], perm).tensor, grid)
        if i in computed
        else _constant(net, node, i, perm)
        for i in range(len(node.inputs))
    ]
    axis = perm.index(integer(node, "axis", 0) % len(perm))
    options = net.options.ConcatenationOptionsT(axis=axis)
    net.put(node.outputs[0], "CONCATENATION", tensors, perm, options)


def _cheapest(parts: Sequence[Placed]) -> Perm:
    """Return the layout of `parts` in which the least has to be moved."""

    def moved(perm: Perm) -> int:
        return sum(
            prod(part.shape) for part in parts if not same_numbers(part.shape, part.perm, perm)
        )

    return min((part.perm for part in parts), key=moved)


def _constant(net: Net, node: ir.Node, index: int, perm: Perm) -> Tensor:
    """Return a constant part in the layout `perm`, on the result's grid."""
    constant = net.known(node, index)
    assert constant is not None
    grid = net.grid(node.outputs[0])
    if grid is not None:
        constant = Constant(grid.quantize(np.asarray(constant.real, np.float32)), grid)
    elif constant.array.dtype.kind in "iu":
        constant = net.beside(node, constant)
    return net.constant(constant.transpose(perm), name_of(node.inputs[index]))


# Every part is brought to the result's grid, so that on the integers themselves it only moves.
OPS = {"Concat": Form(concat, integer=always, wide=always, moves=always)}
