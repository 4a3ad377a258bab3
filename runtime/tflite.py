"""What is in a .tflite file, read without an interpreter and with every offset checked.

Field numbers are those of the schema (tensorflow/compiler/mlir/lite/schema/schema.fbs).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.flatbuffer import Flatbuffer, Table
from runtime.manifest import TensorSpec
from runtime.tflite_metadata import Described, described

IDENTIFIER = b"TFL3"
# The names of metadata buffers: ours, and that of TFLite's own tools.
OURS = "edge_sdk"
THEIRS = "TFLITE_METADATA"

# enum TensorType, as numpy calls them where it can.
_TYPES = (
    "float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 "
    "uint64 resource variant uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2"
)
TYPES = _TYPES.split()

# enum BuiltinOperator, from code 0.
_OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL
CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST
PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM
MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM
STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT
STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE
STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD
STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW
STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""
OPERATORS = _OPERATORS.split()


@dataclass(frozen=True)
class Quantization:
    """real = (code - zero point) * scale: one pair, or one for each index along `axis`."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """A tensor of the main graph; `shape` has -1 where a size is free, `constant` has its data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool
    quantization: Quantization | None = None

    @property
    def spec(self) -> TensorSpec:
        """Return name, dtype and shape as manifests state them."""
        return TensorSpec(self.name, self.dtype, self.shape)


