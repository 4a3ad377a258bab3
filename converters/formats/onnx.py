"""ONNX artifacts for onnxruntime: float, half precision, and integers as QDQ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

from converters.capture import first_line
from converters.formats import _half, _qdq
from converters.graphs import clone, name_nodes, to_bytes
from converters.quantize.plan import Kernels, Plan
from device_profiles.errors import ModelError, missing

ENGINE = "onnxruntime"
SUFFIX = ".onnx"
PRECISIONS = ("int8", "fp16", "fp32")

# Ops with QLinear kernels in onnxruntime's CPU provider (docs/ContribOperators.md and the QDQ
# selectors of its optimizer), which replaces DQ -> op -> Q by them.
_INTEGER = {
    *("Conv", "Gemm", "Add", "Mul", "Concat"),
    *("AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"),
}
# Ops that its CPU provider runs on 8-bit tensors directly.
_MOVES = {
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"),
    *("Slice", "Split", "Gather", "Concat", "Pad", "Expand", "Tile"),
    *("MaxPool", "Resize", "DepthToSpace", "SpaceToDepth"),
}


def _moves(node: ir.Node) -> bool:
    if node.op_type == "MaxPool" and len(node.outputs) > 1:
        return False  # it also tells where the largest number was
    if node.op_type == "Resize":
        mode = node.attributes.get("mode")
        return mode is None or mode.as_string() == "nearest"
    if node.op_type == "Pad":
        mode = node.attributes.get("mode")
        return mode is None or mode.as_string() == "constant"
    return node.op_type in _MOVES


def kernels(activation_type: str) -> Kernels:
    """Return which nodes onnxruntime computes on 8-bit integers; signed or not is the same."""
    return Kernels(
        integer=lambda node: node.op_type in _INTEGER,
        moves=_moves,
        float_output=frozenset({"Gemm"}),
    )


def lower(model: ir.Model, plan: Plan) -> ir.Model:
    """Return the QDQ graph of a float graph under `plan`."""
    return _qdq.quantized(model, plan)


def halve(model: ir.Model, mode: str) -> ir.Model:
    """Return the graph in half precision: `weights` (stored only) or `compute` (throughout)."""
    return _half.stored(model) if mode == "weights" else _half.computed(model)


def write(model: ir.Model, facts: Mapping[str, str]) -> bytes:
    """Serialise a graph with `facts` in its metadata_props; the same input gives the same bytes.

    Raises ModelError when onnx's checker finds the graph invalid.
    """
    import onnx

    model = clone(model)
    ClearMetadataAndDocStringPass()(model)
    name_nodes(model.graph)  # onnxruntime refuses a name that two nodes have
    model.doc_string = None
    model.metadata_props.clear()
    model.metadata_props.update(sorted(facts.items()))
    model.producer_name = "edge-sdk"
    data = to_bytes(model)
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:
        raise ModelError(
            f"the ONNX graph that was written is not valid: {first_line(error)}; "
            "try another --precision, and report the model"
        ) from error
    return data


def leftovers(data: bytes, arch: str) -> dict[str, str]:
    """Return, by node, what onnxruntime leaves between DequantizeLinear and QuantizeLinear.

    This machine's onnxruntime optimises the file as that of a CPU of `arch` would, at the level
    "extended", and its graph is read. MissingError without onnxruntime, ModelError when it does not
    load the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")
        _optimise(data, arch, optimised)
        graph = ir.load(optimised).graph
    said = "onnxruntime does not fuse it with the DequantizeLinear and QuantizeLinear around it"
    return {node.name or "": said for node in graph if _reads_converted(node)}


def _reads_converted(node: ir.Node) -> bool:
    producers = (value.producer() for value in node.inputs if value is not None)
    return any(one is not None and one.op_type == "DequantizeLinear" for one in producers)


def _optimise(data: bytes, arch: str, path: Path) -> None:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise missing("onnxruntime", "onnx") from error
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    # Its default is by the architecture that it was built for: signed kernels are those of Arm.
    allowed = "0" if arch == "x86_64" else "1"
    options.add_session_config_entry("session.qdqisint8allowed", allowed)
    try:
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class but this
        raise ModelError(
            f"onnxruntime cannot load what was written: {first_line(error)}; "
            "try another --precision, and report the model"
        ) from error
