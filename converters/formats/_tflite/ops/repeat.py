"""The same numbers several times: broadcast, tiled; and running sums."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import of_rank
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Placed
from converters.formats._tflite.refuse import refusal
from converters.graphs import Array, integer


def expand(net: Net, node: ir.Node) -> None:
    """Write Expand as TILE along the axes of size 1 that grow."""
    _settings(net, node, "a constant shape")
    new = net.shape(node.outputs[0])
    source = of_rank(net.read(node), len(new), net)
    times = [b // a for a, b in zip(source.shape, new, strict=True)]
    _tile(net, node, source, np.array(times))


def tile(net: Net, node: ir.Node) -> None:
    """Write Tile as TILE."""
    _tile(net, node, net.read(node), _settings(net, node, "constant repeats"))


def _settings(net: Net, node: ir.Node, what: str) -> Array:
    given = net.known(node, 1)
    if given is None:
        raise refusal(node, f"{node.op_type} is written with {what} only")
    return given.array


def _tile(net: Net, node: ir.Node, source: Placed, times: Array) -> None:
    if (times == 1).all():
        net.alias(node.outputs[0], source)
        return
    multiples = net.builder.constant("multiples", times[list(source.perm)].astype(np.int32))
    inputs = [source.tensor, multiples]
    net.put(node.outputs[0], "TILE", inputs, source.perm, net.options.TileOptionsT())


def cumulated(net: Net, node: ir.Node) -> None:
    """Write CumSum."""
    axis = int(_settings(net, node, "a constant axis").item())
    source = net.read(node)
    along = net.builder.constant("axis", np.array(source.axis(axis), np.int32))
    options = net.options.CumsumOptionsT(
        exclusive=bool(integer(node, "exclusive", 0)), reverse=bool(integer(node, "reverse", 0))
    )
    net.put(node.outputs[0], "CUMSUM", [source.tensor, along], source.perm, options)


OPS = {
    "Expand": Form(expand, moves=always),
    "Tile": Form(tile, moves=always),
    "CumSum": Form(cumulated),
}
