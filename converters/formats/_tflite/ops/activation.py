"""Activations that TFLite has, perhaps under another name: one number in, one number out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant, known
from converters.formats._tflite.net import Net, fusible
from converters.formats._tflite.ops._broadcast import operands
from converters.formats._tflite.ops._steps import Steps, real
from converters.formats._tflite.ops.base import Form, always, never
from converters.formats._tflite.refuse import refusal
from converters.quantize.grid import Grid

# ONNX's op -> TFLite's operator, where they are the same function.
_SAME = {"Sigmoid": "LOGISTIC", "Tanh": "TANH", "HardSwish": "HARD_SWISH"}


def same(net: Net, node: ir.Node) -> None:
    """Write an activation that TFLite has."""
    Steps(net, node).end(_SAME[node.op_type])


def bounded(net: Net, node: ir.Node) -> None:
    """Write Relu and Clip: as RELU, RELU6 or their like, else as MAXIMUM and MINIMUM."""
    bounds = _bounds(node)
    if any(value is not None and known(value) is None for value in node.inputs[1:]):
        raise refusal(node, "Clip is written with constant bounds only")
    steps, grid = Steps(net, node), net.grid(node.outputs[0])
    name = _one_operator(node)
    clamps = name in ("RELU", "RELU6")  # the others have no kernel on int16
    if grid is not None and (grid.low == 0 or not clamps):
        _limit(steps, net.on_grid(steps.x, grid), _inside(net, bounds, grid))
    elif name is not None and (grid is not None or steps.x.dtype == np.float32):
        steps.end(name)
    else:
        dtype = steps.x.dtype
        limits = [None if b is None else net.constant(b.real.reshape(())) for b in bounds]
        if str(dtype) not in ("float32", "int32", "int64"):
            raise refusal(node, f"{node.op_type} of {dtype} has no kernel in LiteRT")
        _limit(steps, steps.x, limits)


def _one_operator(node: ir.Node) -> str | None:
    low, high = (None if bound is None else float(bound.real) for bound in _bounds(node))
    return "RELU_0_TO_1" if (low, high) == (0, 1) else fusible(node)


def _bounds(node: ir.Node) -> list[Constant | None]:
    """Return the lower and the upper bound."""
    if node.op_type == "Relu":
        value = node.inputs[0]
        dtype = np.float32 if value is None or value.dtype is None else value.dtype.numpy()
        return [Constant(np.zeros((), dtype)), None]
    return [*(known(value) for value in node.inputs[1:3]), None, None][:2]


def _inside(net: Net, bounds: list[Constant | None], grid: Grid) -> list[Tensor | None]:
    """Return as integers the bounds that the ends of `grid` do not keep by themselves."""
    info = np.iinfo(grid.dtype)
    limits: list[Tensor | None] = []
    for bound, end in zip(bounds, (info.min, info.max), strict=True):
        limits.append(None)
        if bound is not None:
            array = grid.quantize(bound.real.astype(np.float32).reshape(()))
            if array != end:
                limits[-1] = net.builder.constant("bound", array, grid)
    return limits


def _limit(steps: Steps, tensor: Tensor, limits: list[Tensor | None]) -> None:
    """Write MAXIMUM with the first of `limits` and MINIMUM with the second, where they are."""
    codes = [(c, t) for c, t in zip(("MAXIMUM", "MINIMUM"), limits, strict=True) if t is not None]
    for code, limit in codes[:-1]:
        tensor = steps.net.step(code, [tensor, limit], tensor, steps.options(code))
    if codes:
        steps.end(codes[-1][0], tensor, codes[-1][1])
    else:
        steps.net.alias(steps.node.outputs[0], replace(steps.source, tensor=tensor))


def leaky(net: Net, node: ir.Node) -> None:
    """Write LeakyRelu."""
    _leaky(Steps(net, node), real(node, "alpha", 0.01))


def _leaky(steps: Steps, alpha: float) -> None:
    options = steps.net.options.LeakyReluOptionsT(alpha=alpha)
    steps.end("LEAKY_RELU", steps.x, options=options)


def parametric(net: Net, node: ir.Node) -> None:
    """Write PRelu, or LEAKY_RELU where one slope serves all."""
    slope = net.known(node, 1)
    if slope is not None and slope.array.size == 1:
        _leaky(Steps(net, node), float(slope.real.item()))
        return
    tensors, perm = operands(net, node)
    net.put(node.outputs[0], "PRELU", tensors, perm)


def elu(net: Net, node: ir.Node) -> None:
    """Write Elu; what is below zero is scaled by LEAKY_RELU where alpha is not 1."""
    steps, alpha = Steps(net, node), real(node, "alpha", 1.0)
    if alpha == 1:
        steps.end("ELU")
        return
    steps.x = steps("ELU", steps.x)
    _leaky(steps, alpha)


def gelu(net: Net, node: ir.Node) -> None:
    """Write Gelu, exact or by its approximation with tanh."""
    how = node.attributes.get("approximate")
    approximate = how is not None and how.as_string() == "tanh"
    options = net.options.GeluOptionsT(approximate=approximate)
    steps = Steps(net, node)
    steps.end("GELU", steps.x, options=options)


def thresholded(net: Net, node: ir.Node) -> None:
    """Write ThresholdedRelu: the number where it is larger than alpha, else 0."""
    steps = Steps(net, node)
    chosen = net.temporary(steps.x.shape, np.dtype(bool))
    alpha = net.constant(np.array(real(node, "alpha", 1.0), np.float32))
    net.builder.operator("GREATER", [steps.x, alpha], [chosen], net.options.GreaterOptionsT())
    zero = net.constant(np.zeros((), np.float32))
    net.put(
        node.outputs[0], "SELECT_V2", [chosen, steps.x, zero], steps.source.perm,
        net.options.SelectV2OptionsT(),
    )  # fmt: skip


def _plain_elu(node: ir.Node) -> bool:
    return real(node, "alpha", 1.0) == 1


def _constant_slope(node: ir.Node) -> bool:
    return known(node.inputs[1]) is not None


def _one_slope(node: ir.Node) -> bool:
    slope = known(node.inputs[1])
    return slope is not None and slope.array.size == 1


_PROBABILITY = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}
_SIGNED_UNIT = {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)}

OPS = {
    "Relu": Form(bounded, integer=always, wide=always),
    "Clip": Form(bounded, integer=always, wide=always),
    "Sigmoid": Form(same, integer=always, wide=always, fixed=_PROBABILITY),
    "Tanh": Form(same, integer=always, wide=always, fixed=_SIGNED_UNIT),
    "HardSwish": Form(same, integer=always),
    "LeakyRelu": Form(leaky, integer=always, wide=always),
    "PRelu": Form(parametric, integer=_constant_slope, wide=_one_slope),
    "Elu": Form(elu, integer=_plain_elu, wide=never),
    "Gelu": Form(gelu, integer=always),
    "ThresholdedRelu": Form(thresholded),
}
