"""Convolutions: normal, depthwise, grouped, dilated, with any padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops import _window
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import constant, integer, integers, name_of


def conv(net: Net, node: ir.Node) -> None:
    """Write Conv as CONV_2D, or DEPTHWISE_CONV_2D where every channel has its own filters."""
    weight = net.known(node, 1)
    if weight is None:
        raise refusal(node, "Conv is written with constant weights only")
    if weight.array.ndim > 4:
        raise refusal(node, "Conv is written in one or two dimensions only")
    placed, weight = _source(net, node, weight)
    anywhere = _pointwise(node, placed, weight)
    source = placed.tensor if anywhere else _window.image(net, placed)
    weight = in_two_dimensions(weight)
    groups = integer(node, "group", 1)
    window = _window.of_node(node, source.shape[1:3], weight.array.shape[2:])
    padding, tensor = _window.padded(net, source, window)
    act, value = net.activation(node)
    common = {"padding": padding, "fusedActivationFunction": act, **_steps_of(window)}
    multiplier = len(weight.array) // groups
    if groups > 1 and groups == source.shape[3]:
        code, perm = "DEPTHWISE_CONV_2D", (1, 2, 3, 0)
        options = net.options.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **common)
    else:
        code, perm = "CONV_2D", (0, 2, 3, 1)
        options = net.options.Conv2DOptionsT(**common)
    filters = net.constant(weight.transpose(perm), name_of(node.inputs[1]))
    inputs = [tensor, filters, bias(net, node, tensor, filters)]
    if anywhere:
        net.put(value, code, inputs, placed.perm, options)
    else:
        _window.put(net, value, code, inputs, options)


def _pointwise(node: ir.Node, placed: Placed, weight: Constant) -> bool:
    """Tell whether one pixel makes one, so that pixels may lie in any order, channels last."""
    ones = (*weight.array.shape[2:], *integers(node, "strides", ()), integer(node, "group", 1))
    plain = all(size == 1 for size in ones) and not any(integers(node, "pads", ()))
    return plain and len(placed.perm) == 4 and placed.perm[-1] == 1


def _source(net: Net, node: ir.Node, weight: Constant) -> tuple[Placed, Constant]:
    """Return the image as it lies, and the weights in the order of its channels."""
    source = net.read_loose(node)
    if source.order is not None:
        axis, indices = source.order
        if axis == 1 and integer(node, "group", 1) == 1:
            weight = replace(weight, array=weight.array[:, indices])
            source = replace(source, order=None)
        else:
            source = net.settle(source)
    return source, weight


def in_two_dimensions(weight: Constant) -> Constant:
    """Return weights (.., .., k) as (.., .., 1, k), others as they are."""
    first, second, *size = weight.array.shape
    axis = None if weight.grid is None else weight.grid.axis
    return weight if len(size) == 2 else weight.reshape((first, second, 1, *size), axis)


def _steps_of(window: _window.Window) -> dict[str, int]:
    names = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")
    return dict(zip(names, (*window.strides, *window.dilations), strict=True))


def bias(net: Net, node: ir.Node, source: Tensor, weight: Tensor) -> Tensor:
    """Return the bias of a weighted node, zeros where it has none."""
    given = net.known(node, 2)
    channels = net.shape(node.outputs[0])[1]
    return addends(net, node, channels if given is None else given, (source, weight))


def addends(
    net: Net, node: ir.Node, given: Constant | int, factors: tuple[Tensor, Tensor]
) -> Tensor:
    """Return what is added to sums of products of `factors`: numbers, or that many zeros.

    For integers it is int32 in steps of (input step x weight step), int64 beside int16.
    """
    source, weight = factors
    if isinstance(given, int):
        given = Constant(np.zeros(given, np.float32))
        if net.integer:
            given = _steps(given, source, weight)
    if given.grid is not None and source.dtype == np.int16:
        zero = given.grid.zero_point.astype(np.int64)
        given = Constant(given.array.astype(np.int64), replace(given.grid, zero_point=zero))
    return net.constant(given, f"{node.name}/bias")


def _steps(given: Constant, source: Tensor, weight: Tensor) -> Constant:
    assert source.grid is not None and weight.grid is not None
    scale = np.ravel(source.grid.scale * weight.grid.scale).astype(np.float32)
    grid = replace(weight.grid, scale=scale, zero_point=np.zeros(len(scale), np.int32), axis=0)
    return Constant(given.array.astype(np.int32), grid)


def _mixes(node: ir.Node) -> bool:
    """Tell whether channels are mixed: beside float, LiteRT has no fast kernel for int8 filters of
    one channel each, which are few anyway."""
    weight = constant(node.inputs[1])
    return weight is not None and weight.shape[1] > 1


OPS = {"Conv": Form(conv, integer=always, wide=always, dynamic=_mixes)}
