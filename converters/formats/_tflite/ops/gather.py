"""Numbers picked by their indices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._pick import pick
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Perm, Placed, identity
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer

Places = NDArray[np.int64]

# Ops whose results are indices and never negative.
_COUNTING = ("ArgMax", "ArgMin", "TopK")


def gather(net: Net, node: ir.Node) -> None:
    """Write Gather as GATHER, and as a slice where the indices are a run of places."""
    source = net.read_loose(node)
    axis = integer(node, "axis", 0) % len(source.shape)
    given = net.known(node, 1)
    if given is None:
        _computed(net, node, net.settle(source), axis)
        return
    shape = given.array.shape
    if 0 in shape:
        raise refusal(node, "Gather takes nothing of what it reads")
    picked = pick(net, source, axis, _positive(given, source.shape[axis]).reshape(-1))
    if len(shape) != 1:
        picked = net.settle(picked)
        at = picked.axis(axis)
        sizes = picked.tensor.shape
        tensor = net.reshape(picked.tensor, (*sizes[:at], *shape, *sizes[at + 1 :]))
        picked = Placed(tensor, _spread(picked.perm, axis, len(shape)))
    net.alias(node.outputs[0], picked)


def _computed(net: Net, node: ir.Node, source: Placed, axis: int) -> None:
    indices = net.read(node, 1)
    tensor = net.arrange(indices, identity(len(indices.perm))).tensor
    producer = node.inputs[1].producer() if node.inputs[1] is not None else None
    if producer is None or producer.op_type not in _COUNTING:
        # Counted from the end where they are negative, which GATHER does not know.
        size = net.builder.constant("size", np.array(source.shape[axis], tensor.dtype))
        tensor = net.step("FLOOR_MOD", [tensor, size], tensor, net.options.FloorModOptionsT())
    options = net.options.GatherOptionsT(axis=source.axis(axis))
    perm = _spread(source.perm, axis, len(tensor.shape))
    net.put(node.outputs[0], "GATHER", [source.tensor, tensor], perm, options)


def _spread(perm: Perm, axis: int, count: int) -> Perm:
    """Return the placement after `axis` has become `count` axes, all in its place."""
    spread: list[int] = []
    for one in perm:
        if one == axis:
            spread += range(axis, axis + count)
        else:
            spread.append(one if one < axis else one + count - 1)
    return tuple(spread)


def _positive(indices: Constant, size: int) -> Places:
    """Return indices counted from the start only."""
    array = indices.array.astype(np.int64)
    return np.where(array < 0, array + size, array)


def gather_nd(net: Net, node: ir.Node) -> None:
    """Write GatherND with constant indices as GATHER_ND, or as Gather where it is one."""
    given = net.known(node, 1)
    if given is None or integer(node, "batch_dims", 0):
        raise refusal(node, "GatherND is written with constant indices and without batch_dims only")
    depth = given.array.shape[-1]
    sizes = np.array(net.shape(node.inputs[0]))[:depth]
    array = given.array.astype(np.int64)
    if depth == 1 and array.ndim == 2 and array.size:  # whole rows, as Gather takes them
        source = net.read_loose(node)
        net.alias(node.outputs[0], pick(net, source, 0, _positive(given, sizes[0]).reshape(-1)))
        return
    _at(net, node, np.where(array < 0, array + sizes, array))


def gather_elements(net: Net, node: ir.Node) -> None:
    """Write GatherElements with constant indices as GATHER_ND."""
    given = net.known(node, 1)
    if given is None:
        raise refusal(node, "GatherElements is written with constant indices only")
    shape = net.shape(node.inputs[0])
    axis = integer(node, "axis", 0) % len(shape)
    places: list[Places] = list(np.indices(given.array.shape))
    places[axis] = _positive(given, shape[axis])
    _at(net, node, np.stack(places, -1))


def _at(net: Net, node: ir.Node, places: Places) -> None:
    source = net.read(node)
    tensor: Tensor = net.arrange(source, identity(len(source.perm))).tensor
    indices = net.builder.constant("places", places.astype(np.int32))
    perm = identity(len(net.shape(node.outputs[0])))
    options = net.options.GatherNdOptionsT()
    net.put(node.outputs[0], "GATHER_ND", [tensor, indices], perm, options)


OPS = {
    "Gather": Form(gather, moves=always),
    "GatherND": Form(gather_nd, moves=always),
    "GatherElements": Form(gather_elements, moves=always),
}
