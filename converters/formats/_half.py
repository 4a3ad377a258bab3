"""Half precision: weights stored in 16 bits, or the whole net computed in them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.graphs import (
    SETTINGS,
    Array,
    clone,
    constant,
    initializer,
    name_of,
    unused,
    value_names,
)
from device_profiles.errors import ModelError

# Smaller constants (scales, limits, biases of a few channels) gain nothing and cost a node each.
_WORTH_HALVING = 256


def stored(model: ir.Model) -> ir.Model:
    """Return a copy whose weights are stored in float16 and widened when the model is loaded.

    The arithmetic stays float32: half the file at the same speed, on any CPU.
    """
    model = clone(model)
    for value in list(model.graph.initializers.values()):
        array = constant(value)
        if array is None or array.dtype != np.float32 or array.size < _WORTH_HALVING:
            continue
        name = name_of(value)
        half = initializer(model, f"{name}/half", _half(name, array))
        cast = ir.node("Cast", [half], attributes={"to": ir.DataType.FLOAT}, name=f"{name}/widen")
        cast.outputs[0].name = unused(f"{name}/wide", value_names(model.graph))
        cast.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        cast.outputs[0].shape = ir.Shape(array.shape)
        model.graph.insert_before(model.graph[0], cast)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        model.graph.initializers.pop(name)
    return model


def computed(model: ir.Model) -> ir.Model:
    """Return a copy that computes in float16 between the uint8 input and the float32 outputs."""
    model = clone(model)
    graph = model.graph
    kept = {
        name_of(value)
        for node in graph
        for position in SETTINGS.get(node.op_type, ())
        if position < len(node.inputs) and (value := node.inputs[position]) is not None
    }
    for value in list(graph.initializers.values()):
        array = constant(value)
        if array is not None and array.dtype == np.float32 and name_of(value) not in kept:
            name = name_of(value)
            half = initializer(model, f"{name}/half", _half(name, array))
            ir.convenience.replace_all_uses_with(value, half)
            graph.initializers.pop(name)
    for node in graph:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
        for value in node.outputs:
            if value.dtype == ir.DataType.FLOAT:
                value.dtype = ir.DataType.FLOAT16
    _widen_outputs(graph)
    return model


def _widen_outputs(graph: ir.Graph) -> None:
    for index, value in enumerate(list(graph.outputs)):
        if value.dtype != ir.DataType.FLOAT16:
            continue
        name = name_of(value)
        value.name = unused(f"{name}/half", value_names(graph))
        cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT}, name=f"{name}/widen")
        output = cast.outputs[0]
        output.name, output.shape = name, value.shape
        output.type = ir.TensorType(ir.DataType.FLOAT)
        graph.append(cast)
        graph.outputs[index] = output


def _half(name: str, array: Array) -> Array:
    limit = float(np.finfo(np.float16).max)
    if np.abs(array).max(initial=0) > limit:
        raise ModelError(
            f"{name} holds numbers beyond {limit:.0f}, which float16 cannot; use --precision fp32"
        )
    return array.astype(np.float16)
