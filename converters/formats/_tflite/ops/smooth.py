"""Activations that TFLite has no operator for, composed from those that it has, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._steps import Steps, real
from converters.formats._tflite.ops.base import Form
from converters.formats._tflite.refuse import refusal
from converters.quantize.grid import Grid

# The defaults of ONNX's Selu, as float32 has them.
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def hard_sigmoid(net: Net, node: ir.Node) -> None:
    """Write HardSigmoid, max(0, min(1, alpha * x + beta)), as a sixth of RELU6 of six times it."""
    steps = Steps(net, node)
    alpha, beta = real(node, "alpha", 0.2), real(node, "beta", 0.5)
    grid = net.grid(node.outputs[0])
    if grid is not None:
        _integer_hard_sigmoid(steps, alpha, beta, grid)
        return
    slope, x = float(np.float32(6 * alpha)), steps.x
    if slope != 1:
        x = steps("MUL", x, slope)
    relu6 = net.options.ActivationFunctionType.RELU6
    steps.end("MUL", steps("ADD", x, 6 * beta, fusedActivationFunction=relu6), 1 / 6)


def _integer_hard_sigmoid(steps: Steps, alpha: float, beta: float, grid: Grid) -> None:
    """Write it on integers: the product keeps them as they are, the sum saturates at the bounds."""
    net, source = steps.net, steps.x.grid
    assert source is not None
    grown = replace(source, scale=np.asarray(source.scale * np.float32(alpha), np.float32))
    product = net.temporary(steps.x.shape, grid.dtype, grown)
    factor = _number(net, alpha, grid)
    net.builder.operator("MUL", [steps.x, factor], [product], net.options.MulOptionsT())
    options = net.options.AddOptionsT(potScaleInt16=False)
    steps.end("ADD", product, _number(net, beta, grid), options=options)


def _number(net: Net, number: float, like: Grid) -> Tensor:
    """Add one number as an integer of the dtype of `like`, exactly."""
    most = np.iinfo(like.dtype).max
    scale = np.array(abs(number) / most if number else 1, np.float32)
    array = np.array(most * np.sign(number), like.dtype)
    return net.builder.constant("number", array, Grid(scale, np.zeros((), like.dtype)))


def selu(net: Net, node: ir.Node) -> None:
    """Write Selu, gamma * (x if x > 0 else alpha * (exp(x) - 1))."""
    steps = Steps(net, node)
    alpha, gamma = real(node, "alpha", SELU_ALPHA), real(node, "gamma", SELU_GAMMA)
    steps.end("MUL", steps("LEAKY_RELU", steps("ELU", steps.x), alpha=alpha), gamma)


def celu(net: Net, node: ir.Node) -> None:
    """Write Celu, x if x > 0 else alpha * (exp(x / alpha) - 1)."""
    steps, alpha = Steps(net, node), real(node, "alpha", 1.0)
    if alpha <= 0:
        raise refusal(node, "Celu is written for an alpha above 0 only")
    if alpha == 1:
        steps.end("ELU")
    else:
        steps.end("MUL", steps("ELU", steps("DIV", steps.x, alpha)), alpha)


def softplus(net: Net, node: ir.Node) -> None:
    """Write Softplus, log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|)): nothing overflows."""
    steps = Steps(net, node)
    small = steps("EXP", steps("NEG", steps("ABS", steps.x)))
    steps.end("ADD", steps("RELU", steps.x), steps("LOG", steps("ADD", small, 1.0)))


def softsign(net: Net, node: ir.Node) -> None:
    """Write Softsign, x / (1 + |x|)."""
    steps = Steps(net, node)
    steps.end("DIV", steps.x, steps("ADD", steps("ABS", steps.x), 1.0))


def mish(net: Net, node: ir.Node) -> None:
    """Write Mish, x * tanh(log(1 + e)) with e = exp(x), as x * n / (n + 2) with n = e * (e + 2).

    From x = 20 on, where e is held, n / (n + 2) is 1 in float32.
    """
    steps = Steps(net, node)
    e = steps("EXP", steps("MINIMUM", steps.x, 20.0))
    n = steps("MUL", e, steps("ADD", e, 2.0))
    steps.end("MUL", steps.x, steps("DIV", n, steps("ADD", n, 2.0)))


def _unsigned_slope(node: ir.Node) -> bool:
    return real(node, "alpha", 0.2) > 0


OPS = {
    "HardSigmoid": Form(hard_sigmoid, integer=_unsigned_slope),
    "Selu": Form(selu),
    "Celu": Form(celu),
    "Softplus": Form(softplus),
    "Softsign": Form(softsign),
    "Mish": Form(mish),
}
