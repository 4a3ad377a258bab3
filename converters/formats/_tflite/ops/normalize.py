"""Normalisations that could not be folded, composed in float in the layout they find.

Variances are taken in two passes, of what is left when the mean is taken out: a difference of two
large sums would lose every digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import constant_operand
from converters.formats._tflite.ops._float import Float
from converters.formats._tflite.ops.base import Form
from converters.formats._tflite.placed import Placed, channels_last
from converters.formats._tflite.refuse import refusal
from converters.graphs import Array, integer, integers


def batch_norm(net: Net, node: ir.Node) -> None:
    """Write BatchNormalization as MUL and ADD of what its four constants come to."""
    if integer(node, "training_mode", 0):
        raise refusal(node, "BatchNormalization is written with training_mode=0 only")
    scale, shift, mean, variance = (_numbers(net, node, i) for i in (1, 2, 3, 4))
    factor = scale / np.sqrt(variance + _real(node, "epsilon", 1e-5))
    _scaled(net, node, net.read(node), (factor, shift - mean * factor))


def instance_norm(net: Net, node: ir.Node) -> None:
    """Write InstanceNormalization: each channel over its own image."""
    source = net.read(node)
    axes = [k for k, axis in enumerate(source.perm) if axis > 1]
    made = _whitened(Float(net), source.tensor, axes, _real(node, "epsilon", 1e-5))
    scale, shift = (_numbers(net, node, i) for i in (1, 2))
    _scaled(net, node, replace(source, tensor=made), (scale, shift))


def group_norm(net: Net, node: ir.Node) -> None:
    """Write GroupNormalization of opset 21 (scales per channel) or 18 (per group)."""
    source = net.read(node)
    shape, groups = source.shape, integer(node, "num_groups", 1)
    channel = source.axis(1)
    split = source.tensor.shape
    inner = (*split[:channel], groups, shape[1] // groups, *split[channel + 1 :])
    axes = [k for k in range(len(inner)) if k not in (source.axis(0), channel)]
    grouped = net.reshape(source.tensor, inner)
    made = _whitened(Float(net), grouped, axes, _real(node, "epsilon", 1e-5))
    made = net.reshape(made, split)
    scale, shift = (_numbers(net, node, i) for i in (1, 2))
    if len(scale) != shape[1]:
        scale, shift = (np.repeat(x, shape[1] // groups) for x in (scale, shift))
    _scaled(net, node, replace(source, tensor=made), (scale, shift))


def layer_norm(net: Net, node: ir.Node) -> None:
    """Write LayerNormalization over the last axes, those from `axis` on."""
    if any(value.name for value in node.outputs[1:]):
        raise refusal(node, "LayerNormalization is written without Mean and InvStdDev only")
    source = net.read(node)
    rank = len(source.perm)
    first = integer(node, "axis", -1) % rank
    f = Float(net)
    axes = [k for k, axis in enumerate(source.perm) if axis >= first]
    made = _whitened(f, source.tensor, axes, _real(node, "epsilon", 1e-5))
    for index, code in ((1, "MUL"), (2, "ADD")):
        if len(node.inputs) > index and node.inputs[index] is not None:
            made = f(code, made, _operand(net, node, index, source))
    net.alias(node.outputs[0], Placed(made, source.perm))


def mean_variance(net: Net, node: ir.Node) -> None:
    """Write MeanVarianceNormalization, by ONNX's own definition: E[x^2] - E[x]^2 and 1e-9."""
    source = net.read(node)
    axes = {axis % len(source.perm) for axis in integers(node, "axes", (0, 2, 3))}
    places = [k for k, axis in enumerate(source.perm) if axis in axes]
    f = Float(net)
    left = f("SUB", source.tensor, f.reduce("MEAN", source.tensor, places))
    deviation = f("SQRT", f.reduce("MEAN", f("MUL", left, left), places))
    net.alias(node.outputs[0], Placed(f("DIV", left, f("ADD", deviation, 1e-9)), source.perm))


def lp_norm(net: Net, node: ir.Node) -> None:
    """Write LpNormalization: x over the sum of magnitudes, or the length, along one axis."""
    source = net.read(node)
    places = [source.axis(integer(node, "axis", -1))]
    f, x = Float(net), source.tensor
    if integer(node, "p", 2) == 1:
        length = f.reduce("SUM", f("ABS", x), places)
    else:
        length = f("SQRT", f.reduce("SUM", f("MUL", x, x), places))
    # Nothing over nothing is nothing, as onnxruntime has it.
    length = f("MAXIMUM", length, float(np.finfo(np.float32).tiny))
    net.alias(node.outputs[0], Placed(f("DIV", x, length), source.perm))


def local_response(net: Net, node: ir.Node) -> None:
    """Write LRN: as LOCAL_RESPONSE_NORMALIZATION, over channels that lie last."""
    size = integer(node, "size", 1)
    source = net.read(node)
    if len(source.perm) != 4:
        raise refusal(node, "LRN is written in two dimensions only")
    source = net.arrange(source, channels_last(4))
    options = net.options.LocalResponseNormalizationOptionsT(
        radius=size // 2,
        bias=_real(node, "bias", 1.0),
        alpha=_real(node, "alpha", 1e-4) / size,
        beta=_real(node, "beta", 0.75),
    )
    code = "LOCAL_RESPONSE_NORMALIZATION"
    net.put(node.outputs[0], code, [source.tensor], source.perm, options)


def _whitened(f: Float, x: Tensor, axes: Sequence[int], epsilon: float) -> Tensor:
    """Return x less its mean, over its standard deviation, along axes of the tensor."""
    left = f("SUB", x, f.reduce("MEAN", x, axes))
    variance = f.reduce("MEAN", f("MUL", left, left), axes)
    return f("MUL", left, f("RSQRT", f("ADD", variance, epsilon)))


def _scaled(net: Net, node: ir.Node, source: Placed, numbers: tuple[Array, Array]) -> None:
    """Write x * scale + shift, with one number per channel (axis 1)."""
    made, f, rank = source.tensor, Float(net), len(source.perm)
    for code, array in zip(("MUL", "ADD"), numbers, strict=True):
        column = Constant(np.asarray(array, np.float32).reshape(-1, *[1] * (rank - 2)))
        made = f(code, made, constant_operand(net, column, source.perm, f"{node.name}/{code}"))
    net.alias(node.outputs[0], Placed(made, source.perm))


def _operand(net: Net, node: ir.Node, index: int, source: Placed) -> Tensor:
    """Return the scale or shift of a layer norm in the layout of what it normalizes."""
    constant = net.known(node, index)
    if constant is None:
        raise refusal(node, f"{node.op_type} is written with constant scale and shift only")
    return constant_operand(net, constant, source.perm, f"{node.name}/{index}")


def _numbers(
    net: Net, node: ir.Node, index: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    constant = net.known(node, index)
    if constant is None:
        raise refusal(node, f"{node.op_type} is written with constant scale and shift only")
    return constant.real.astype(np.float64)


def _real(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default


OPS = {
    "BatchNormalization": Form(batch_norm),
    "InstanceNormalization": Form(instance_norm),
    "GroupNormalization": Form(group_norm),
    "LayerNormalization": Form(layer_norm),
    "MeanVarianceNormalization": Form(mean_variance),
    "LpNormalization": Form(lp_norm),
    "LRN": Form(local_response),
}
