"""Nodes that hand their input on unchanged are removed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    Dims,
    attribute,
    bypass,
    constant,
    dims,
    is_op,
    operand,
    parameter,
)
from converters.passes.base import Pass


class EliminateIdentity(Pass):
    """Remove Identity, inference Dropout, and whatever its parameters make a no-op."""

    after = ("constant_folding",)

    def rewrite(self, node: ir.Node) -> bool:
        """Remove `node` when one of its inputs always equals its output."""
        check = CHECKS.get(node.op_type) if is_op(node, node.op_type) else None
        if check is None or any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
            return False
        index = check(node)
        value = None if index is None else node.inputs[index]
        if value is None:
            return False
        bypass(node, value)
        return True


Check = Callable[[ir.Node], "int | None"]  # the input that equals the output, if any


def _when(test: Callable[[ir.Node], bool]) -> Check:
    return lambda node: 0 if test(node) else None


def _same(shape: Dims | None, other: Dims | None) -> bool:
    return shape is not None and shape == other and None not in shape


def _keeps_shape(node: ir.Node) -> bool:
    return _same(dims(node.inputs[0]), dims(node.outputs[0]))


def _keeps_type(node: ir.Node) -> bool:
    value = node.inputs[0]
    return value is not None and value.dtype is not None and value.dtype == node.outputs[0].dtype


def _is_off(node: ir.Node) -> bool:
    training = operand(node, 2)
    known = constant(training)
    return training is None or (known is not None and not known.any())


def _reshapes_nothing(node: ir.Node) -> bool:
    shape, target = dims(node.inputs[0]), constant(operand(node, 1))
    if _keeps_shape(node):
        return True
    if shape is None or target is None or len(shape) != target.size:
        return False
    copies = not attribute(node, "allowzero", 0)
    pairs = zip(shape, target.tolist(), strict=True)
    open_axes = [t for d, t in pairs if d != t and not (t == 0 and copies)]
    return open_axes in ([], [-1])


def _moves_nothing(node: ir.Node) -> bool:
    perm = attribute(node, "perm", (1, 0))  # without perm it reverses the axes
    return list(perm) == sorted(perm)


def _pads_nothing(node: ir.Node) -> bool:
    pads = node.attributes.get("pads")
    amounts = pads.value if pads is not None else constant(operand(node, 1))
    return amounts is not None and not np.any(amounts)


def _cuts_nothing(node: ir.Node) -> bool:
    steps = constant(operand(node, 4))
    return (
        operand(node, 4) is None or (steps is not None and (steps == 1).all())
    ) and _keeps_shape(node)


def _pools_nothing(node: ir.Node) -> bool:
    ones = (*attribute(node, "kernel_shape", (2,)), *attribute(node, "strides", ()))
    return all(one == 1 for one in ones) and not any(attribute(node, "pads", ()))


def _is_unbounded(node: ir.Node) -> bool:
    return parameter(node, "min", 1) is None and parameter(node, "max", 2) is None


def _neutral(number: float, *indices: int) -> Check:
    """Return a check for arithmetic with `number` that does not widen the other operand."""

    def check(node: ir.Node) -> int | None:
        for index in indices:
            array = constant(node.inputs[1 - index])
            shape = dims(node.inputs[index])
            if array is None or array.dtype.kind not in "fiu" or not (array == number).all():
                continue
            scalar = array.size == 1 and shape is not None and array.ndim <= len(shape)
            if scalar or _same(shape, dims(node.outputs[0])):
                return index
        return None

    return check


ALONE = _when(lambda node: len(node.inputs) == 1)

CHECKS: dict[str, Check] = {
    "Identity": _when(lambda node: True),
    "Dropout": _when(_is_off),
    "Cast": _when(_keeps_type),
    "CastLike": _when(_keeps_type),
    "Reshape": _when(_reshapes_nothing),
    "Flatten": _when(_keeps_shape),
    "Expand": _when(_keeps_shape),
    "Squeeze": _when(_keeps_shape),
    "Transpose": _when(_moves_nothing),
    "Pad": _when(_pads_nothing),
    "Slice": _when(_cuts_nothing),
    "Concat": ALONE,
    "Sum": ALONE,
    "Mean": ALONE,
    "Max": ALONE,
    "Min": ALONE,
    "Split": _when(lambda node: len(node.outputs) == 1),
    "Add": _neutral(0.0, 0, 1),
    "Sub": _neutral(0.0, 0),
    "Mul": _neutral(1.0, 0, 1),
    "Div": _neutral(1.0, 0),
    "AveragePool": _when(_pools_nothing),
    "MaxPool": _when(_pools_nothing),
    "Clip": _when(_is_unbounded),
}
