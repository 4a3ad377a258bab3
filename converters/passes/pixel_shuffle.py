"""Pixel shuffles become one DepthToSpace that finds its channels in the order DCR."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    attribute,
    before,
    dims,
    is_op,
    make,
    needed,
    operand,
    remove_unused,
    replace,
    set_constant,
    source,
)
from converters.passes.base import Decline, Pass
from converters.passes.eliminate_transpose import UNARY

# The Transpose between two Reshapes that are a DepthToSpace of that mode.
_MOVES = {(0, 1, 4, 2, 5, 3): "CRD", (0, 3, 4, 1, 5, 2): "DCR"}


class PixelShuffle(Pass):
    """Write a pixel shuffle as DepthToSpace, and let the convolution before it order the channels.

    PyTorch takes channels in the order CRD; engines other than onnxruntime have DCR only, or would
    put them in order first. The rows of constant weights can stand in any order.
    """

    after = ("eliminate_reshape", "eliminate_transpose", "fold_affine", "fuse_activation")

    def rewrite(self, node: ir.Node) -> bool:
        """Recognise a shuffle that is written out, or turn the order of one into DCR."""
        if is_op(node, "Reshape"):
            return _recognise(node)
        if not is_op(node, "DepthToSpace") or attribute(node, "mode", "DCR") != "CRD":
            return False
        shape = dims(node.inputs[0])
        size = attribute(node, "blocksize")
        if shape is None or not isinstance(shape[1], int):
            raise Decline("the number of its channels is not known")
        if shape[1] != size * size:
            _order(node, np.arange(shape[1]).reshape(-1, size * size).T.reshape(-1))
        node.attributes["mode"] = ir.AttrString("mode", "DCR")
        return True


def _recognise(node: ir.Node) -> bool:
    transpose = source(node.inputs[0], "Transpose")
    first = source(transpose.inputs[0], "Reshape") if transpose else None
    mode = _MOVES.get(tuple(attribute(transpose, "perm", ()))) if transpose else None
    if transpose is None or first is None or mode is None:
        return False
    batch, *parts = dims(first.outputs[0]) or (None,)
    sizes = [part for part in parts if isinstance(part, int)]
    if len(sizes) != 5:
        return False
    channels, size, other = sizes[:3] if mode == "CRD" else (sizes[2], *sizes[:2])
    old = (batch, channels * size * size, *sizes[3:])
    new = (batch, channels, *(length * size for length in sizes[3:]))
    if size != other or dims(first.inputs[0]) != old or dims(node.outputs[0]) != new:
        return False
    replace(node, make("DepthToSpace", [first.inputs[0]], node, blocksize=size, mode=mode))
    remove_unused(transpose, first)
    return True


def _order(node: ir.Node, places: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    """Let the convolution before `node` give its channels in the order `places`."""
    value = node.inputs[0]
    while between := before(value, *UNARY):
        value = between.inputs[0]
    linear = before(value, "Conv")
    if linear is None or attribute(linear, "group", 1) != 1:
        raise Decline("no convolution of one group gives its channels")
    weight = needed(linear.inputs[1], "the weight of Conv")
    bias = None if operand(linear, 2) is None else needed(linear.inputs[2], "the bias of Conv")
    set_constant(linear, 1, weight[places], "weight")
    if bias is not None:
        set_constant(linear, 2, bias[places], "bias")
