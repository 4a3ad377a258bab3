"""TFLite artifacts for LiteRT, from the graph that the ONNX ones are written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from converters.formats import _half, _qdq
from converters.formats._tflite.ops.base import fixed_grid, forms
from converters.formats._tflite.write import IO_TYPE, written
from converters.quantize.grid import Grid
from converters.quantize.plan import Kernels, Plan
from runtime.engines import EngineOptions, open_engine
from runtime.tflite import Operator, Tensor, read_tflite

ENGINE = "litert"
SUFFIX = ".tflite"
PRECISIONS = ("int8", "int16x8", "int8-dynamic", "fp16", "fp32")

# The opset in which QuantizeLinear learnt 16 bits. No op that is written here changed in it.
SINCE_INT16 = 21


def kernels(activation_type: str) -> Kernels:
    """Return which nodes LiteRT computes on integers of that type."""
    wide = np.dtype(activation_type).itemsize == 2

    def test(node: ir.Node, kind: str) -> bool:
        form = None if node.domain else forms().get(node.op_type)
        return form is not None and bool(getattr(form, kind)(node))

    def fixed(node: ir.Node, dtype: np.dtype[np.integer]) -> Grid | None:
        return fixed_grid(forms()[node.op_type], dtype)

    return Kernels(
        integer=lambda node: test(node, "wide" if wide else "integer"),
        # Where one that only moves 8 bits also `keeps` its grid, onnxruntime has no 16-bit kernel.
        moves=lambda node: test(node, "moves") and not (wide and forms()[node.op_type].keeps),
        keeps=lambda node: forms()[node.op_type].keeps,
        fixed=fixed,
        dynamic=lambda node: test(node, "dynamic"),
    )


def lower(model: ir.Model, plan: Plan) -> ir.Model:
    """Return the QDQ graph of a float graph under `plan`."""
    lowered = _qdq.quantized(model, plan)
    if any(grid.dtype.itemsize == 2 for grid in plan.values.values()):
        opsets = lowered.graph.opset_imports
        opsets[""] = max(opsets[""], SINCE_INT16)
    lowered.metadata_props[IO_TYPE] = plan.io_type
    return lowered


def halve(model: ir.Model, mode: str) -> ir.Model:
    """Return the graph with weights in half precision; what computes in it is the engine's say."""
    return _half.stored(model)


def write(model: ir.Model, facts: Mapping[str, str]) -> bytes:
    """Return the file, with `facts` in its metadata; the same input gives the same bytes.

    Raises ModelError for an op without a form in TFLite, MissingError without ai-edge-litert.
    """
    return written(model, facts)


def leftovers(data: bytes, arch: str) -> dict[str, str]:
    """Return, by tensor, what XNNPACK leaves to LiteRT's own kernels, and what is requantized.

    XNNPACK takes the same operators on every `arch`. MissingError without ai-edge-litert.
    """
    found = {}
    engine = open_engine(ENGINE, data, EngineOptions(threads=1))
    untaken = set(engine.untaken)  # type: ignore[attr-defined]
    engine.close()
    file = read_tflite(data)
    # Tensors by identity: those on the way have no names.
    moved = {id(step.outputs[0]) for step in file.operators if _requantizes(step, file.inputs)}
    for index, step in enumerate(file.operators):
        name = step.outputs[0].name
        if index in untaken:
            found[name] = f"XNNPACK has no kernel for {step.name} here, LiteRT's own is slower"
        elif not moved.isdisjoint(map(id, step.inputs)):
            found[name] = "what it reads is on another scale than it wants: QUANTIZE before it"
    return found


def _requantizes(step: Operator, given: Sequence[Tensor]) -> bool:
    """Tell whether an operator moves integers to another grid, other than those `given`."""
    kinds = {tensor.dtype for tensor in (*step.inputs, *step.outputs)}
    inside = all(tensor is not step.inputs[0] for tensor in given)
    return step.name == "QUANTIZE" and "float32" not in kinds and inside
