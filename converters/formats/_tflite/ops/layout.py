"""Ops that only say where numbers are: most of them cost nothing here."""

from __future__ import annotations

import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import Placed, identity
from converters.formats._tflite.refuse import refusal
from converters.formats._tflite.reshape import moved, reshaped
from converters.graphs import integers


def transpose(net: Net, node: ir.Node) -> None:
    """Rename the axes: nothing moves."""
    source = net.read_loose(node)
    rank = len(source.perm)
    perm = integers(node, "perm", tuple(reversed(range(rank))))
    order = None if source.order is None else (perm.index(source.order[0]), source.order[1])
    placed = Placed(source.tensor, tuple(perm.index(axis) for axis in source.perm), order)
    net.alias(node.outputs[0], placed)


def reshape(net: Net, node: ir.Node) -> None:
    """Write Reshape and its like: the numbers stay where they are wherever that is possible."""
    if node.op_type == "Reshape" and net.known(node, 1) is None:
        raise refusal(node, "Reshape is written with a shape that does not depend on the input")
    source = net.read(node)
    new = net.shape(node.outputs[0])
    found = reshaped(source.shape, source.perm, new)
    if found is None:
        net.alias(node.outputs[0], _moved(net, source, new))
        return
    tensor = net.reshape(source.tensor, [new[axis] for axis in found.perm])
    net.alias(node.outputs[0], Placed(tensor, found.perm, found.order))


def _moved(net: Net, source: Placed, new: tuple[int, ...]) -> Placed:
    """Return the value in its new shape, by one TRANSPOSE at most."""
    move = moved(source.shape, source.perm, new)
    if move is None:  # no common refinement, as from 2 x 3 to 3 x 2
        plain = net.arrange(source, identity(len(source.perm)))
        return Placed(net.reshape(plain.tensor, new), identity(len(new)))
    parts = Placed(net.reshape(source.tensor, move.shape), identity(len(move.shape)))
    tensor = net.arrange(parts, move.axes).tensor
    return Placed(net.reshape(tensor, [new[axis] for axis in move.perm]), move.perm)


def nothing(net: Net, node: ir.Node) -> None:
    """Give the value another name."""
    unread = [value.uses() or value.is_graph_output() for value in node.outputs[1:]]
    if any(unread):
        raise refusal(node, f"{node.op_type} is written without its second result only")
    net.alias(node.outputs[0], net.read_loose(node))


_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")

OPS = {
    "Transpose": Form(transpose, moves=always),
    **dict.fromkeys(_RESHAPES, Form(reshape, moves=always)),
    "Identity": Form(nothing, moves=always),
    "Dropout": Form(nothing),  # the passes remove it
}
