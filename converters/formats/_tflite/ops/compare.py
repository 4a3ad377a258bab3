"""Comparisons, logic, and choosing between two values."""

from __future__ import annotations

import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import operands
from converters.formats._tflite.ops.arithmetic import check
from converters.formats._tflite.ops.base import Form

_NUMBERS = ("float32", "int32", "int64")
_BOOL = ("bool",)
# ONNX's op -> TFLite's operator, its options, and the dtypes of its kernels.
_SAME = {
    "Equal": ("EQUAL", "EqualOptionsT", (*_NUMBERS, "bool")),
    "Greater": ("GREATER", "GreaterOptionsT", _NUMBERS),
    "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqualOptionsT", _NUMBERS),
    "Less": ("LESS", "LessOptionsT", _NUMBERS),
    "LessOrEqual": ("LESS_EQUAL", "LessEqualOptionsT", _NUMBERS),
    "And": ("LOGICAL_AND", "LogicalAndOptionsT", _BOOL),
    "Or": ("LOGICAL_OR", "LogicalOrOptionsT", _BOOL),
    "Xor": ("NOT_EQUAL", "NotEqualOptionsT", _BOOL),
}


def compare(net: Net, node: ir.Node) -> None:
    """Write an operator of two operands that gives booleans."""
    code, options, dtypes = _SAME[node.op_type]
    check(net, node, dtypes)
    tensors, perm = operands(net, node)
    net.put(node.outputs[0], code, tensors, perm, getattr(net.options, options)())


def where(net: Net, node: ir.Node) -> None:
    """Write Where as SELECT_V2."""
    check(net, node, (*_NUMBERS, "bool"))
    tensors, perm = operands(net, node)
    net.put(node.outputs[0], "SELECT_V2", tensors, perm, net.options.SelectV2OptionsT())


OPS = {**dict.fromkeys(_SAME, Form(compare)), "Where": Form(where)}
