"""Reductions over any axes, in the layout in which the numbers lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._float import Float
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Perm, Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer, integers

# ONNX's op -> TFLite's operator, where they are the same function.
_SAME = {
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}


def same(net: Net, node: ir.Node) -> None:
    """Write a reduction that TFLite has."""
    source, axes = _source(net, node)
    if axes is None:
        net.alias(node.outputs[0], source)
        return
    keep = bool(integer(node, "keepdims", 1))
    inputs = [source.tensor, net.builder.constant("axes", np.array(axes, np.int32))]
    options = net.options.ReducerOptionsT(keepDims=keep)
    net.put(node.outputs[0], _SAME[node.op_type], inputs, _left(source, axes, keep), options)


def composed(net: Net, node: ir.Node) -> None:
    """Write a norm, or the logarithm of a sum, in the operators that TFLite has."""
    source, axes = _source(net, node)
    keep = bool(integer(node, "keepdims", 1))
    axes = () if axes is None else axes
    made = _composed(Float(net), node.op_type, source.tensor, axes)
    shape = [n for i, n in enumerate(made.shape) if keep or i not in axes]
    net.alias(node.outputs[0], Placed(net.reshape(made, shape), _left(source, axes, keep)))


def _composed(f: Float, op: str, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    if op == "ReduceLogSumExp":
        # Less the largest, so that no power of e overflows.
        largest = f.reduce("REDUCE_MAX", x, axes)
        powers = f("EXP", f("SUB", x, largest))
        return f("ADD", f("LOG", f.reduce("SUM", powers, axes)), largest)
    if op in ("ReduceL2", "ReduceSumSquare"):
        x = f("MUL", x, x)
    elif op == "ReduceL1":
        x = f("ABS", x)
    total = f.reduce("SUM", x, axes)
    last = {"ReduceL2": "SQRT", "ReduceLogSum": "LOG"}.get(op)
    return total if last is None else f(last, total)


def _source(net: Net, node: ir.Node) -> tuple[Placed, tuple[int, ...] | None]:
    """Return the input, and the axes of its tensor that are reduced; None where none are."""
    source = net.read_loose(node)
    rank = len(source.perm)
    given = integers(node, "axes", ())
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        array = net.known(node, 1)
        if array is None:
            raise refusal(node, f"{node.op_type} is written with constant axes only")
        given = tuple(int(axis) for axis in array.array.reshape(-1))
    if not given:
        if integer(node, "noop_with_empty_axes", 0):
            return net.settle(source), None
        given = tuple(range(rank))
    reduced = {axis % rank for axis in given}
    if source.order is not None and source.order[0] in reduced:
        source = replace(source, order=None)  # a sum has no order
    source = net.settle(source)
    return source, tuple(k for k, axis in enumerate(source.perm) if axis in reduced)


def _left(source: Placed, axes: tuple[int, ...], keep: bool) -> Perm:
    """Return how the result is placed: as the input, without the axes that are gone."""
    if keep:
        return source.perm
    rest = [axis for k, axis in enumerate(source.perm) if k not in axes]
    return tuple(sorted(rest).index(axis) for axis in rest)


_OWN = Form(same, integer=always, wide=always)
_KEEPS = Form(same, integer=always, wide=always, keeps=True)
OPS = {
    "ReduceMean": _OWN,
    "ReduceSum": _OWN,
    "ReduceMax": _KEEPS,
    "ReduceMin": _KEEPS,
    "ReduceProd": Form(same),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
        Form(composed),
    ),
}
