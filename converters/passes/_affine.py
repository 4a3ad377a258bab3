"""What the folding passes share: `x * scale + shift` per channel, and nodes that absorb it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    Array,
    add_constant,
    attribute,
    constant,
    dims,
    is_op,
    make,
    needed,
    only_user,
    operand,
    set_constant,
)
from converters.passes.base import Decline

LINEAR = ("Conv", "ConvTranspose", "Gemm")
AFFINE = ("Mul", "Div", "Add", "Sub")


@dataclass(frozen=True)
class Affine:
    """`x * scale + shift` per channel (axis 1); float64 arrays of one value or one per channel."""

    scale: Array
    shift: Array

    def then(self, later: Affine) -> Affine:
        """Return this map followed by `later`."""
        return Affine(self.scale * later.scale, self.shift * later.scale + later.shift)


IDENTITY = Affine(np.ones(1), np.zeros(1))


def data_index(node: ir.Node) -> int | None:
    """Return which input of an arithmetic `node` varies while the other one is constant."""
    if not is_op(node, *AFFINE):
        return None
    varies = [i for i in (0, 1) if constant(node.inputs[i]) is None]
    if len(varies) != 1 or (varies[0] == 1 and is_op(node, "Div")):
        return None
    return varies[0]


def as_affine(node: ir.Node) -> Affine | None:
    """Return what `node` does per channel, or None when it is not such an operation."""
    index = data_index(node)
    if index is None:
        return None
    number = _per_channel(needed(node.inputs[1 - index], "its operand"), node.inputs[index])
    if number is None:
        return None
    one, zero = IDENTITY.scale, IDENTITY.shift
    if node.op_type == "Mul":
        return Affine(number, zero)
    if node.op_type == "Div":
        return Affine(1.0 / number, zero) if number.all() else None
    if node.op_type == "Add":
        return Affine(one, number)
    return Affine(one, -number) if index == 0 else Affine(-one, number)


def _per_channel(array: Array, value: ir.Value | None) -> Array | None:
    shape = dims(value)
    if shape is None or array.ndim > len(shape) or array.dtype.kind != "f":
        return None
    if array.size == 1:
        return array.reshape(1).astype(np.float64)
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if len(shape) < 2 or full[1] != shape[1] or array.size != full[1]:
        return None
    return array.reshape(-1).astype(np.float64)


def affine_nodes(value: ir.Value, by: Affine, like: ir.Node) -> list[ir.Node]:
    """Return the Mul and Add (none, one or both) that apply `by` to `value` of known rank."""
    shape = dims(value)
    if shape is None:
        raise Decline("the rank of its input is not known")
    dtype = np.dtype(value.dtype.numpy()) if value.dtype else np.dtype(np.float32)
    nodes: list[ir.Node] = []
    for op_type, array, neutral in (("Mul", by.scale, 1.0), ("Add", by.shift, 0.0)):
        if (array == neutral).all():
            continue
        column = array.reshape(-1, *(1,) * (len(shape) - 2)) if array.size > 1 else array
        number = add_constant(
            like, f"{like.outputs[0].name}.{op_type.lower()}", column.astype(dtype)
        )
        nodes.append(make(op_type, [value, number], like))
        value = nodes[-1].outputs[0]
        value.shape, value.type = like.outputs[0].shape, like.outputs[0].type
    return nodes


def absorbing(value: ir.Value | None) -> ir.Node | None:
    """Return the linear node that makes `value` for a single user."""
    node = None if value is None else value.producer()
    return node if is_op(node, *LINEAR) and only_user(value) else None


def fold_into_outputs(node: ir.Node, by: Affine) -> None:
    """Fold `by` into the weights and bias of a linear `node`; Decline when they are computed."""
    weight = needed(node.inputs[1], f"the weight of {node.op_type}")
    bias = np.zeros(1) if operand(node, 2) is None else needed(node.inputs[2], "the bias")
    channels = _output_channels(node, weight)
    scale = np.broadcast_to(by.scale, channels)
    shift = np.broadcast_to(by.shift, channels)
    if (scale != 1.0).any():
        set_constant(node, 1, (weight * _on_outputs(node, weight, scale)).astype(weight.dtype), "")
    total = (bias.astype(np.float64) * scale + shift).astype(weight.dtype)
    set_constant(node, 2, total, bias_name(node))


def bias_name(node: ir.Node) -> str:
    """Return what a bias made for a linear `node` is called."""
    weight = node.inputs[1]
    return (
        f"{(weight.name if weight and weight.name else node.op_type).removesuffix('.weight')}.bias"
    )


def _output_channels(node: ir.Node, weight: Array) -> int:
    if is_op(node, "ConvTranspose"):
        return int(weight.shape[1] * attribute(node, "group", 1))
    if is_op(node, "Gemm") and not is_normal(node):
        raise Decline("its Gemm is not in normal form (transB=1, alpha=beta=1, bias per output)")
    return int(weight.shape[0])


def is_normal(gemm: ir.Node) -> bool:
    """Return whether `gemm` is `x @ weight.T + bias` with one bias per output, or none."""
    weight, bias = constant(gemm.inputs[1]), constant(operand(gemm, 2))
    return (
        weight is not None
        and (operand(gemm, 2) is None or (bias is not None and bias.shape == weight.shape[:1]))
        and (attribute(gemm, "transA", 0), attribute(gemm, "transB", 0)) == (0, 1)
        and (attribute(gemm, "alpha", 1.0), attribute(gemm, "beta", 1.0)) == (1.0, 1.0)
    )


def _on_outputs(node: ir.Node, weight: Array, scale: Array) -> Array:
    if not is_op(node, "ConvTranspose"):
        return scale.reshape(-1, *(1,) * (weight.ndim - 1))
    groups = attribute(node, "group", 1)  # weight is (inputs, outputs / groups, ...)
    rows = np.repeat(scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return rows.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))
