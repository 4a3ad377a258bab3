"""The walk: every node of the graph in order, each to the function of `ops/` that has its name."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from converters.formats._tflite import metadata
from converters.formats._tflite.constants import grid_of, known, signed
from converters.formats._tflite.net import Kind, Net, same_grid
from converters.formats._tflite.ops.base import forms
from converters.formats._tflite.placed import Placed, identity
from converters.formats._tflite.refuse import refusal
from converters.graphs import Array, clone, constant, name_nodes, name_of, to_bytes
from converters.quantize.grid import Grid
from converters.quantize.plan import PARAMETERS
from device_profiles.errors import EngineError, ModelError
from runtime.engines import EngineOptions, open_engine

FACTS = "edge_sdk"
LAYOUTS = "edge_sdk.layouts"
LABELS = "edge_sdk.labels"
IO_TYPE = "edge_sdk.io_type"


def written(model: ir.Model, facts: Mapping[str, str]) -> bytes:
    """Return the TFLite file of a float or QDQ graph, with `facts` in its metadata.

    Raises ModelError, naming the node and its line in the model, for an op without a form here.
    """
    model = clone(model)
    name_nodes(model.graph)
    net = Net(_kinds(model))
    io_type = model.metadata_props.get(IO_TYPE, "float32")
    inputs = {name_of(value): _input(net, value, io_type) for value in model.graph.inputs}
    for node in model.graph:
        _node(net, node)
    taken = {placed.tensor.index for placed in inputs.values()}
    outputs = {name_of(v): _output(net, v, taken, io_type) for v in model.graph.outputs}
    layouts = {
        name: list(placed.perm)
        for name, placed in outputs.items()
        if placed.perm != identity(len(placed.perm))
    }
    said = {key: fact for key, fact in facts.items() if key != LABELS}
    if io_type != "float32":
        said[IO_TYPE] = io_type
    if layouts:
        said[LAYOUTS] = json.dumps(layouts, sort_keys=True)
    channels = next(iter(inputs.values())).shape[-1]
    name = facts.get("edge_sdk.name", model.graph.name or "")
    described = metadata.described(name, channels, [*outputs], LABELS in facts)
    data = net.builder.finish(
        {name: placed.tensor for name, placed in inputs.items()},
        {name: placed.tensor for name, placed in outputs.items()},
        {
            FACTS: json.dumps(said, sort_keys=True, ensure_ascii=False).encode(),
            metadata.NAME: described,
        },
    )
    return metadata.packed(data, facts[LABELS]) if LABELS in facts else data


def _kinds(model: ir.Model) -> dict[str, Kind]:
    """Run the graph once on zeros and return the shape and dtype of every computed value."""
    probe = clone(model)
    outputs = set(probe.graph.outputs)
    for node in probe.graph:
        for value in node.outputs:
            if value not in outputs and value.name and known(value) is None:
                probe.graph.outputs.append(value)
    engine = open_engine("onnxruntime", to_bytes(probe), EngineOptions(simulate=True))
    feeds = [np.zeros([max(d, 1) for d in spec.shape], spec.dtype) for spec in engine.inputs]
    try:
        answers = engine.run(feeds)
    except EngineError as error:
        raise ModelError(
            f"the model fails on an image of zeros, by which its shapes are found: {error}; "
            "use --format onnx"
        ) from error
    specs, arrays = (*engine.inputs, *engine.outputs), map(np.asarray, answers)
    found = {spec.name: a for spec, a in zip(specs, (*feeds, *arrays), strict=True)}
    engine.close()
    _note(model, found)
    return {name: Kind(array.shape, array.dtype) for name, array in found.items()}


def _note(model: ir.Model, seen: Mapping[str, Array]) -> None:
    """Note the shapes that were seen, and the numbers that depend on shapes and constants only."""
    for node in model.graph:
        static = bool(node.inputs) and all(v is None or known(v) is not None for v in node.inputs)
        for value in node.outputs:
            array = seen.get(value.name or "")
            if array is not None:
                value.shape = ir.Shape(array.shape)
                if static or node.op_type in ("Shape", "Size"):
                    value.const_value = ir.tensor(array)


def _input(net: Net, value: ir.Value, io_type: str) -> Placed:
    """Add an input. Where the graph computes on its bytes, they become int8 at once.

    With `io_type` int8 they have to be so before they come.
    """
    shape, dtype = net.shape(value), net.dtype(value)
    grid = _first_grid(value) if dtype == np.uint8 else None
    if grid is None and io_type != "float32":
        raise ModelError(
            f"the model's first operators do not take bytes, so that io_type {io_type} has no "
            "place for them; set io_type float32 in the profile, or activation_type uint8"
        )
    if grid is not None and io_type == "int8":
        grid = signed(grid)
        dtype = grid.dtype
    tensor = net.builder.tensor(name_of(value), shape, dtype, grid)
    placed = Placed(tensor, identity(len(shape)))
    if grid is None:
        net.alias(value, placed)
    else:
        net.alias(value, Placed(net.on_grid(tensor, signed(grid)), placed.perm))
    return placed


def _first_grid(value: ir.Value) -> Grid | None:
    """Return the grid on which integers are first read as real numbers, wherever they move to."""
    for node in (use.node for use in value.uses()):
        if node.op_type == "DequantizeLinear":
            scale, zero = (constant(v) for v in node.inputs[1:3])
            return Grid(np.asarray(scale, np.float32), np.asarray(zero, np.uint8))
        if node.op_type != "Cast":
            found = next(filter(None, map(_first_grid, node.outputs)), None)
            if found is not None:
                return found
    return None


def _output(net: Net, value: ir.Value, taken: set[int], io_type: str) -> Placed:
    """Return the tensor of an output under the output's own name, as numbers of `io_type`.

    One whose tensor has another name already, as it is in `taken`, is a copy.
    """
    constant_ = known(value)
    if constant_ is not None or value.is_graph_input():
        raise ModelError(
            f"the output {name_of(value)} is not computed from the input; leave it out of the model"
        )
    placed = net.settle(net.values[name_of(value)])
    producer = value.producer()
    if producer is not None and producer.op_type == "DequantizeLinear":
        placed = net.real(placed) if io_type == "float32" else _integers(net, placed, io_type)
    elif io_type != "float32" and placed.tensor.dtype.kind == "f":
        raise ModelError(
            f"the output {name_of(value)} is computed in float, so that it cannot be handed out "
            f"as io_type {io_type}; set io_type float32 in the profile"
        )
    if placed.tensor.index in taken:
        placed = Placed(net.copy(placed.tensor), placed.perm)
    taken.add(placed.tensor.index)
    net.builder.rename(placed.tensor, name_of(value))
    return placed


def _integers(net: Net, placed: Placed, io_type: str) -> Placed:
    """Return a quantized value as it is in int8, and with its zero point moved by 128 in uint8."""
    grid = placed.tensor.grid
    if io_type == "int8" or grid is None:
        return placed
    moved = (grid.zero_point.astype(np.int16) + 128).astype(np.uint8)
    return Placed(net.on_grid(placed.tensor, Grid(grid.scale, moved)), placed.perm)


def _node(net: Net, node: ir.Node) -> None:
    form = forms().get(node.op_type)
    if (node.name or "") in net.fused or known(node.outputs[0]) is not None:
        return
    if node.op_type == "QuantizeLinear":
        _quantize(net, node)
    elif node.op_type == "DequantizeLinear":
        _dequantize(net, node)
    elif form is not None and not node.domain:
        test = form.wide if _width(node) == 2 else form.integer
        net.integer = _in_integers(node) and test(node)
        form.write(net, node)
    else:
        raise refusal(node, f"{node.op_type} has no form in TFLite here")


def _dequantize(net: Net, node: ir.Node) -> None:
    placed = net.values[name_of(node.inputs[0])]
    if placed.tensor.grid is None or not same_grid(placed.tensor.grid, grid_of(node)):
        raise refusal(node, "the same integers are read on two grids")
    net.alias(node.outputs[0], placed)


def _quantize(net: Net, node: ir.Node) -> None:
    placed = net.values[name_of(node.inputs[0])]
    grid = grid_of(node)
    if placed.tensor.grid is None or not same_grid(placed.tensor.grid, grid):
        made = net.temporary(placed.tensor.shape, grid.dtype, grid)
        options = net.options.QuantizeOptionsT()
        net.builder.operator("QUANTIZE", [placed.tensor], [made], options)
        placed = Placed(made, placed.perm, placed.order)
    net.alias(node.outputs[0], placed)


def _width(node: ir.Node) -> int:
    """Return how many bytes the integers have that `node` is quantized to; 0 where it is not."""
    reader = next((use.node for use in node.outputs[0].uses()), None)
    if reader is None or reader.op_type != "QuantizeLinear":
        return 0
    return grid_of(reader).dtype.itemsize


def _in_integers(node: ir.Node) -> bool:
    """Tell whether the graph reads and writes `node` on grids: between Dequantize and Quantize."""
    for index, value in enumerate(node.inputs):
        producer = None if value is None else value.producer()
        if value is None or (producer is not None and producer.op_type == "DequantizeLinear"):
            continue
        array = constant(value)
        setting = index in PARAMETERS.get(node.op_type, ())
        if array is None or (array.dtype.kind == "f" and array.size and not setting):
            return False
    return all(
        not value.is_graph_output()
        and [use.node.op_type for use in value.uses()] == ["QuantizeLinear"]
        for value in node.outputs
    )
