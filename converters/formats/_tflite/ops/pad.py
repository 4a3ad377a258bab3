"""Numbers added around a tensor, or cut off it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._pick import cut, pick
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import Array


def pad(net: Net, node: ir.Node) -> None:
    """Write Pad of any mode; negative amounts cut off."""
    amounts = _amounts(net, node)
    source = net.read_loose(node)
    runs = {
        axis: range(max(0, -before), size - max(0, -after))
        for axis, (size, (before, after)) in enumerate(zip(source.shape, amounts, strict=True))
    }
    changed = {axis: run for axis, run in runs.items() if (amounts[axis] < 0).any()}
    if not all(changed.values()):
        raise refusal(node, "Pad leaves nothing of what it reads")
    source = cut(net, source, changed)
    amounts = np.maximum(amounts, 0)
    mode = node.attributes.get("mode")
    how = "constant" if mode is None else mode.as_string()
    if how == "constant":
        _constant(net, node, net.settle(source), amounts)
        return
    # MIRROR_PAD takes 40 times as long as one GATHER per axis (112 x 112 x 32, measured on x86).
    for axis in np.flatnonzero(amounts.any(1)).tolist():
        source = pick(net, source, axis, _places(node, how, source.shape[axis], amounts[axis]))
    net.alias(node.outputs[0], source)


def _amounts(net: Net, node: ir.Node) -> NDArray[np.int64]:
    """Return how much is added before and after every axis, as one row per axis."""
    rank = len(net.shape(node.inputs[0]))
    pads, axes = net.known(node, 1), net.known(node, 3)
    if pads is None or (len(node.inputs) > 3 and node.inputs[3] is not None and axes is None):
        raise refusal(node, "Pad is written with constant pads and axes only")
    amounts = np.zeros((rank, 2), np.int64)
    which = np.arange(rank) if axes is None else np.ravel(axes.array) % rank
    amounts[which] = pads.array.reshape(2, -1).T
    return amounts


def _places(node: ir.Node, how: str, size: int, amounts: Array) -> NDArray[np.int64]:
    """Return what an axis of `size` holds after padding, as indices into what it held."""
    before, after = (int(amount) for amount in amounts)
    if how == "wrap" and max(before, after) > size:  # onnxruntime refuses as much for reflect
        raise refusal(node, f"Pad adds more than wrap can take from {size} numbers")
    added = np.pad(np.arange(size), (before, after), mode=how)  # type: ignore[call-overload]
    places: NDArray[np.int64] = added.astype(np.int64)
    return places


def _constant(net: Net, node: ir.Node, source: Placed, amounts: Array) -> None:
    tensor = source.tensor
    if not amounts.any():
        net.alias(node.outputs[0], source)
        return
    inputs = [tensor, net.builder.constant("pads", amounts[list(source.perm)].astype(np.int32))]
    fill = _fill(net, node, tensor)
    if fill is None:
        net.put(node.outputs[0], "PAD", inputs, source.perm, net.options.PadOptionsT())
    else:
        options = net.options.PadV2OptionsT()
        net.put(node.outputs[0], "PADV2", [*inputs, fill], source.perm, options)


def _fill(net: Net, node: ir.Node, tensor: Tensor) -> Tensor | None:
    """Return the number to pad with, None for the one that PAD takes: real zero."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return None
    constant = net.known(node, 2)
    if constant is None:
        raise refusal(node, "Pad is written with a constant value only")
    value = constant.real
    if tensor.grid is not None:
        given = net.read(node, 2).tensor.data
        value = (
            tensor.grid.quantize(np.asarray(value, np.float32))
            if given is None or value.dtype.kind == "f"
            else given
        )
    zero = 0 if tensor.grid is None else int(tensor.grid.zero_point)
    if value.item() == zero:
        return None
    return net.builder.constant("fill", value.reshape(()), tensor.grid)


# LiteRT and onnxruntime pad 8-bit integers as they are; 16-bit ones onnxruntime pads as real
# numbers, on the grid that they have.
OPS = {"Pad": Form(pad, moves=always, wide=always, keeps=True)}
