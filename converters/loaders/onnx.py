"""`net.onnx`: a float ONNX model from any exporter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from converters.capture import OPSET, Captured, FloatArray, first_line
from converters.loaders.base import LoadOptions
from device_profiles.errors import ModelError
from runtime.contract import InputContract
from runtime.engines import Engine, EngineOptions, open_engine

_QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"}


def accepts(spec: str) -> bool:
    """Tell whether `spec` ends in `.onnx`."""
    return spec.endswith(".onnx")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Read the file, fix its free dimensions, bring it to our opset, and keep it as reference."""
    path = Path(spec)
    if options.weights:
        raise ModelError(f"{spec} carries its weights; leave --weights out")
    if not path.is_file():
        raise ModelError(f"{spec}: no such file")
    graph = _read(path)
    value = _only_input(graph, spec)
    layout = _Layout.of(value, spec)
    contract = options.contract(None, layout.size)
    value.shape = ir.Shape(layout.fixed(contract, spec))
    fixed = ir.to_proto(graph).SerializeToString()
    engine = open_engine("onnxruntime", fixed, EngineOptions(simulate=True))
    origin = {"model": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    reference = EngineReference(engine, layout.channels_last)
    return Captured(path.stem, _upgrade(graph, spec), reference, contract, origin=origin)


@dataclass(frozen=True)
class _Layout:
    """The dimensions of a 4-D image input; 0 where the file leaves one free."""

    channels: int
    height: int
    width: int
    channels_last: bool

    @classmethod
    def of(cls, value: ir.Value, spec: str) -> _Layout:
        if value.shape is None or len(value.shape) != 4:
            raise ModelError(f"{spec}: input {value.name} has shape {value.shape}; 4-D is needed")
        dims = [d if isinstance(d, int) and d > 0 else 0 for d in value.shape]
        if dims[3] in (1, 3) and dims[1] not in (1, 3):
            return cls(dims[3], dims[1], dims[2], True)
        return cls(dims[1], dims[2], dims[3], False)

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

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """Run the model image by image; its batch size is 1."""
        if self._channels_last:
            batch = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
        rows = [self._engine.run([batch[i : i + 1]]) for i in range(len(batch))]
        return [np.concatenate(p).astype(np.float32) for p in zip(*rows, strict=True)]


def _only_input(model: ir.Model, spec: str) -> ir.Value:
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    if len(inputs) != 1:
        names = ", ".join(str(v.name) for v in inputs)
        raise ModelError(f"{spec} has {len(inputs)} inputs ({names}); a CNN with one is needed")
    return inputs[0]


def _read(path: Path) -> ir.Model:
    import onnx

    try:
        proto = onnx.load(path)
        onnx.checker.check_model(proto)
        graph = ir.from_proto(proto)
    except Exception as error:
        raise ModelError(f"{path} is not a valid ONNX model: {first_line(error)}") from error
    found = sorted({node.op_type for node in graph.graph} & _QUANTIZED)
    if found:
        raise ModelError(
            f"{path} is already quantized ({', '.join(found)}); give the float model it came from"
        )
    return graph


def _upgrade(model: ir.Model, spec: str) -> ir.Model:
    import onnx
    from onnx import version_converter

    proto = ir.to_proto(model)
    try:
        if model.opset_imports.get("", OPSET) < OPSET:
            proto = version_converter.convert_version(proto, OPSET)
        del proto.graph.value_info[:]
        proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ModelError(
            f"{spec} cannot be brought from opset {model.opset_imports.get('')} to {OPSET}: "
            f"{first_line(error)}; export it again with opset {OPSET}"
        ) from error
    return ir.from_proto(proto)
