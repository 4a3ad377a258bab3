"""`net.onnx`: a float ONNX model from any exporter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from converters.capture import (
    IR_VERSION,
    OPSET,
    Captured,
    FloatArray,
    first_line,
    noise,
    refuse_training,
)
from converters.loaders.base import LoadOptions
from device_profiles.errors import EngineError, ModelError, missing
from runtime.contract import InputContract
from runtime.engines import Engine, EngineOptions, open_engine

if TYPE_CHECKING:
    from onnx import ModelProto

_QUANTIZED = {  # and QLinear*
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
}
# The share of an output's largest magnitude by which an upgraded graph may differ: it computes the
# same sums in other operators, so no more than float32 rounding (6e-8) of some 1000 terms.
_ROUNDING = 1e-4


def accepts(spec: str) -> bool:
    """Tell whether `spec` ends in `.onnx`."""
    return spec.endswith(".onnx")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Read the file, fix its free dimensions, bring it to our opset, and keep it as reference."""
    path = Path(spec)
    if options.weights:
        raise ModelError(f"{spec} carries its weights; leave --weights out")
    if not path.is_file():
        raise ModelError(f"{spec}: no such file; give the path of an .onnx model")
    model, origin = _read(path)
    _refuse_quantized(model, spec)
    value = _only_input(model, spec)
    layout = _Layout.of(value, spec)
    contract = options.contract(None, layout.size)
    shape = layout.fixed(contract, spec)
    value.shape = ir.Shape(shape)
    _forget_shapes(model)
    try:
        reference = EngineReference(_open(model), layout.channels_last)
        graph = _upgrade(model, spec)
        refuse_training(graph, spec)
        sample = noise(shape).transpose(0, 3, 1, 2) if layout.channels_last else noise(shape)
        _prove(reference, graph, sample, layout.batch, spec)
    except EngineError as error:
        raise ModelError(f"{spec} does not run: {error}; export it again") from error
    return Captured(path.stem, graph, reference, contract, origin=origin)


@dataclass(frozen=True)
class _Layout:
    """The dimensions of a 4-D image input; 0 where the file leaves one free."""

    batch: int
    channels: int
    height: int
    width: int
    channels_last: bool

    @classmethod
    def of(cls, value: ir.Value, spec: str) -> _Layout:
        if value.shape is None or len(value.shape) != 4:
            raise ModelError(
                f"{spec}: input {value.name} has shape {value.shape}; a CNN for images, "
                "with a 4-D input, is needed"
            )
        dims = [d if isinstance(d, int) and d > 0 else 0 for d in value.shape]
        if dims[3] in (1, 3) and dims[1] not in (1, 3):
            return cls(dims[0], dims[3], dims[1], dims[2], True)
        return cls(dims[0], dims[1], dims[2], dims[3], False)

    @property
    def size(self) -> tuple[int, int] | None:
        return (self.height, self.width) if self.height and self.width else None

    def fixed(self, contract: InputContract | None, spec: str) -> tuple[int, ...]:
        """Return the input's shape at batch 1, its free dimensions taken from the contract."""
        if contract is None and 0 in (self.channels, self.height, self.width):
            raise ModelError(
                f"{spec} leaves dimensions of its input free; state them with --preprocess, "
                "for example: --preprocess unit,height=320,width=320"
            )
        channels = self.channels or (contract.channels if contract else 0)
        height = self.height or (contract.height if contract else 0)
        width = self.width or (contract.width if contract else 0)
        if self.channels_last:
            return 1, height, width, channels
        return 1, channels, height, width


class EngineReference:
    """An ONNX model as a `Reference`, run without any graph optimisation."""

    def __init__(self, engine: Engine, channels_last: bool) -> None:
        self._engine = engine
        self._channels_last = channels_last

    def of(self, engine: Engine) -> EngineReference:
        """Return the reference that feeds another engine as this one is fed."""
        return EngineReference(engine, self._channels_last)

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """Run the model image by image; its batch size is 1."""
        if self._channels_last:
            batch = batch.transpose(0, 2, 3, 1)
        batch = np.ascontiguousarray(batch)
        rows = [self._engine.run([batch[i : i + 1]]) for i in range(len(batch))]
        return [
            (np.concatenate(parts) if len(parts) > 1 else parts[0]).astype(np.float32)
            for parts in zip(*rows, strict=True)
        ]


def _open(model: ir.Model) -> Engine:
    data = ir.to_proto(model).SerializeToString()
    return open_engine("onnxruntime", data, EngineOptions(simulate=True))


