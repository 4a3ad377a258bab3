"""Parts of a tensor: slices of it, and the pieces that it is split into."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._pick import cut, pick
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer


def slice_(net: Net, node: ir.Node) -> None:
    """Write Slice as SLICE, or as STRIDED_SLICE where a step is not 1."""
    source = net.read_loose(node)
    given = [net.known(node, i) for i in range(1, len(node.inputs)) if node.inputs[i] is not None]
    if any(constant is None for constant in given):
        raise refusal(node, "Slice is written with constant starts, ends, axes and steps only")
    starts, ends, axes, steps = (_numbers(net, node, i) for i in range(1, 5))
    rank = len(source.shape)
    runs = {}
    for k, start in enumerate(starts):
        axis = axes[k] % rank if axes else k
        step = steps[k] if steps else 1
        runs[axis] = range(*slice(start, ends[k], step).indices(source.shape[axis]))
    if not all(runs.values()):
        raise refusal(node, "Slice takes nothing of what it reads")
    net.alias(node.outputs[0], cut(net, source, runs))


def _numbers(net: Net, node: ir.Node, index: int) -> list[int]:
    constant = net.known(node, index)
    return [] if constant is None else np.ravel(constant.array).tolist()


def split(net: Net, node: ir.Node) -> None:
    """Write Split as SPLIT or SPLIT_V.

    Where a single part is read it is a slice; what is out of order is picked in order part by part.
    """
    source = net.read_loose(node)
    axis = integer(node, "axis", 0) % len(source.shape)
    sizes = [net.shape(value)[axis] for value in node.outputs]
    read = [value.is_graph_output() or bool(value.uses()) for value in node.outputs]
    if any(wanted and not size for wanted, size in zip(read, sizes, strict=True)):
        raise refusal(node, "Split gives a part without numbers")
    disordered = source.order is not None and source.order[0] == axis
    if not disordered and sum(read) > 1 and all(sizes):
        _split(net, node, source, axis)
        return
    for value, size, end, wanted in zip(node.outputs, sizes, np.cumsum(sizes), read, strict=True):
        if wanted:
            net.alias(value, pick(net, source, axis, np.arange(end - size, end)))


def _split(net: Net, node: ir.Node, source: Placed, axis: int) -> None:
    at = source.axis(axis)
    made = []
    for value in node.outputs:
        shape = list(source.tensor.shape)
        shape[at] = net.shape(value)[axis]
        part = Placed(net.like(source.tensor, shape), source.perm, source.order)
        net.alias(value, part)
        made.append(part.tensor)
    sizes = [tensor.shape[at] for tensor in made]
    along = net.builder.constant("axis", np.array(at, np.int32))
    if len(set(sizes)) == 1:
        options = net.options.SplitOptionsT(numSplits=len(sizes))
        net.builder.operator("SPLIT", [along, source.tensor], made, options)
    else:
        lengths = net.builder.constant("sizes", np.array(sizes, np.int32))
        options = net.options.SplitVOptionsT(numSplits=len(sizes))
        net.builder.operator("SPLIT_V", [source.tensor, lengths, along], made, options)


OPS = {"Slice": Form(slice_, moves=always), "Split": Form(split, moves=always)}
