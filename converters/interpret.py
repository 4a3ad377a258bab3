"""Run a graph node by node over a batch of samples, with a look at (and a say in) every result.

A whole-graph engine cannot correct a layer before the next one sees its output; this can. Every
node is computed by onnxruntime, so that the arithmetic is the one that artifacts are defined by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import activations, constant, initializer, name_of, to_bytes
from runtime.engines import EngineOptions, open_engine

Array = NDArray[np.generic]
Visit = Callable[[ir.Node, list[Array]], list[Array]]


def interpret(model: ir.Model, feeds: Mapping[str, Sequence[Array]], visit: Visit) -> None:
    """Compute every node for all samples before going on to the next node.

    `feeds` gives, for each graph input, one array per sample. `visit(node, results)` gets the
    first output of the node for every sample and returns what the graph goes on with. A value
    is freed after its last use, so memory is (samples x what is alive), whatever the depth.
    """
    values: dict[str, list[Array]] = {name: list(arrays) for name, arrays in feeds.items()}
    samples = len(next(iter(values.values())))
    uses = Counter(name_of(v) for node in model.graph for v in set(activations(node)))
    for node in model.graph:
        inputs = list(dict.fromkeys(activations(node)))
        columns = [values[name_of(v)] for v in inputs]
        # A node of constants alone (a weight's DequantizeLinear) is the same for every sample.
        rows = list(zip(*columns, strict=True)) if columns else [()] * samples
        results = _compute(_isolate(model, node, inputs, columns), rows)
        results[0] = visit(node, results[0])
        for value in inputs:
            uses[name_of(value)] -= 1
            if not uses[name_of(value)]:
                del values[name_of(value)]
        for value, column in zip(_made(node), results, strict=True):
            if uses[name_of(value)]:
                values[name_of(value)] = column


def _compute(single: ir.Model, rows: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """Return, per output of the single-node model, its value for every row of inputs."""
    engine = open_engine("onnxruntime", to_bytes(single), EngineOptions(simulate=True))
    results = [engine.run(row) for row in rows] if engine.inputs else [engine.run([])] * len(rows)
    engine.close()
    return [list(column) for column in zip(*results, strict=True)]


def _isolate(
    model: ir.Model, node: ir.Node, inputs: Sequence[ir.Value], columns: Sequence[list[Array]]
) -> ir.Model:
    """Return a model that holds a copy of `node` alone, with its constants."""
    graph = ir.Graph([], [], nodes=[], opset_imports=dict(model.opset_imports), name="node")
    single = ir.Model(graph, ir_version=model.ir_version)
    local: dict[str, ir.Value] = {}
    for value, column in zip(inputs, columns, strict=True):
        copy = ir.Value(name=name_of(value), shape=ir.Shape(_common_shape(column)))
        copy.dtype = ir.DataType.from_numpy(column[0].dtype)
        local[name_of(value)] = copy
        graph.inputs.append(copy)
    for operand in node.inputs:
        array = constant(operand)
        if array is not None and name_of(operand) not in local:
            local[name_of(operand)] = initializer(single, name_of(operand), array)
    copy_node = ir.Node(
        node.domain,
        node.op_type,
        [local[name_of(v)] if v is not None else None for v in node.inputs],
        attributes=list(node.attributes.values()),
        outputs=[ir.Value(name=name_of(v), type=v.type) for v in node.outputs],
    )
    graph.append(copy_node)
    graph.outputs.extend(_made(copy_node))
    return single


def _made(node: ir.Node) -> list[ir.Value]:
    """Return the outputs of `node` that are there; one that is left out has no name."""
    return [value for value in node.outputs if name_of(value)]


def _common_shape(column: Sequence[Array]) -> list[int | None]:
    """Return the shape of all samples; a size that differs between them (of NonZero) is free."""
    sizes = [set(same) for same in zip(*(array.shape for array in column), strict=True)]
    return [size.pop() if len(size) == 1 else None for size in sizes]
