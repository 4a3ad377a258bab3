"""Transpositions that follow each other merge; others move down until they meet."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    Array,
    add_constant,
    attribute,
    before,
    bypass,
    constant,
    dims,
    is_op,
    make,
    only_user,
    remove_unused,
    replace,
    source,
)
from converters.passes.base import Decline, Pass

UNARY = (
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish"),
    *("Swish", "Tanh", "Softplus", "Softsign", "Gelu", "Mish", "Erf", "Exp", "Log", "Sqrt", "Abs"),
    *("Neg", "Floor", "Ceil", "Round", "Cast"),
)
BINARY = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "Sum")


class EliminateTranspose(Pass):
    """Merge transpositions, and remove pairs that undo each other.

    A transposition moves down through elementwise nodes only where it meets another one there, so
    that fewer remain.
    """

    after = ("constant_folding", "eliminate_identity", "fuse_activation")

    def rewrite(self, node: ir.Node) -> bool:
        """Merge the Transpose `node` into the one before it, or move those before `node` below."""
        if is_op(node, "Transpose"):
            return _merge(node)
        if is_op(node, *UNARY, *BINARY):
            return _sink(node)
        return False


def _perm(node: ir.Node) -> list[int]:
    perm = attribute(node, "perm")
    shape = dims(node.inputs[0])
    if perm is None and shape is None:
        raise Decline("the rank of its input is not known")
    return list(perm) if perm is not None else list(range(len(shape or ())))[::-1]


def _merge(node: ir.Node) -> bool:
    inner = source(node.inputs[0], "Transpose")
    value = inner.inputs[0] if inner is not None else None
    if inner is None or value is None:
        return False
    perm = [_perm(inner)[axis] for axis in _perm(node)]
    if perm == sorted(perm):
        bypass(node, value)
    else:
        replace(node, make("Transpose", [value], node, perm=perm))
    remove_unused(inner)
    return True


def _sink(node: ir.Node) -> bool:
    """Move the transpositions of all inputs of an elementwise `node` behind it."""
    numbers = [constant(value) for value in node.inputs]
    data = [i for i, number in enumerate(numbers) if number is None and node.inputs[i] is not None]
    moved = [before(node.inputs[i], "Transpose") for i in data]
    first = moved[0] if moved else None
    if first is None:
        return False
    if any(one is None or _perm(one) != _perm(first) for one in moved):
        return False
    if len(moved) < 2 and not _meets_transpose(node):
        return False
    perm = _perm(first)
    if any(number is not None and number.ndim > len(perm) for number in numbers):
        return False
    values = [one.inputs[0] for one in moved if one is not None]
    inputs = list(node.inputs)
    for index, value in zip(data, values, strict=True):
        inputs[index] = value
    for index, number in enumerate(numbers if is_op(node, *BINARY) else ()):
        if number is not None and number.size > 1:
            name = f"{node.outputs[0].name}.operand"
            inputs[index] = add_constant(node, name, _back(number, perm))
    _put_before(node, inputs, perm)
    remove_unused(*(one for one in moved if one is not None))
    return True


def _meets_transpose(node: ir.Node) -> bool:
    user = only_user(node.outputs[0])
    while user is not None and not is_op(user, "Transpose"):
        varying = [v for v in user.inputs if v is not None and constant(v) is None]
        if not is_op(user, *UNARY, *BINARY) or len(varying) != 1:
            return False
        user = only_user(user.outputs[0])
    return user is not None


def _back(number: Array, perm: list[int]) -> Array:
    """Return `number`, which broadcasts against the transposed value, for the original one."""
    full = number.reshape((1,) * (len(perm) - number.ndim) + number.shape)
    return np.transpose(full, [perm.index(axis) for axis in range(len(perm))])


def _put_before(node: ir.Node, inputs: list[ir.Value | None], perm: list[int]) -> None:
    same = ir.node(node.op_type, inputs, dict(node.attributes), name=node.name)
    shape, out = dims(node.outputs[0]), same.outputs[0]
    out.type = node.outputs[0].type
    if shape is not None:
        out.shape = ir.Shape([shape[perm.index(axis)] for axis in range(len(perm))])
    transpose = make("Transpose", [out], node, perm=perm)
    name = transpose.name
    replace(node, same, transpose)
    transpose.name = name
