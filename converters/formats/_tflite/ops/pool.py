"""Pooling: over windows, and over the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops import _window
from converters.formats._tflite.ops._window import Pair, Window
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer, integers, shape_of

_GLOBAL = {"GlobalAveragePool": "MEAN", "GlobalMaxPool": "REDUCE_MAX"}


def whole_image(net: Net, node: ir.Node) -> None:
    """Write pooling over the whole image as a reduction, in any layout."""
    source = net.read(node)
    axes = [k for k, axis in enumerate(source.perm) if axis > 1]
    inputs = [source.tensor, net.builder.constant("axes", np.array(axes, np.int32))]
    options = net.options.ReducerOptionsT(keepDims=True)
    net.put(node.outputs[0], _GLOBAL[node.op_type], inputs, source.perm, options)


def max_pool(net: Net, node: ir.Node) -> None:
    """Write MaxPool as MAX_POOL_2D, after PADV2 with the lowest number where SAME is not meant.

    With dilations it is the MAXIMUM of slices.
    """
    _check(net, node)
    if len(node.outputs) > 1 and node.outputs[1].name:
        raise refusal(node, "MaxPool is written without its second output, Indices, only")
    image = _window.image(net, net.read(node))
    window = _window_of(node, image.shape[1:3], _window.both(net.shape(node.outputs[0])[2:], 1))
    same = window.dilations == (1, 1) and _window.is_same(image.shape[1:3], window)
    if any((*window.begins, *window.ends)) and not same:
        grid = image.grid
        lowest = np.finfo(np.float32).min if grid is None else np.iinfo(grid.dtype).min
        fill = net.builder.constant("lowest", np.array(lowest, image.dtype), grid)
        image = _window.pad(net, image, window.begins, window.ends, fill)
    if window.dilations == (1, 1):
        options = _options(net, window, same)
        _window.put(net, node.outputs[0], "MAX_POOL_2D", [image], options)
    else:
        _dilated(net, node, image, window)


def _check(net: Net, node: ir.Node) -> None:
    if len(net.shape(node.inputs[0])) not in (3, 4):
        raise refusal(node, f"{node.op_type} is written in one or two dimensions only")


def _window_of(node: ir.Node, image: Sequence[int], result: Pair) -> Window:
    """Return the window, whose `ends` go as far as the last one of it reaches (ceil_mode)."""
    window = _window.of_node(node, image, integers(node, "kernel_shape", ()))
    ends = [
        max((result[i] - 1) * window.strides[i] + window.reach[i] - image[i] - window.begins[i], 0)
        for i in (0, 1)
    ]
    return replace(window, ends=(ends[0], ends[1]))


def _options(net: Net, window: Window, same: bool) -> Any:
    kinds = net.options.Padding
    return net.options.Pool2DOptionsT(
        padding=kinds.SAME if same else kinds.VALID,
        strideH=window.strides[0], strideW=window.strides[1],
        filterHeight=window.size[0], filterWidth=window.size[1],
    )  # fmt: skip


def _dilated(net: Net, node: ir.Node, image: Tensor, window: Window) -> None:
    """Write the largest of rows, then of columns, that lie `dilations` apart."""
    value = node.outputs[0]
    result = _window.both(net.shape(value)[2:], 1)
    for axis in (0, 1):
        parts = [
            _every(net, image, axis, window, (i, result[axis])) for i in range(window.size[axis])
        ]
        image = parts[0]
        for part in parts[1:]:
            options = net.options.MaximumMinimumOptionsT()
            image = net.step("MAXIMUM", [image, part], image, options)
    _window.found(net, value, image)


def _every(net: Net, image: Tensor, axis: int, window: Window, part: Pair) -> Tensor:
    """Return the rows (or columns) that place `part[0]` of `part[1]` windows sees."""
    place, count = part
    stride = window.strides[axis]
    begin, strides, shape = [0] * 4, [1] * 4, list(image.shape)
    begin[1 + axis], strides[1 + axis], shape[1 + axis] = (
        place * window.dilations[axis], stride, count,
    )  # fmt: skip
    end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, shape, strides, strict=True)]
    made = net.like(image, shape)
    numbers = [net.builder.constant("slice", np.array(x, np.int32)) for x in (begin, end, strides)]
    options = net.options.StridedSliceOptionsT()
    net.builder.operator("STRIDED_SLICE", [image, *numbers], [made], options)
    return made


def average_pool(net: Net, node: ir.Node) -> None:
    """Write AveragePool as AVERAGE_POOL_2D, which leaves SAME padding out of the count.

    After PAD it counts what was added; MUL puts right the places where that is not meant.
    """
    _check(net, node)
    if max(integers(node, "dilations", (1,))) > 1:
        raise refusal(node, "AveragePool is written without dilations only")
    image = _window.image(net, net.read(node))
    sizes = (image.shape[1], image.shape[2])
    result = _window.both(net.shape(node.outputs[0])[2:], 1)
    window, same, factors = _average(node, sizes, result)
    if not same and any((*window.begins, *window.ends)):
        image = _window.pad(net, image, window.begins, window.ends)
    value, options = node.outputs[0], _options(net, window, same)
    if factors is None:
        _window.put(net, value, "AVERAGE_POOL_2D", [image], options)
        return
    made = net.like(image, (image.shape[0], *result, image.shape[3]))
    net.builder.operator("AVERAGE_POOL_2D", [image], [made], options)
    counts = net.builder.constant("counts", factors)
    _window.put(net, value, "MUL", [made, counts], net.options.MulOptionsT())


def _average(
    node: ir.Node, image: Pair, result: Pair
) -> tuple[Window, bool, NDArray[np.float32] | None]:
    """Return the window, whether SAME does it, and what each mean is then to be multiplied by."""
    given = _window.of_node(node, image, integers(node, "kernel_shape", ()))
    window = _window_of(node, image, result)
    # Without pads there is nothing to include: what ceil_mode reaches beyond never counts.
    included = bool(integer(node, "count_include_pad", 0)) and any((*given.begins, *given.ends))
    padded = any((*window.begins, *window.ends))
    if padded and not included and _window.is_same(image, window):
        return window, True, None
    rows = []
    for i in (0, 1):
        starts = np.arange(result[i]) * window.strides[i] - window.begins[i]
        first, last = (-given.begins[i], image[i] + given.ends[i]) if included else (0, image[i])
        seen = np.minimum(starts + window.size[i], last) - np.maximum(starts, first)
        rows.append(window.size[i] / seen)
    factors = np.outer(*rows)[:, :, None].astype(np.float32)
    return window, False, None if (factors == 1).all() else factors


def _plain_average(node: ir.Node) -> bool:
    """Tell whether the mean of each window is one of a kind that AVERAGE_POOL_2D counts."""
    source, value = node.inputs[0], node.outputs[0]
    if source is None or len(shape_of(source)) not in (3, 4) or not shape_of(value):
        return False
    image, result = (_window.both(shape_of(v)[2:], 1) for v in (source, value))
    return max(integers(node, "dilations", (1,))) == 1 and _average(node, image, result)[2] is None


OPS = {
    "GlobalAveragePool": Form(whole_image, integer=always, wide=always),
    "GlobalMaxPool": Form(whole_image, integer=always, wide=always, keeps=True),
    "MaxPool": Form(max_pool, integer=always, wide=always, keeps=True),
    "AveragePool": Form(average_pool, integer=_plain_average, wide=_plain_average, keeps=True),
}
