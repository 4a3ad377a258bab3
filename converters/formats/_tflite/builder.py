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

from converters.formats._tflite.sharing import Step, overwritten
from converters.formats._tflite.versions import version_of
from converters.graphs import Array
from converters.quantize.grid import Grid
from device_profiles.errors import missing

# numpy's dtype -> the name in the schema's TensorType.
DTYPES = {
    **{f"{t}{b}": f"{t.upper()}{b}" for t in ("int", "uint") for b in (8, 16, 32, 64)},
    **{"float16": "FLOAT16", "float32": "FLOAT32", "float64": "FLOAT64", "bool": "BOOL"},
}

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
        self._added: list[Tensor] = []  # the same ones, as they were asked for
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
    ) -> None:
        """Add an operator by its name in the schema; None stands for an input left out.

        `options` is an object of the schema.
        """
        s = self.schema
        version = version_of(code, inputs, outputs, options)
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
        self._operators = self._read({tensor.index for tensor in outputs.values()})
        self._unshare()
        subgraph = s.SubGraphT(
            tensors=self._tensors,
            inputs=[tensor.index for tensor in inputs.values()],
            outputs=[tensor.index for tensor in outputs.values()],
            operators=self._operators,
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

    def _unshare(self) -> None:
        """Give operators that would write over what is read later a copy to write over."""
        codes = [code for code, _ in self._codes]
        steps = [
            Step(codes[one.opcodeIndex], tuple(one.inputs), tuple(one.outputs))
            for one in self._operators
        ]
        places = overwritten(steps)
        operators, self._operators = self._operators, []
        for position, operator in enumerate(operators):
            for place in [place for at, place in places if at == position]:
                operator.inputs[place] = self._copied(self._added[operator.inputs[place]]).index
            self._operators.append(operator)

    def _copied(self, tensor: Tensor) -> Tensor:
        made = self.tensor("", tensor.shape, tensor.dtype, tensor.grid)
        # The one operator with an input of any dtype and rank whose result is its own.
        self.operator("CONCATENATION", [tensor], [made], self.schema.ConcatenationOptionsT())
        return made

    def _tensor(self, name: str, tensor: Tensor, buffer: int) -> Tensor:
        s = self.schema
        self._added.append(tensor)
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
