"""Arithmetic of two or more operands that broadcast."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import operands
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer
from converters.quantize.grid import Grid

# ONNX's op -> TFLite's operator and its options, which can hold an activation.
_FUSING = {
    "Add": ("ADD", "AddOptionsT"),
    "Sub": ("SUB", "SubOptionsT"),
    "Mul": ("MUL", "MulOptionsT"),
    "Div": ("DIV", "DivOptionsT"),
}
_EXTREMES = {"Max": "MAXIMUM", "Min": "MINIMUM"}

# LiteRT sums int16 in steps of 2**-15 of twice the coarser operand's, and its rescaling to the
# result's step can only make numbers smaller (add.cc, QuantizeMultiplierSmallerThanOneExp).
_FAR = 2.0**14

# What LiteRT's kernels take, besides integers on a grid.
_NUMBERS = ("float32", "int32", "int64")


def arithmetic(net: Net, node: ir.Node) -> None:
    """Write an operator of two operands, with the activation that follows it."""
    code, _ = _FUSING[node.op_type]
    check(net, node, ("float32", "int32") if code == "DIV" else _NUMBERS)
    tensors, perm = operands(net, node)
    if code in ("ADD", "SUB"):
        tensors = [_near(net, tensor, net.grid(node.outputs[0])) for tensor in tensors]
    act, value = net.activation(node)
    net.put(value, code, tensors, perm, _options(net, node.op_type, act))


def _near(net: Net, tensor: Tensor, result: Grid | None) -> Tensor:
    """Return an int16 operand in steps that its sum can be told in, as one of zeros only is not."""
    if result is None or tensor.grid is None or result.dtype != np.int16:
        return tensor
    finest = np.float32(0.99 * _FAR * float(result.scale))
    near = float(tensor.grid.scale) <= finest
    return tensor if near else net.on_grid(tensor, replace(tensor.grid, scale=np.array(finest)))


def _options(net: Net, op_type: str, act: int = 0) -> Any:
    made = getattr(net.options, _FUSING[op_type][1])(fusedActivationFunction=act)
    if hasattr(made, "potScaleInt16"):
        made.potScaleInt16 = False  # steps of int16 are any numbers, not powers of two
    return made


def check(net: Net, node: ir.Node, dtypes: tuple[str, ...] = _NUMBERS) -> None:
    """Refuse operands of a dtype that LiteRT has no kernel for."""
    for value in node.inputs:
        if value is not None and str(dtype := net.dtype(value)) not in dtypes and not net.integer:
            raise refusal(node, f"{node.op_type} of {dtype} has no kernel in LiteRT")


def total(net: Net, node: ir.Node) -> None:
    """Write Sum and Mean of any number of operands as additions from the left."""
    check(net, node, _NUMBERS if node.op_type == "Sum" else ("float32",))
    tensors, perm = operands(net, node)
    value, count = node.outputs[0], len(tensors)
    if node.op_type == "Sum" and count == 2:
        act, value = net.activation(node)
        net.put(value, "ADD", tensors, perm, _options(net, "Add", act))
        return
    if node.op_type == "Mean":
        tensors.append(net.constant(np.array(count, np.float32)))
    codes = ["Add"] * (count - 1) + ["Div"] * (len(tensors) - count)
    if not codes:
        net.alias(value, net.read(node))
        return
    _chain(net, value, codes, tensors, perm)


def extreme(net: Net, node: ir.Node) -> None:
    """Write Max and Min; on integers all operands are brought to the grid of the result."""
    check(net, node)
    tensors, perm = operands(net, node, net.grid(node.outputs[0]))
    if len(tensors) == 1:
        net.alias(node.outputs[0], net.read(node))
        return
    _chain(net, node.outputs[0], [node.op_type] * (len(tensors) - 1), tensors, perm)


def _chain(
    net: Net, value: ir.Value, ops: list[str], tensors: list[Tensor], perm: tuple[int, ...]
) -> None:
    """Apply `ops` from the left, one tensor after the other."""
    made, *rest = tensors
    for i, (op_type, tensor) in enumerate(zip(ops, rest, strict=True)):
        if op_type in _EXTREMES:
            code, options = _EXTREMES[op_type], net.options.MaximumMinimumOptionsT()
        else:
            code, options = _FUSING[op_type][0], _options(net, op_type)
        if i == len(rest) - 1:
            net.put(value, code, [made, tensor], perm, options)
        else:
            shape = np.broadcast_shapes(made.shape, tensor.shape)
            step = net.like(made, shape)
            net.builder.operator(code, [made, tensor], [step], options)
            made = step


def modulo(net: Net, node: ir.Node) -> None:
    """Write Mod: of the divisor's sign, or (fmod) of the dividend's, for floats only."""
    fmod = integer(node, "fmod", 0)
    check(net, node, ("float32",) if fmod else ("int32", "int64"))
    tensors, perm = operands(net, node)
    options = net.options.FloorModOptionsT()
    if not fmod:
        net.put(node.outputs[0], "FLOOR_MOD", tensors, perm, options)
        return
    # Of numbers that are not negative both kinds are the same.
    sizes = [net.step("ABS", [one], one, net.options.AbsOptionsT()) for one in tensors]
    shape = np.broadcast_shapes(*(one.shape for one in tensors))
    left = net.like(tensors[0], shape)
    net.builder.operator("FLOOR_MOD", sizes, [left], options)
    sign = net.step("SIGN", tensors[:1], tensors[0], net.options.SignOptionsT())
    net.put(node.outputs[0], "MUL", [left, sign], perm, _options(net, "Mul"))


def _of_two(node: ir.Node) -> bool:
    return len(node.inputs) == 2


_FORM = Form(arithmetic, integer=always, wide=always)
_EXTREME = Form(extreme, integer=always, wide=always)
OPS = {
    **dict.fromkeys(_FUSING, _FORM),
    "Div": Form(arithmetic),  # older versions of LiteRT have no int8 kernel
    "Sum": Form(total, integer=_of_two, wide=_of_two),
    "Mean": Form(total),
    **dict.fromkeys(_EXTREMES, _EXTREME),
    "Mod": Form(modulo),
}
