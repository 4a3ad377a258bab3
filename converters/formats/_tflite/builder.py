"""Builder: tensors and operators in, the bytes of a TFLite flatbuffer out.

The schema is tensorflow/lite/schema/schema.fbs (version 3), through the classes that come with
ai-edge-litert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.graphs import Array
from converters.quantize.grid import Grid
from device_profiles.errors import missing

# numpy's dtype -> the name in the schema's TensorType.
DTYPES = {
    **{f"{t}{b}": f"{t.upper()}{b}" for t in ("int", "uint") for b in (8, 16, 32, 64)},
    **{"float16": "FLOAT16", "float32": "FLOAT32", "float64": "FLOAT64", "bool": "BOOL"},
}

# The version in which each operator learnt 8-bit and 16-bit integers, where it was not the first
# (tensorflow/lite/tools/versioning/op_version.cc). A runtime refuses a version that it is too old
# for. What else raises a version (an input more, more axes) is said where the operator is added.
_TWO = (
    "ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION DEQUANTIZE ABS EXP EQUAL "
    "GATHER GREATER GREATER_EQUAL LEAKY_RELU LESS LESS_EQUAL LOGISTIC LOG_SOFTMAX L2_NORMALIZATION "
    "MAX_POOL_2D MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NOT_EQUAL PAD PADV2 REDUCE_MAX REDUCE_MIN "
    "RELU RELU6 RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V "
    "SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TOPK_V2 TRANSPOSE TRANSPOSE_CONV"
)
_VERSIONS_8 = {
    **dict.fromkeys(_TWO.split(), 2),
    **{"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4},
}
_VERSIONS_DYNAMIC = {"CONV_2D": 5, "FULLY_CONNECTED": 12}
_VERSIONS_16 = {
    **{"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "FULLY_CONNECTED": 4, "TRANSPOSE_CONV": 2},
    **{"LOGISTIC": 3, "TANH": 3, "SOFTMAX": 3, "RELU": 3, "RELU6": 3, "MUL": 4, "ADD": 4, "SUB": 5},
    **{"CONCATENATION": 3, "AVERAGE_POOL_2D": 3, "MAX_POOL_2D": 3, "MEAN": 3, "PAD": 3},
    **{"PADV2": 3, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "SLICE": 4, "SPLIT": 2},
    **{"STRIDED_SLICE": 5, "TRANSPOSE": 5, "QUANTIZE": 3, "DEQUANTIZE": 3, "LEAKY_RELU": 2},
    **{"GATHER": 4, "BATCH_MATMUL": 3, "MAXIMUM": 4, "MINIMUM": 4, "REDUCE_MAX": 3},
    **{"SQUARED_DIFFERENCE": 2, "DEPTH_TO_SPACE": 1, "EXP": 2, "ABS": 3},
}


def version_of(code: str, inputs: Sequence[Tensor | None]) -> int:
    """Return the version that an operator needs for the dtypes and shapes of its inputs."""
    widths = {t.dtype.itemsize for t in inputs if t is not None and t.grid is not None}
    least = _version_of_shapes(code, [t.shape for t in inputs if t is not None])
    first = next((t.grid for t in inputs if t is not None), None)
    if first is None and widths:  # float beside 8-bit weights with a scale per channel
        return max(_VERSIONS_DYNAMIC.get(code, 1), least)
    if 2 in widths:
        return max(_VERSIONS_16.get(code, 1), least)
    return max(_VERSIONS_8.get(code, 1) if 1 in widths else 1, least)


def _version_of_shapes(code: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the version in which an operator learnt to take inputs of these shapes."""
    if code == "CONV_2D" and shapes[0][-1] != shapes[1][-1]:
        return 6  # groups
    if code == "TRANSPOSE_CONV" and len(shapes) == 4:
        return 3  # a bias
    if code == "FULLY_CONNECTED" and len(shapes[0]) != 2:
        return 5  # all axes kept
    return 1


# XNNPACK and NEON kernels load whole vectors from constants.
_ALIGNMENT = 16


