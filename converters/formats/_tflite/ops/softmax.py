"""Softmax and its logarithm, over any axis."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Perm
from converters.graphs import integer

_CODES = {"Softmax": "SOFTMAX", "LogSoftmax": "LOG_SOFTMAX"}


def softmax(net: Net, node: ir.Node) -> None:
    """Write SOFTMAX, which works on the last axis: channels of an image are that already."""
    source = net.read_loose(node)
    rank = len(source.perm)
    axis = integer(node, "axis", -1) % rank
    if source.perm[-1] != axis:
        source = net.arrange(source, _last(source.perm, axis))
    options = None
    if node.op_type == "Softmax":
        options = net.options.SoftmaxOptionsT(beta=1.0)
    made = net.put(node.outputs[0], _CODES[node.op_type], [source.tensor], source.perm, options)
    # Where the numbers are out of order, so are their shares.
    net.alias(node.outputs[0], replace(made, order=source.order))


def _last(perm: Perm, axis: int) -> Perm:
    """Return the layout with `axis` last and the others in the order in which they are."""
    return (*(one for one in perm if one != axis), axis)


# What the kernels demand of their results (Prepare in activations.cc): all that there can be.
_PROBABILITY = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}
_LOGARITHM = {"int8": (16 / 256, 127)}
OPS = {
    "Softmax": Form(softmax, integer=always, wide=always, fixed=_PROBABILITY),
    "LogSoftmax": Form(softmax, integer=always, fixed=_LOGARITHM),
}
