"""Fully connected layers: products with a matrix that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.constants import Constant
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._broadcast import constant_operand
from converters.formats._tflite.ops._matmul import product
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.ops.conv import addends
from converters.formats._tflite.placed import Placed, identity
from converters.formats._tflite.refuse import refusal
from converters.graphs import integer, name_of


def gemm(net: Net, node: ir.Node) -> None:
    """Write Gemm as FULLY_CONNECTED; as BATCH_MATMUL, MUL and ADD where that is not enough."""
    weight = net.known(node, 1)
    row = _row(net, node)
    if weight is not None and row is not None:
        turned = weight if integer(node, "transB", 0) else weight.transpose((1, 0))
        alpha = _factor(node, "alpha")
        if alpha != 1:
            turned = Constant((turned.real * np.float32(alpha)).astype(np.float32))
        source = _side(net, node, 0, "transA", loose=True)
        connected(net, node, (source, turned), row, node)
    else:
        _composed(net, node)


def _row(net: Net, node: ir.Node) -> Constant | int | None:
    """Return what is added to every row of the product, None where it differs from row to row."""
    rows, columns = net.shape(node.outputs[0])
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return columns
    given, beta = net.known(node, 2), _factor(node, "beta")
    if given is None:
        return None
    if beta == 1 and given.array.shape in ((columns,), (1, columns)):
        return given.reshape((columns,), 0)
    if rows != 1 and given.array.ndim == 2 and len(given.array) != 1:
        return None
    wide = np.broadcast_to(given.real * np.float32(beta), (rows, columns))[0]
    return Constant(wide.astype(np.float32))


def connected(
    net: Net,
    node: ir.Node,
    factors: tuple[Placed, Constant],
    row: Constant | int,
    last: ir.Node,
) -> None:
    """Write FULLY_CONNECTED over the last axis, with weights (out, in) and what `row` adds.

    `last` is the node whose result it gives: `node`, or the Add after it.
    """
    source, weight = factors
    rank = len(source.perm)
    if source.order is not None:
        axis, indices = source.order
        if axis == rank - 1:
            weight = replace(weight, array=weight.array[:, indices])
            source = replace(source, order=None)
        else:
            source = net.settle(source)
    if source.perm[-1] != rank - 1:
        source = net.arrange(source, identity(rank))
    filters = net.constant(weight, name_of(node.inputs[1]))
    act, value = net.activation(last)
    options = net.options.FullyConnectedOptionsT(
        fusedActivationFunction=act,
        keepNumDims=rank != 2,
        asymmetricQuantizeInputs=source.tensor.grid is None and filters.grid is not None,
    )
    inputs = [source.tensor, filters, addends(net, node, row, (source.tensor, filters))]
    net.put(value, "FULLY_CONNECTED", inputs, source.perm, options)


def _composed(net: Net, node: ir.Node) -> None:
    left, right = _side(net, node, 0, "transA"), _side(net, node, 1, "transB")
    value = node.outputs[0]
    made = net.temporary(net.shape(value), np.dtype(np.float32))
    product(net, (left, right), made)
    made = _times(net, made, _factor(node, "alpha"))
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        made = net.step("ADD", [made, _addend(net, node)], made, net.options.AddOptionsT())
    net.alias(value, Placed(made, identity(2)))


def _addend(net: Net, node: ir.Node) -> Tensor:
    constant = net.known(node, 2)
    beta = _factor(node, "beta")
    if constant is not None:
        scaled = Constant((constant.real * np.float32(beta)).astype(np.float32))
        return constant_operand(net, scaled, identity(2), f"{node.name}/bias")
    placed = net.read(node, 2)
    return _times(net, net.arrange(placed, identity(len(placed.perm))).tensor, beta)


def _times(net: Net, tensor: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return tensor
    number = net.builder.constant("factor", np.array(factor, np.float32))
    return net.step("MUL", [tensor, number], tensor, net.options.MulOptionsT())


def _factor(node: ir.Node, name: str) -> float:
    return node.attributes[name].as_float() if name in node.attributes else 1.0


def _side(net: Net, node: ir.Node, index: int, turn: str, loose: bool = False) -> Placed:
    """Return a matrix, with its axes the other way round where `turn` says so."""
    turned = bool(integer(node, turn, 0))
    placed = net.read_loose(node, index) if loose and not turned else net.read(node, index)
    perm = tuple(1 - axis for axis in placed.perm) if turned else placed.perm
    return replace(placed, perm=perm)


def matmul(net: Net, node: ir.Node) -> None:
    """Write MatMul with a known matrix as FULLY_CONNECTED, any other as BATCH_MATMUL."""
    ranks = [len(net.shape(value)) for value in node.inputs]
    if min(ranks) < 2 or max(ranks) > 5:
        raise refusal(node, "MatMul is written for two to five axes only")
    weight = net.known(node, 1)
    if weight is not None and weight.array.ndim == 2:
        source = net.read_loose(node)
        row, last = _add_after(net, node)
        connected(net, node, (source, weight.transpose((1, 0))), row, last)
        return
    value = node.outputs[0]
    rank = len(net.shape(value))
    made = net.result(value, identity(rank), None)
    product(net, (net.read(node, 0), net.read(node, 1)), made)


def _add_after(net: Net, node: ir.Node) -> tuple[Constant | int, ir.Node]:
    """Return the row that the Add after a product adds, and that Add; zeros and `node` if none."""
    value = node.outputs[0]
    uses, shape = list(value.uses()), net.shape(value)
    none = (shape[-1], node)
    if net.integer or len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != "Add":
        return none
    add = uses[0].node
    row = net.known(add, 1 - uses[0].idx)
    if row is None or row.array.ndim > len(shape) or row.array.shape[-1:] != shape[-1:]:
        return none
    if row.array.size != shape[-1]:
        return none
    net.fused.add(add.name or "")
    return row.reshape((shape[-1],), 0), add


OPS = {
    "Gemm": Form(gemm, integer=always, wide=always, dynamic=always),
    "MatMul": Form(matmul, integer=always, wide=always, dynamic=always),
}