def schema() -> ModuleType:
    """Return the module with the schema's classes; MissingError without ai-edge-litert."""
    try:
        import ai_edge_litert.schema_py_generated as found
    except ImportError as error:
        raise missing("ai-edge-litert", "tflite") from error
    module: ModuleType = found
    return module


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the file: `grid` where it is quantized, `data` where it is constant."""

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grid: Grid | None = None
    data: Array | None = None


class Builder:
    """Collects tensors and operators of one subgraph, in the order in which they will run."""

    def __init__(self) -> None:
        self.schema = schema()
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [self.schema.BufferT()]  # the first one is "none", by the spec
        self._operators: list[Any] = []
        self._codes: dict[tuple[str, int], int] = {}
        self._constants: dict[tuple[Any, ...], Tensor] = {}

    def tensor(
        self, name: str, shape: Sequence[int], dtype: np.dtype[Any], grid: Grid | None = None
    ) -> Tensor:
        """Add a tensor that is computed."""
        return self._tensor(name, Tensor(len(self._tensors), tuple(shape), dtype, grid), 0)

    def constant(self, name: str, array: Array, grid: Grid | None = None) -> Tensor:
        """Add a constant, or return the one added before with the same content."""
        data = np.ascontiguousarray(array).reshape(array.shape)
        scales = None if grid is None else (*np.ravel(grid.scale), *np.ravel(grid.zero_point))
        key = (data.tobytes(), data.shape, data.dtype, scales, grid and grid.axis)
        if key not in self._constants:
            tensor = Tensor(len(self._tensors), data.shape, data.dtype, grid, data)
            self._constants[key] = self._tensor(name, tensor, self._buffer(data.tobytes()))
        return self._constants[key]

    def rename(self, tensor: Tensor, name: str) -> None:
        """Give a tensor another name."""
        self._tensors[tensor.index].name = name

    def operator(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: Any = None,
        version: int = 0,
    ) -> None:
        """Add an operator by its name in the schema; None stands for an input left out.

        `options` is an object of the schema. `version` 0 takes the one that its dtypes need.
        """
        s = self.schema
        version = version or version_of(code, inputs)
        known = self._codes.setdefault((code, version), len(self._codes))
        operator = s.OperatorT(
            opcodeIndex=known,
            inputs=[-1 if tensor is None else tensor.index for tensor in inputs],
            outputs=[tensor.index for tensor in outputs],
        )
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            second = hasattr(s.BuiltinOptions2, kind)
            union = s.BuiltinOptions2 if second else s.BuiltinOptions
            suffix = "2" if second else ""
            setattr(operator, f"builtinOptions{suffix}Type", getattr(union, kind))
            setattr(operator, f"builtinOptions{suffix}", options)
        self._operators.append(operator)

    def finish(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        metadata: Mapping[str, bytes],
    ) -> bytes:
        """Return the file: `inputs` and `outputs` by name, and entries of metadata."""
        import flatbuffers

        s = self.schema
        subgraph = s.SubGraphT(
            tensors=self._tensors,
            inputs=[tensor.index for tensor in inputs.values()],
            outputs=[tensor.index for tensor in outputs.values()],
            operators=self._read({tensor.index for tensor in outputs.values()}),
            name="main",
        )
        model = s.ModelT(
            version=3,
            description="edge-sdk",
            operatorCodes=[self._code(*key) for key in self._codes],
            subgraphs=[subgraph],
            metadata=[
                s.MetadataT(name=name, buffer=self._buffer(data)) for name, data in metadata.items()
            ],
            signatureDefs=[self._signature(inputs, outputs)],
            buffers=self._buffers,
        )
        file = flatbuffers.Builder(1 << 20)
        file.Finish(model.Pack(file), b"TFL3")
        return bytes(file.Output())

    def _read(self, wanted: set[int]) -> list[Any]:
        """Return the operators, in order, without those whose results nothing reads."""
        kept = []
        for operator in reversed(self._operators):
            if wanted.intersection(operator.outputs):
                wanted.update(operator.inputs)
                kept.append(operator)
        return kept[::-1]

    def _tensor(self, name: str, tensor: Tensor, buffer: int) -> Tensor:
        s = self.schema
        self._tensors.append(
            s.TensorT(
                shape=np.array(tensor.shape, np.int32),
                type=getattr(s.TensorType, DTYPES[str(tensor.dtype)]),
                buffer=buffer,
                name=name,
                quantization=None if tensor.grid is None else self._quantization(tensor.grid),
                hasRank=True,
            )
        )
        return tensor

    def _quantization(self, grid: Grid) -> Any:
        return self.schema.QuantizationParametersT(
            scale=np.ravel(grid.scale).astype(np.float32),
            zeroPoint=np.ravel(grid.zero_point).astype(np.int64),
            quantizedDimension=grid.axis or 0,
        )

    def _buffer(self, data: bytes) -> int:
        self._buffers.append(_Aligned(self.schema, data))
        return len(self._buffers) - 1

    def _code(self, name: str, version: int) -> Any:
        number = getattr(self.schema.BuiltinOperator, name)
        # Old readers only know the field of one byte, where 127 stands for "see the other".
        return self.schema.OperatorCodeT(
            builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=version
        )

    def _signature(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Any:
        s = self.schema
        maps = [
            [s.TensorMapT(name=name, tensorIndex=tensor.index) for name, tensor in side.items()]
            for side in (inputs, outputs)
        ]
        return s.SignatureDefT(inputs=maps[0], outputs=maps[1], signatureKey="serving_default")


class _Aligned:
    """A buffer as the schema wants it, `force_align: 16`; the generated BufferT does not align."""

    def __init__(self, schema: ModuleType, data: bytes) -> None:
        self._schema = schema
        self._data: NDArray[np.uint8] = np.frombuffer(data, np.uint8)

    def Pack(self, builder: Any) -> Any:
        """Write the buffer and return its offset."""
        size = len(self._data)
        builder.StartVector(1, size, _ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = self._data.tobytes()
        data = builder.EndVector()
        self._schema.BufferStart(builder)
        self._schema.BufferAddData(builder, data)
        return self._schema.BufferEnd(builder)
