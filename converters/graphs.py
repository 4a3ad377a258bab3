"""Small questions about an onnx-ir graph that several rooms ask."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import chain, count
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[np.generic]

# Inputs that are float32 numbers about the work (roi, scales), not numbers that are worked on.
SETTINGS = {"Resize": (1, 2)}


def name_of(value: ir.Value | None) -> str:
    """Return the name of a value; every value has one after capture."""
    if value is None or value.name is None:
        raise ValueError("an unnamed value in the graph")
    return value.name


def constant(value: ir.Value | None) -> Array | None:
    """Return the array of an initializer (or folded constant), None for anything computed."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return cast(Array, value.const_value.numpy())


def activations(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the inputs of `node` that are computed at run time."""
    for value in node.inputs:
        if value is not None and constant(value) is None:
            yield value


def moved_constants(node: ir.Node) -> Iterator[Array]:
    """Yield the constants of `node` that come out among its results, as padding does."""
    for position, value in enumerate(node.inputs):
        array = None if position in SETTINGS.get(node.op_type, ()) else constant(value)
        if array is not None and array.size and array.dtype.kind == "f":
            yield array


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """Return the shape of a value; -1 stands for a free dimension, () for an unknown shape."""
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else -1 for dim in value.shape)


def integers(node: ir.Node, attribute: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return an INTS attribute of `node`, or `default` where it is absent."""
    found = node.attributes.get(attribute)
    return tuple(found.as_ints()) if found is not None else default


def integer(node: ir.Node, attribute: str, default: int) -> int:
    """Return an INT attribute of `node`, or `default` where it is absent."""
    found = node.attributes.get(attribute)
    return found.as_int() if found is not None else default


def unused(name: str, taken: Container[str]) -> str:
    """Return `name`, with a number behind it where it is taken."""
    return next(n for n in chain([name], (f"{name}_{i}" for i in count(1))) if n not in taken)


def value_names(graph: ir.Graph) -> set[str]:
    """Return the names of all values of a graph and of its subgraphs."""
    outputs = (value for node in graph.all_nodes() for value in node.outputs)
    return {value.name or "" for value in chain(graph.inputs, outputs)} | set(graph.initializers)


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name of its own: plans know nodes by name, and ONNX asks for none."""
    taken: set[str] = set()
    for node in graph:
        node.name = unused(node.name or node.op_type, taken)
        taken.add(node.name)


def initializer(model: ir.Model, name: str, array: Array) -> ir.Value:
    """Register `array` as an initializer called `name`, or by the next free name."""
    name = unused(name, value_names(model.graph))
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape = ir.Shape(array.shape)
    value.dtype = ir.DataType.from_numpy(array.dtype)
    model.graph.initializers.add(value)
    return value


def clone(model: ir.Model) -> ir.Model:
    """Return an independent copy of a model."""
    return ir.from_proto(ir.to_proto(model))


def to_bytes(model: ir.Model) -> bytes:
    """Serialise a model; the same graph always gives the same bytes."""
    return cast(bytes, ir.to_proto(model).SerializeToString(deterministic=True))
