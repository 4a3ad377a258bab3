"""Functions of one number, number by number, in any layout."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import operands
from converters.formats._tflite.ops.arithmetic import check
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.refuse import refusal
from converters.graphs import constant

# ONNX's op -> TFLite's operator, its options ("" where it has none), and the dtypes of its kernels.
_FLOAT = ("float32",)
_SAME: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Sqrt": ("SQRT", "", _FLOAT),
    "Exp": ("EXP", "ExpOptionsT", _FLOAT),
    "Log": ("LOG", "", _FLOAT),
    "Abs": ("ABS", "AbsOptionsT", ("float32", "int32")),
    "Neg": ("NEG", "NegOptionsT", ("float32", "int32", "int64")),
    "Floor": ("FLOOR", "", _FLOAT),
    "Ceil": ("CEIL", "", _FLOAT),
    "Round": ("ROUND", "", _FLOAT),  # half to even, as ONNX wants it
    "Sign": ("SIGN", "SignOptionsT", ("float32", "int32")),
    "Sin": ("SIN", "", _FLOAT),
    "Cos": ("COS", "CosOptionsT", _FLOAT),
    "Not": ("LOGICAL_NOT", "LogicalNotOptionsT", ("bool",)),
}


def same(net: Net, node: ir.Node) -> None:
    """Write a function that TFLite has."""
    code, options, dtypes = _SAME[node.op_type]
    check(net, node, dtypes)
    source = net.read(node)
    made = getattr(net.options, options)() if options else None
    net.put(node.outputs[0], code, [source.tensor], source.perm, made)


def reciprocal(net: Net, node: ir.Node) -> None:
    """Write Reciprocal as a division."""
    check(net, node, _FLOAT)
    source = net.read(node)
    inputs = [net.constant(np.array(1, np.float32)), source.tensor]
    net.put(node.outputs[0], "DIV", inputs, source.perm, net.options.DivOptionsT())


def power(net: Net, node: ir.Node) -> None:
    """Write Pow: small whole and half exponents by exact operators, others as POW."""
    base, given = (net.dtype(value) for value in node.inputs)
    number = _exponent(net, node)
    if base == np.float32 and number in _POWERS:
        _by_steps(net, node, _POWERS[number])
        return
    if base not in (np.float32, np.int32) or (base != given and number is None):
        raise refusal(node, "Pow is written for a base and an exponent of float32, or of int32")
    if number is None:
        tensors, perm = operands(net, node)
    else:
        source = net.read(node)
        tensors, perm = [source.tensor, net.constant(np.array(number, base))], source.perm
    net.put(node.outputs[0], "POW", tensors, perm, net.options.PowOptionsT())


def _exponent(net: Net, node: ir.Node) -> float | None:
    """Return the exponent where it is one constant number for a base that is computed."""
    exponent = net.known(node, 1)
    if exponent is None or exponent.array.size != 1 or net.known(node, 0) is not None:
        return None
    same = net.shape(node.inputs[0]) == net.shape(node.outputs[0])
    return float(exponent.real.item()) if same else None


# x to the power of the key: "square", "root", "times" the base, "over" (one divided by it).
_POWERS: dict[float | None, tuple[str, ...]] = {
    0.5: ("root",),
    1: (),
    2: ("square",),
    3: ("square", "times"),
    4: ("square", "square"),
    -0.5: ("root", "over"),
    -1: ("over",),
    -2: ("square", "over"),
}


def _by_steps(net: Net, node: ir.Node, steps: tuple[str, ...]) -> None:
    source = net.read(node)
    if not steps:
        net.alias(node.outputs[0], source)
        return
    tensor = source.tensor
    one = net.constant(np.array(1, np.float32))
    options = net.options
    for i, step in enumerate(steps):
        code, inputs, made = {
            "square": ("MUL", [tensor, tensor], options.MulOptionsT()),
            "root": ("SQRT", [tensor], None),
            "times": ("MUL", [tensor, source.tensor], options.MulOptionsT()),
            "over": ("DIV", [one, tensor], options.DivOptionsT()),
        }[step]
        if i == len(steps) - 1:
            net.put(node.outputs[0], code, inputs, source.perm, made)
        else:
            tensor = net.step(code, inputs, tensor, made)


def _squares(node: ir.Node) -> bool:
    exponent = constant(node.inputs[1])
    return exponent is not None and exponent.size == 1 and exponent.item() == 2


_INTEGER = ("Exp", "Log", "Abs")

OPS = {
    **{name: Form(same) for name in _SAME},
    **{name: Form(same, integer=always) for name in _INTEGER},
    "Reciprocal": Form(reciprocal),
    "Pow": Form(power, integer=_squares, wide=_squares),
}
