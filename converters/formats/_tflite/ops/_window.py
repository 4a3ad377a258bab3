"""Windows that slide over an image: their geometry, and how TFLite pads for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.placed import Placed, channels_last
from converters.graphs import integers

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Height and width of kernel, strides and dilations; rows and columns added around."""

    size: Pair
    strides: Pair
    dilations: Pair
    begins: Pair
    ends: Pair

    @property
    def reach(self) -> Pair:
        """Rows and columns from the first to the last number that one window sees."""
        sizes = [(k - 1) * d + 1 for k, d in zip(self.size, self.dilations, strict=True)]
        return sizes[0], sizes[1]


def of_node(node: ir.Node, image: Sequence[int], size: Sequence[int]) -> Window:
    """Return the window of a Conv or pooling node over an image of that height and width.

    `size` is what the kernel has along each axis that the node knows: two, or one for a row.
    """
    strides, dilations = (both(integers(node, name, ()), 1) for name in ("strides", "dilations"))
    bare = Window(both(size, 1), strides, dilations, (0, 0), (0, 0))
    how = automatic(node)
    if how in ("SAME_UPPER", "SAME_LOWER"):
        totals = [same_padding(image[i], bare, i) for i in (0, 1)]
        less, more = _pair([t // 2 for t in totals]), _pair([t - t // 2 for t in totals])
        begins, ends = (less, more) if how == "SAME_UPPER" else (more, less)
    else:
        begins, ends = pads(node) if how == "NOTSET" else ((0, 0), (0, 0))
    return Window(bare.size, bare.strides, bare.dilations, begins, ends)


def automatic(node: ir.Node) -> str:
    """Return how a node pads by itself, NOTSET where it says its pads."""
    found = node.attributes.get("auto_pad")
    return "NOTSET" if found is None else found.as_string()


def pads(node: ir.Node) -> tuple[Pair, Pair]:
    """Return rows and columns that `node` adds before and after the image."""
    given = integers(node, "pads", (0, 0, 0, 0))
    half = len(given) // 2
    return both(given[:half], 0), both(given[half:], 0)


def image(net: Net, placed: Placed) -> Tensor:
    """Return an image, or a row (N, C, L) as one of height 1, as (N, H, W, C)."""
    tensor = net.arrange(placed, channels_last(len(placed.perm))).tensor
    if len(placed.perm) == 4:
        return tensor
    batch, length, channels = tensor.shape
    return net.reshape(tensor, (batch, 1, length, channels))


def put(net: Net, value: ir.Value, code: str, inputs: Sequence[Tensor], options: Any) -> None:
    """Add an operator on images that computes `value`, which is an image or a row."""
    rank = len(net.shape(value))
    if rank == 4:
        net.put(value, code, inputs, channels_last(4), options)
        return
    row = net.result(value, channels_last(3), inputs[0])
    batch, length, channels = row.shape
    made = net.like(row, (batch, 1, length, channels))
    net.builder.operator(code, inputs, [made], options)
    shape = net.builder.constant("shape", np.array(row.shape, np.int32))
    say = net.options.ReshapeOptionsT(newShape=list(row.shape))
    net.builder.operator("RESHAPE", [made, shape], [row], say)


def found(net: Net, value: ir.Value, made: Tensor) -> None:
    """Say that `value`, an image or a row, is an image (N, H, W, C) that was made."""
    rank = len(net.shape(value))
    row = (made.shape[0], *made.shape[2:])
    tensor = net.reshape(made, row) if rank == 3 else made
    net.alias(value, Placed(tensor, channels_last(rank)))


def same_padding(size: int, window: Window, axis: int) -> int:
    """Return what TensorFlow's SAME adds to `size` rows, half of it (rounded down) before."""
    stride = window.strides[axis]
    return max((-(-size // stride) - 1) * stride + window.reach[axis] - size, 0)


def is_same(sizes: Sequence[int], window: Window) -> bool:
    """Tell whether TFLite's SAME padding is the window's own, for an image of (H, W) `sizes`."""
    for axis in (0, 1):
        total = same_padding(sizes[axis], window, axis)
        stride, size = window.strides[axis], sizes[axis]
        given = window.begins[axis] + window.ends[axis]
        steps = (size + given - window.reach[axis]) // stride + 1
        # What is added at the end beyond the last window is never seen.
        if window.begins[axis] != total // 2 or steps != -(-size // stride):
            return False
    return True


def padded(net: Net, image: Tensor, window: Window) -> tuple[int, Tensor]:
    """Return TFLite's kind of padding, and the image (N, H, W, C), padded with zero by hand
    where TFLite has no kind for it."""
    kinds = net.options.Padding
    if not any((*window.begins, *window.ends)):
        return kinds.VALID, image
    if is_same(image.shape[1:3], window):
        return kinds.SAME, image
    return kinds.VALID, pad(net, image, window.begins, window.ends)


def pad(net: Net, image: Tensor, begins: Pair, ends: Pair, fill: Tensor | None = None) -> Tensor:
    """Add rows and columns around an image (N, H, W, C): of `fill`, or of real zero."""
    amounts = np.array([(0, 0), *zip(begins, ends, strict=True), (0, 0)], np.int32)
    shape = [size + int(sum(add)) for size, add in zip(image.shape, amounts, strict=True)]
    made = net.like(image, shape)
    paddings = net.builder.constant("pads", amounts)
    if fill is None:
        net.builder.operator("PAD", [image, paddings], [made], net.options.PadOptionsT())
    else:
        options = net.options.PadV2OptionsT()
        net.builder.operator("PADV2", [image, paddings, fill], [made], options)
    return made


def _pair(values: Sequence[int]) -> Pair:
    return int(values[0]), int(values[1])


def both(values: Sequence[int], missing: int) -> Pair:
    """Return height and width; what a row has not is `missing`."""
    return _pair(((missing,) * 2 + tuple(values))[-2:])