@dataclass(frozen=True)
class Operator:
    """One step of the main graph: its name (`CUSTOM:x` for a custom one) and its tensors."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class TfliteFile:
    """A .tflite file: the main graph, our facts, and what TFLite's metadata says.

    `facts` are empty in a file not made by us, `described` is None without TFLite's metadata.
    """

    description: str
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    described: Described | None = None

    @property
    def operator_counts(self) -> dict[str, int]:
        """Return how often each operator occurs, most frequent first."""
        return dict(Counter(operator.name for operator in self.operators).most_common())

    @property
    def precision(self) -> str:
        """Return what the weighted operators compute in: `fp32`, `fp16` (weights), `int8-dynamic`
        (8-bit weights, float activations), `int8`, `uint8`, `int16x8`, or several as `a+b`."""
        found = Counter(kind for o in self.operators if (kind := _arithmetic(o)))
        return "+".join(sorted(found)) or "none"


# Types of paddings, axes and shapes.
_COUNTS = ("int32", "int64")


def _arithmetic(operator: Operator) -> str:
    """Return the arithmetic of an operator with weights; nothing for any other.

    Weights are constants of two dimensions or more, other than sizes and indices, which are int32;
    stored as float16, they pass a DEQUANTIZE.
    """
    if operator.name == "DEQUANTIZE":
        half = operator.inputs and operator.inputs[0].dtype == "float16"
        return "fp16" if half and operator.inputs[0].constant else ""
    weights = [
        t for t in operator.inputs if t.constant and len(t.shape) > 1 and t.dtype not in _COUNTS
    ]
    moving = [t for t in operator.inputs if not t.constant]
    if not weights or not moving or operator.name == "RESHAPE":
        return ""
    kinds = moving[0].dtype, weights[0].dtype
    known = {("float32", "float32"): "fp32", ("float32", "int8"): "int8-dynamic",
             ("float32", "float16"): "fp16", ("int16", "int8"): "int16x8",
             ("int8", "int8"): "int8", ("uint8", "uint8"): "uint8"}  # fmt: skip
    return known.get(kinds, f"{kinds[0]}x{kinds[1]}")


def read_tflite(data: bytes) -> TfliteFile:
    """Read a .tflite file; ModelError when it is not one, or not whole."""
    return _Reader(Flatbuffer(data, IDENTIFIER, "TFLite model")).file()


class _Reader:
    """Reads the tables of one model."""

    def __init__(self, buffer: Flatbuffer) -> None:
        self._buffer = buffer
        self._model = buffer.root()
        self._buffers = self._model.tables(4)
        self._sizes = [self._content(table).nbytes for table in self._buffers]
        self._codes = [self._code(table) for table in self._model.tables(1)]

    def file(self) -> TfliteFile:
        graphs = [self._graph(table) for table in self._model.tables(2)]
        if not graphs:
            raise self._buffer.broken("it has no graph")
        inputs, outputs, operators = graphs[0]  # the others are bodies of loops and branches
        metadata = self._metadata()
        theirs = metadata.get(THEIRS)
        return TfliteFile(
            description=self._model.text(3),
            operators=operators,
            inputs=inputs,
            outputs=outputs,
            facts=self._facts(metadata.get(OURS, b"{}")),
            described=None if theirs is None else described(theirs, self._buffer.data),
        )

    def _graph(
        self, graph: Table
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Operator, ...]]:
        tensors = [self._tensor(table) for table in graph.tables(0)]
        ends = (self._pick(tensors, graph, field, least=0) for field in (1, 2))
        operators = []
        for table in graph.tables(3):
            code = table.number(0, "I")
            if code >= len(self._codes):
                raise self._buffer.broken(f"an operator has the code {code}, which is nowhere")
            ports = (self._pick(tensors, table, field, least=-1) for field in (1, 2))
            operators.append(Operator(self._codes[code], *ports))
        return (*ends, tuple(operators))  # type: ignore[return-value]

    def _pick(
        self, tensors: list[Tensor], table: Table, field: int, least: int
    ) -> tuple[Tensor, ...]:
        """Return the tensors that a vector of indices names; -1, if allowed, is one left out."""
        indices = table.numbers(field, "int32").tolist()
        if not all(least <= index < len(tensors) for index in indices):
            raise self._buffer.broken("an operator takes or gives a tensor that is not there")
        return tuple(tensors[index] for index in indices if index >= 0)

    def _code(self, table: Table) -> str:
        # Codes over 127 do not fit the old field, which then holds the placeholder's code.
        code = max(table.number(0, "b"), table.number(3, "i"))
        custom = table.text(1)
        if custom:
            return f"CUSTOM:{custom}"
        return OPERATORS[code] if 0 <= code < len(OPERATORS) else f"UNKNOWN:{code}"

    def _tensor(self, table: Table) -> Tensor:
        shape, free = (table.numbers(field, "int32").tolist() for field in (0, 7))
        kind, name, content = table.number(1, "b"), table.text(3), table.number(2, "I")
        if not 0 <= kind < len(TYPES):
            raise self._buffer.broken(f"tensor {name!r:.60} is of the unknown type {kind}")
        if min(shape, default=0) < 0 or len(free) not in (0, len(shape)):
            raise self._buffer.broken(f"tensor {name!r:.60} has the shape {shape[:8]}")
        if content >= max(len(self._sizes), 1):
            raise self._buffer.broken(f"tensor {name!r:.60} has its data in no buffer")
        known = tuple(-1 if f == -1 else size for size, f in zip(shape, free or shape, strict=True))
        constant = content > 0 and self._sizes[content] > 0
        return Tensor(name, TYPES[kind], known, constant, self._quantization(table.table(4), shape))

    def _quantization(self, table: Table | None, shape: list[int]) -> Quantization | None:
        if table is None or not (scale := table.numbers(2, "float32").tolist()):
            return None
        zero_point = table.numbers(3, "int64").tolist() or [0]
        axis = table.number(6, "i")
        zero_point *= len(scale) if len(zero_point) == 1 else 1
        fits = len(scale) == 1 or (0 <= axis < len(shape) and shape[axis] == len(scale))
        if not fits or len(zero_point) != len(scale) or not all(0 <= s < math.inf for s in scale):
            raise self._buffer.broken("the scales of a tensor do not fit it")
        return Quantization(tuple(scale), tuple(zero_point), axis)

    def _content(self, table: Table) -> NDArray[np.uint8]:
        """Return the data of a buffer, which in large files lies behind the flatbuffer itself."""
        start, size = table.number(1, "Q"), table.number(2, "Q")
        if start > 1:  # 0 and 1 stand for data inside
            start = self._buffer.inside(start, size)
            return np.frombuffer(self._buffer.data, np.uint8, size, start)
        return table.numbers(0, "uint8")

    def _metadata(self) -> dict[str, bytes]:
        found = {}
        for table in self._model.tables(6):
            name, index = table.text(0), table.number(1, "I")
            if name in (OURS, THEIRS):
                if index >= len(self._buffers):
                    raise self._buffer.broken(f"its metadata {name} is in no buffer")
                found[name] = self._content(self._buffers[index]).tobytes()
        return found

    def _facts(self, data: bytes) -> dict[str, str]:
        try:
            facts = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._buffer.broken(f"its metadata {OURS} is not JSON") from error
        if not isinstance(facts, dict) or not all(isinstance(v, str) for v in facts.values()):
            raise self._buffer.broken(f"its metadata {OURS} is not an object of strings")
        return facts
