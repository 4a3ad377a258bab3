"""Transposed convolutions: each number of the input paints its kernel into the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops import _window
from converters.formats._tflite.ops._window import Pair
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.ops.conv import addends, bias, in_two_dimensions
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer, integers, name_of


@dataclass(frozen=True)
class _Painting:
    """Strides; what `pads` cut from the whole picture before; height and width that are left."""

    strides: Pair
    begins: Pair
    size: Pair


def conv_transpose(net: Net, node: ir.Node) -> None:
    """Write ConvTranspose as TRANSPOSE_CONV, one for each group.

    Where a group is one channel, zeros are put between the numbers of the input instead, and a
    DEPTHWISE_CONV_2D with the turned kernels goes over it.
    """
    weight = net.known(node, 1)
    if weight is None:
        raise refusal(node, "ConvTranspose is written with constant weights only")
    if weight.array.ndim > 4:
        raise refusal(node, "ConvTranspose is written in one or two dimensions only")
    image = _window.image(net, net.read(node))
    weight = _dilated(in_two_dimensions(weight), _window.both(integers(node, "dilations", ()), 1))
    painting = _painting(net, node, image.shape, weight.array.shape)
    groups = integer(node, "group", 1)
    depthwise = groups > 1 and groups == image.shape[3]
    make = _whole if groups == 1 else _depthwise if depthwise else _grouped
    made = make(net, node, image, weight, painting)
    _window.found(net, node.outputs[0], made)


def _painting(net: Net, node: ir.Node, image: Sequence[int], weight: Sequence[int]) -> _Painting:
    """Return the geometry for an image of shape (N, H, W, C) and a kernel (.., .., h, w)."""
    strides = _window.both(integers(node, "strides", ()), 1)
    more = _window.both(integers(node, "output_padding", ()), 0)
    size = _window.both(net.shape(node.outputs[0])[2:], 1)
    how = _window.automatic(node)
    if how in ("NOTSET", "VALID") and "output_shape" not in node.attributes:
        begins = _window.pads(node)[0] if how == "NOTSET" else (0, 0)
        return _Painting(strides, begins, size)
    cut = [
        max((image[1 + i] - 1) * strides[i] + weight[2 + i] + more[i] - size[i], 0) for i in (0, 1)
    ]
    upper = how == "SAME_UPPER"
    first, second = (total // 2 if upper else total - total // 2 for total in cut)
    return _Painting(strides, (first, second), size)


def _whole(net: Net, node: ir.Node, image: Tensor, weight: Constant, say: _Painting) -> Tensor:
    filters = net.constant(weight.transpose((1, 2, 3, 0)), name_of(node.inputs[1]))
    inputs = [image, filters]
    if net.known(node, 2) is not None:
        inputs.append(bias(net, node, image, filters))
    return _transpose_conv(net, node, inputs, say)


def _grouped(net: Net, node: ir.Node, image: Tensor, weight: Constant, say: _Painting) -> Tensor:
    """Split the channels, compute every group, and put the results side by side."""
    groups = integer(node, "group", 1)
    depth = image.shape[3] // groups
    part = (*image.shape[:3], depth)
    images = [net.like(image, part) for _ in range(groups)]
    axis = net.builder.constant("axis", np.array(3, np.int32))
    split = net.options.SplitOptionsT(numSplits=groups)
    net.builder.operator("SPLIT", [axis, image], images, split)
    given = net.known(node, 2)
    results = []
    for i, each in enumerate(images):
        rows = replace(weight, array=weight.array[i * depth : (i + 1) * depth])
        filters = net.constant(rows.transpose((1, 2, 3, 0)), f"{node.name}/group_{i}")
        inputs = [each, filters]
        if given is not None:
            inputs.append(addends(net, node, _share(given, i, groups), (each, filters)))
        results.append(_transpose_conv(net, node, inputs, say))
    shape = (*results[0].shape[:3], sum(one.shape[3] for one in results))
    joined = net.like(results[0], shape)
    options = net.options.ConcatenationOptionsT(axis=3)
    net.builder.operator("CONCATENATION", results, [joined], options)
    return joined


def _share(given: Constant, index: int, groups: int) -> Constant:
    """Return the part of a bias that belongs to one group."""
    count = len(given.array) // groups
    part = slice(index * count, (index + 1) * count)
    grid = given.grid
    if grid is not None and grid.axis is not None:
        grid = replace(grid, scale=grid.scale[part], zero_point=grid.zero_point[part])
    return Constant(given.array[part], grid)


def _depthwise(net: Net, node: ir.Node, image: Tensor, weight: Constant, say: _Painting) -> Tensor:
    """Put zeros between the numbers, and the turned kernels over them."""
    height, width = weight.array.shape[2:]
    filters = net.constant(_turned(weight), name_of(node.inputs[1]))
    sparse = _spread(net, image, say.strides)
    reach = (height - 1, width - 1)
    before = [r - b for r, b in zip(reach, say.begins, strict=True)]
    after = [say.size[i] - sparse.shape[1 + i] - before[i] + reach[i] for i in (0, 1)]
    begins, ends = ((max(x[0], 0), max(x[1], 0)) for x in (before, after))
    start = (max(-before[0], 0), max(-before[1], 0))
    left = [sparse.shape[1 + i] - start[i] - max(-after[i], 0) for i in (0, 1)]
    sparse = _crop(net, sparse, start, left)
    window = _window.Window((height, width), (1, 1), (1, 1), begins, ends)
    padding, tensor = _window.padded(net, sparse, window)
    made = _blank(net, node, (image.shape[0], *say.size, filters.shape[3]))
    options = net.options.DepthwiseConv2DOptionsT(
        padding=padding, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1,
        depthMultiplier=filters.shape[3] // image.shape[3],
    )  # fmt: skip
    inputs = [tensor, filters, bias(net, node, tensor, filters)]
    net.builder.operator("DEPTHWISE_CONV_2D", inputs, [made], options)
    return made


def _turned(weight: Constant) -> Constant:
    """Return kernels (C, m, h, w) turned by half a circle, as (1, h, w, C * m)."""
    channels, multiplier, height, width = weight.array.shape
    array = weight.array[:, :, ::-1, ::-1].reshape(channels * multiplier, 1, height, width)
    grid = weight.grid
    if grid is not None and grid.axis is not None:
        steps, zeros = (np.repeat(x, multiplier) for x in (grid.scale, grid.zero_point))
        grid = replace(grid, scale=steps, zero_point=zeros)
    return Constant(array, grid).transpose((1, 2, 3, 0))


def _spread(net: Net, image: Tensor, strides: Pair) -> Tensor:
    """Put zeros behind each number, so that they are `strides` apart."""
    if strides == (1, 1):
        return image
    batch, height, width, channels = image.shape
    # A column of zeros behind a number is `channels` more numbers behind its last channel.
    rows = net.reshape(image, (batch * height, 1, width, channels))
    amounts = [(0, 0), (0, strides[0] - 1), (0, 0), (0, (strides[1] - 1) * channels)]
    made = net.like(rows, (batch * height, strides[0], width, strides[1] * channels))
    paddings = net.builder.constant("pads", np.array(amounts, np.int32))
    net.builder.operator("PAD", [rows, paddings], [made], net.options.PadOptionsT())
    return net.reshape(made, (batch, height * strides[0], width * strides[1], channels))


def _transpose_conv(net: Net, node: ir.Node, inputs: Sequence[Tensor], say: _Painting) -> Tensor:
    """Add TRANSPOSE_CONV of image, filters and perhaps bias, and cut what it painted too much."""
    image, filters, *more = inputs
    kinds = net.options.Padding
    whole = [(image.shape[1 + i] - 1) * say.strides[i] + filters.shape[1 + i] for i in (0, 1)]
    same = all(
        -(-say.size[i] // say.strides[i]) == image.shape[1 + i]
        and max(whole[i] - say.size[i], 0) // 2 == say.begins[i]
        for i in (0, 1)
    )
    size = [max(whole[i], say.begins[i] + say.size[i]) for i in (0, 1)]
    shape = (image.shape[0], *(say.size if same else size), filters.shape[0])
    made = _blank(net, node, shape)
    options = net.options.TransposeConvOptionsT(
        padding=kinds.SAME if same else kinds.VALID, strideH=say.strides[0], strideW=say.strides[1]
    )
    target = net.builder.constant("shape", np.array(shape, np.int32))
    net.builder.operator("TRANSPOSE_CONV", [target, filters, image, *more], [made], options)
    return made if same else _crop(net, made, say.begins, say.size)


def _crop(net: Net, image: Tensor, begins: Sequence[int], size: Sequence[int]) -> Tensor:
    """Return a part of an image (N, H, W, C)."""
    shape = (image.shape[0], *size, image.shape[3])
    if shape == image.shape:
        return image
    made = net.like(image, shape)
    begin = net.builder.constant("begin", np.array((0, *begins, 0), np.int32))
    sizes = net.builder.constant("shape", np.array(shape, np.int32))
    net.builder.operator("SLICE", [image, begin, sizes], [made], net.options.SliceOptionsT())
    return made


def _blank(net: Net, node: ir.Node, shape: Sequence[int]) -> Tensor:
    """Add a tensor for numbers on the way to the result of `node`, on the result's grid."""
    grid = net.grid(node.outputs[0])
    return net.temporary(shape, np.dtype(np.float32) if grid is None else grid.dtype, grid)


def _dilated(weight: Constant, dilations: Pair) -> Constant:
    """Return kernels with zeros between their numbers: the same sums."""
    if dilations == (1, 1):
        return weight
    *first, height, width = weight.array.shape
    size = [(n - 1) * d + 1 for n, d in zip((height, width), dilations, strict=True)]
    array = np.zeros((*first, *size), weight.array.dtype)
    array[:, :, :: dilations[0], :: dilations[1]] = weight.array
    return replace(weight, array=array)


OPS = {"ConvTranspose": Form(conv_transpose, integer=always, wide=always)}
