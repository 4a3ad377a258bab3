"""Small .tflite files, written with the schema's own classes, for whoever needs one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from runtime.tflite import OPERATORS, OURS, THEIRS, TYPES


@dataclass(frozen=True)
class T:
    """A tensor of a model to be built; `free` axes take any size."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None = None
    scale: tuple[float, ...] = ()
    zero: tuple[int, ...] = ()
    axis: int = 0
    free: tuple[int, ...] = ()


Op = tuple[str, Sequence[int], Sequence[int], Any]


def build(
    tensors: Sequence[T],
    operators: Sequence[Op],
    inputs: Sequence[int],
    outputs: Sequence[int],
    metadata: Mapping[str, bytes] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a .tflite file with `metadata` buffers, and `files` in the archive behind it."""
    model = schema.ModelT()
    model.version, model.description = 3, "built by a test"
    model.buffers = [_buffer(b"")]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(tensor, model.buffers) for tensor in tensors]
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    graph.operators, model.operatorCodes = [], []
    for index, (name, takes, gives, options) in enumerate(operators):
        code = schema.OperatorCodeT()
        code.builtinCode = OPERATORS.index(name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, list(takes), list(gives)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        graph.operators.append(operator)
    model.subgraphs, model.metadata = [graph], []
    for name, content in (metadata or {}).items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(_buffer(content))
        model.metadata.append(entry)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()) + _archive(files or {})


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8) if data else None
    return buffer


def _tensor(tensor: T, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.name, made.type, made.shape = tensor.name, TYPES.index(tensor.dtype), list(tensor.shape)
    if tensor.free:
        made.shapeSignature = [
            -1 if axis in tensor.free else size for axis, size in enumerate(tensor.shape)
        ]
    made.hasRank = True
    if tensor.data is not None:
        made.buffer = len(buffers)
        buffers.append(_buffer(np.ascontiguousarray(tensor.data, tensor.dtype).tobytes()))
    if tensor.scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = list(tensor.scale)
        made.quantization.zeroPoint = list(tensor.zero)
        made.quantization.quantizedDimension = tensor.axis
    return made


def _archive(files: Mapping[str, bytes]) -> bytes:
    if not files:
        return b""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def mean_model(
    dtype: str = "float32",
    scale: tuple[float, ...] = (),
    zero: tuple[int, ...] = (),
    shape: tuple[int, ...] = (1, 4, 4, 3),
    **rest: Any,
) -> bytes:
    """Return a model that gives the mean colour of a picture; every axis but the last is free."""
    axes = tuple(a for a in (1, 2, 3) if shape[a] not in (1, 3)) or (1, 2)
    channels = next(size for size in shape[1:] if size in (1, 3))
    tensors = [
        T("image", dtype, shape, scale=scale, zero=zero, free=(0, *axes)),
        T("axes", "int32", (2,), np.array(axes)),
        T("mean", dtype, (1, channels), scale=scale, zero=zero, free=(0,)),
    ]
    return build(tensors, [("MEAN", (0, 1), (2,), schema.ReducerOptionsT())], (0,), (2,), **rest)


def described(
    mean: Sequence[float], std: Sequence[float], labels: str = "", space: int = 1
) -> bytes:
    """Return TFLite metadata: a picture's normalisation and colour space, and a label file."""
    b = flatbuffers.Builder()

    def numbers(values: Sequence[float]) -> int:
        return int(b.CreateNumpyVector(np.asarray(values, np.float32)))

    def table(*fields: tuple[int, Any, str]) -> int:
        b.StartObject(10)
        for slot, value, kind in fields:
            if kind == "byte":
                b.PrependByteSlot(slot, value, 0)
            else:
                b.PrependUOffsetTRelativeSlot(slot, value, 0)
        return int(b.EndObject())

    def vector(*items: int) -> int:
        b.StartVector(4, len(items), 4)
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return int(b.EndVector())

    unit = table((0, 1, "byte"), (1, table((0, numbers(mean), ""), (1, numbers(std), "")), ""))
    content = table((0, 2, "byte"), (1, table((0, space, "byte")), ""))
    picture = table((3, content, ""), (4, vector(unit), ""))
    answer = table()
    if labels:
        file = table((0, b.CreateString(labels), ""), (2, 2, "byte"))
        answer = table((6, vector(file), ""))
    graph = table((2, vector(picture), ""), (3, vector(answer), ""))
    b.Finish(table((0, b.CreateString("a mean"), ""), (3, vector(graph), "")), b"M001")
    return bytes(b.Output())


def facts(text: str) -> dict[str, bytes]:
    """Return our metadata buffer with this content."""
    return {OURS: text.encode()}


def theirs(*arguments: Any, **named: Any) -> dict[str, bytes]:
    """Return TFLite's metadata buffer, as `described` makes it."""
    return {THEIRS: described(*arguments, **named)}
