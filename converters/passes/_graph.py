"""Words that the passes share for reading and changing a graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from converters.passes.base import Decline

Array = npt.NDArray[Any]
Dims = tuple[int | str | None, ...]


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Return whether `node` is one of the standard operators `op_types`."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type in op_types


def constant(value: ir.Value | None) -> Array | None:
    """Return what `value` always holds, or None when it varies or may be overridden."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def needed(value: ir.Value | None, what: str) -> Array:
    """Return what `value` always holds; Decline, calling it `what`, when it varies."""
    array = constant(value)
    if array is None:
        raise Decline(f"{what} is not constant")
    return array


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """Return the value of an attribute of `node`, or `default`."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Return input `index` of `node`, or None when it is not given."""
    return node.inputs[index] if index < len(node.inputs) else None


def parameter(node: ir.Node, name: str, index: int) -> Array | None:
    """Return a parameter that older opsets keep in attribute `name`, newer ones in input `index`.

    None when it is not given; Decline when it is computed.
    """
    if name in node.attributes:
        return np.asarray(attribute(node, name))
    value = operand(node, index)
    return None if value is None else needed(value, f"its {name}")


def dims(value: ir.Value | None) -> Dims | None:
    """Return the shape of `value`: an int, a symbol's name or None per axis; None if unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def only_user(value: ir.Value | None) -> ir.Node | None:
    """Return the node that alone uses `value`; None when there are more, or it is an output."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return next(iter(value.uses())).node


def source(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node of one of `op_types` that makes `value`, whoever else uses it."""
    node = None if value is None else value.producer()
    return node if is_op(node, *op_types) else None


def before(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node of one of `op_types` that makes `value` for a single user."""
    return source(value, *op_types) if only_user(value) else None


def home(node: ir.Node) -> ir.Graph:
    """Return the graph that `node` stands in."""
    if not isinstance(node.graph, ir.Graph):
        raise Decline("it stands in a function")
    return node.graph


def add_constant(node: ir.Node, name: str, array: Array) -> ir.Value:
    """Return a new initializer that holds `array`, in the graph of `node`, under a free name."""
    graph = home(node)
    taken = set(graph.initializers) | {value.name for value in graph.inputs}
    taken |= {value.name for other in graph.all_nodes() for value in other.outputs}
    names = chain([name], (f"{name}_{i}" for i in count(1)))
    free = next(one for one in names if one not in taken)
    tensor = ir.tensor(np.asarray(array, order="C"), name=free)
    value = ir.Value(name=free, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    graph.register_initializer(value)
    return value


def set_constant(node: ir.Node, index: int, array: Array, name: str) -> None:
    """Make input `index` of `node` the constant `array`; other users keep what they had."""
    old = operand(node, index)
    if old is not None:
        name = old.name or name
        if old.is_initializer() and only_user(old) is node and not old.is_graph_input():
            node.replace_input_with(index, None)
            home(node)
            owner = old.graph
            if owner is not None:
                owner.initializers.pop(name)
    elif index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, add_constant(node, name, array))


def make(
    op_type: str, inputs: Sequence[ir.Value | None], like: ir.Node, **attributes: Any
) -> ir.Node:
    """Return a new node of `op_type` that is named and documented after `like`."""
    name = f"{like.name}_{op_type}" if like.name else None
    node = ir.node(op_type, list(inputs), attributes or None, name=name)
    node.metadata_props.update(like.metadata_props)
    return node


def replace(old: ir.Node, *new: ir.Node) -> None:
    """Put the nodes `new` in the place of `old`; the last one makes the value that `old` made."""
    made = new[-1]
    made.name = old.name
    ir.convenience.replace_nodes_and_values(
        home(old), old, [old], list(new), [old.outputs[0]], [made.outputs[0]]
    )


def bypass(node: ir.Node, value: ir.Value) -> None:
    """Remove `node`; whoever used its first output uses `value`, which holds the same.

    Decline when the output is one of the graph's and `value` cannot take over its name.
    """
    graph, gone = home(node), node.outputs[0]
    if gone.is_graph_output():
        if value.is_graph_input() or value.is_graph_output() or value.producer() is None:
            raise Decline("it joins an output of the graph to an input or to another output")
        if value.graph is not graph:
            raise Decline("it hands a value of the outer graph to an output of this one")
        value.name, value.shape, value.type = gone.name, gone.shape, gone.type
    gone.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def remove_unused(*nodes: ir.Node) -> None:
    """Remove those of `nodes`, given last first, whose outputs nobody uses."""
    for node in nodes:
        if not any(out.uses() or out.is_graph_output() for out in node.outputs):
            home(node).remove(node, safe=True)
