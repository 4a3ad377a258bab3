"""Where the largest numbers are, and which."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops.base import Form
from converters.formats._tflite.placed import Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer

_CODES = {"ArgMax": ("ARG_MAX", "ArgMaxOptionsT"), "ArgMin": ("ARG_MIN", "ArgMinOptionsT")}


def arg(net: Net, node: ir.Node) -> None:
    """Write ArgMax or ArgMin over one axis, which is then gone; RESHAPE keeps it."""
    if integer(node, "select_last_index", 0):
        raise refusal(node, f"{node.op_type} gives the first index only, select_last_index=0")
    source = _comparable(net, node)
    rank = len(source.perm)
    axis = integer(node, "axis", 0) % rank
    place = source.axis(axis)
    code, options = _CODES[node.op_type]
    say = getattr(net.options, options)(outputType=net.options.TensorType.INT64)
    inputs = [source.tensor, net.builder.constant("axis", np.array(place, np.int32))]
    rest = [n for k, n in enumerate(source.tensor.shape) if k != place]
    made = net.temporary(rest, np.dtype(np.int64))
    net.builder.operator(code, inputs, [made], say)
    if integer(node, "keepdims", 1):
        shape = [1 if k == place else n for k, n in enumerate(source.tensor.shape)]
        net.alias(node.outputs[0], Placed(net.reshape(made, shape), source.perm))
        return
    left = [one for one in source.perm if one != axis]
    net.alias(node.outputs[0], Placed(made, tuple(sorted(left).index(one) for one in left)))


def _comparable(net: Net, node: ir.Node) -> Placed:
    """Return the input, as int8 where it is that: the order is that of the real numbers."""
    placed = net.values.get(node.inputs[0].name or "") if node.inputs[0] is not None else None
    if placed is not None and placed.tensor.grid is not None and placed.tensor.dtype == np.int8:
        return net.settle(placed)
    return net.read(node)


def top_k(net: Net, node: ir.Node) -> None:
    """Write TopK of the last axis as TOPK_V2; the smallest are the largest of what is negated."""
    count = net.known(node, 1)
    if count is None:
        raise refusal(node, "TopK is written with a constant k only")
    source = net.read(node, 0)
    rank = len(source.perm)
    axis = integer(node, "axis", -1) % rank
    perm = (*(one for one in source.perm if one != axis), axis)
    tensor = net.arrange(source, perm).tensor
    smallest = not integer(node, "largest", 1)
    tensor = _negated(net, tensor) if smallest else tensor
    most = int(count.array.reshape(-1)[0])
    k = net.builder.constant("k", np.array(most, np.int32))
    shape = (*tensor.shape[:-1], most)
    numbers = net.like(tensor, shape)
    places = net.temporary(shape, np.dtype(np.int32))
    net.builder.operator("TOPK_V2", [tensor, k], [numbers, places], net.options.TopKV2OptionsT())
    found = _negated(net, numbers) if smallest else numbers
    types = net.options.TensorType
    say = net.options.CastOptionsT(inDataType=types.INT32, outDataType=types.INT64)
    wide = net.temporary(shape, np.dtype(np.int64))
    net.builder.operator("CAST", [places], [wide], say)
    for value, made in zip(node.outputs, (found, wide), strict=True):
        if value.name:
            net.alias(value, Placed(made, perm))


def _negated(net: Net, tensor: Tensor) -> Tensor:
    return net.step("NEG", [tensor], tensor, net.options.NegOptionsT())


OPS = {"ArgMax": Form(arg), "ArgMin": Form(arg), "TopK": Form(top_k)}