def _read(path: Path) -> tuple[ir.Model, dict[str, Any]]:
    try:
        import onnx
        from onnx import inliner
    except ImportError as error:
        raise missing("onnx", "convert") from error
    try:
        proto = onnx.load(path, load_external_data=False)
        origin: dict[str, Any] = {"model": path.name, "sha256": _digest(path)}
        if beside := _beside(proto):
            onnx.load_external_data_for_model(proto, str(path.parent))
            origin["data_sha256"] = {name: _digest(path.parent / name) for name in beside}
        # onnx's own checker refuses some models that run; whether one runs is seen soon.
        if not proto.graph.node:
            raise ValueError("it holds no graph")
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        model = ir.from_proto(proto)
    except Exception as error:
        raise ModelError(
            f"{path} is not a valid ONNX model: {first_line(error)}; export or fetch it again, "
            "with the data file beside it if it has one"
        ) from error
    RemoveInitializersFromInputsPass()(model)
    model.ir_version = IR_VERSION
    return model, origin


def _beside(proto: ModelProto) -> list[str]:
    """Return the names of the files that hold weights of the model outside of it."""
    entries = (entry for tensor in proto.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _refuse_quantized(model: ir.Model, spec: str) -> None:
    found = {node.op_type for node in model.graph.all_nodes()}
    quantized = sorted(op for op in found if op in _QUANTIZED or op.startswith("QLinear"))
    if quantized:
        raise ModelError(
            f"{spec} is already quantized ({', '.join(quantized)}); "
            "give the float model it came from"
        )


def _only_input(model: ir.Model, spec: str) -> ir.Value:
    inputs = model.graph.inputs
    if len(inputs) != 1:
        names = ", ".join(str(v.name) for v in inputs)
        raise ModelError(f"{spec} has {len(inputs)} inputs ({names}); a CNN with one is needed")
    if inputs[0].dtype != ir.DataType.FLOAT:
        raise ModelError(
            f"{spec}: input {inputs[0].name} is {inputs[0].dtype}; "
            "export the model with float32 input, before any quantization or preprocessing"
        )
    return inputs[0]


def _forget_shapes(model: ir.Model) -> None:
    # They speak of dimensions that are now fixed, and some exporters get them wrong.
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None


def _upgrade(model: ir.Model, spec: str) -> ir.Model:
    import onnx
    from onnx import version_converter

    proto = ir.to_proto(model)
    opset = model.opset_imports.get("", OPSET)
    try:
        if opset != OPSET:
            proto = version_converter.convert_version(proto, OPSET)
        if opset < 11:
            _keep_resizing(proto)
        # Not strict: the model runs, so a rule that it breaks is not one that matters.
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:
        raise ModelError(
            f"{spec} cannot be brought from opset {opset} to {OPSET}: "
            f"{first_line(error)}; export it again with opset {OPSET}"
        ) from error
    return ir.from_proto(proto)


def _keep_resizing(proto: ModelProto) -> None:
    # Upsample, and Resize before opset 11, take pixel i from i / scale. onnx's converter leaves
    # that unsaid (version_converter/adapters/resize_10_11.h), and the default became another.
    from onnx import helper

    for node in proto.graph.node:
        if node.op_type == "Resize":
            asymmetric = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            known = {attribute.name for attribute in node.attribute}
            node.attribute.extend(
                helper.make_attribute(k, v) for k, v in asymmetric.items() if k not in known
            )


def _prove(
    reference: EngineReference, graph: ir.Model, sample: FloatArray, batch: int, spec: str
) -> None:
    """Hold the graph against the file on one input; fill in output shapes that nothing infers.

    `batch` is what the file fixes its batch size at, 0 where it does not.
    """
    before = reference(sample)
    engine = _open(graph)
    after = reference.of(engine)(sample)
    engine.close()
    for value, old, new in zip(graph.graph.outputs, before, after, strict=True):
        if batch > 1 and old.shape[:1] != (1,):
            raise ModelError(
                f"{spec}: its batch is fixed at {batch}, and output {value.name} depends "
                "on that; export it with a batch of 1"
            )
        bound = _ROUNDING * np.abs(old).max(initial=0)
        if old.shape != new.shape or not np.allclose(old, new, rtol=0, atol=bound, equal_nan=True):
            raise ModelError(
                f"{spec}: output {value.name} is another after the upgrade to opset {OPSET}; "
                f"export it again with opset {OPSET}"
            )
        if value.shape is None:
            value.shape = ir.Shape(new.shape)
