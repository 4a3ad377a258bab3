"""The version of an operator that a model needs: a runtime refuses one that it is too old for.

The facts are those of tensorflow/lite/tools/versioning/op_version.cc, without the types that the
writer never writes: int4, complex, strings. A version higher than needed shuts out old runtimes;
one too low lets them misread the operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.formats._tflite.builder import Tensor

# Operators, and the dtypes of what they work on with the version that learnt each, where it was not
# the first.
_DTYPES: tuple[tuple[str, Mapping[str, int]], ...] = (
    ("DEPTH_TO_SPACE GREATER L2_NORMALIZATION LESS_EQUAL LOG_SOFTMAX NOT_EQUAL", {"int8": 2}),
    ("SPACE_TO_DEPTH SPLIT_V SQUARED_DIFFERENCE SUM TRANSPOSE_CONV", {"int8": 2}),
    ("AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION GREATER_EQUAL LESS", {"int8": 2, "int16": 3}),
    ("LOGISTIC MAX_POOL_2D MEAN MIRROR_PAD PAD PADV2 REDUCE_MAX", {"int8": 2, "int16": 3}),
    ("REDUCE_MIN RELU6 RSQRT SOFTMAX TANH TOPK_V2", {"int8": 2, "int16": 3}),
    ("EXP FLOOR_MOD LOG REDUCE_PROD", {"int8": 2, "int16": 2}),
    ("EQUAL MAXIMUM MINIMUM SLICE", {"int8": 2, "int16": 4}),
    ("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", {"int8": 2, "int16": 4}),
    ("ABS", {"int8": 2, "uint8": 2, "int16": 3, "int32": 5}),
    ("ADD", {"int8": 2, "int16": 3, "int64": 4}),
    ("ARG_MAX ARG_MIN", {"int8": 2, "bool": 3}),
    ("CONV_2D", {"int8": 3, "int16": 4}),
    ("DEPTHWISE_CONV_2D", {"int8": 3, "int16": 5}),
    ("DEQUANTIZE", {"int8": 2, "int16": 3, "float16": 3}),
    ("FULLY_CONNECTED", {"int8": 4, "int16": 4}),
    ("GATHER", {"int8": 2, "bool": 3, "int16": 4}),
    ("GATHER_ND", {"int16": 3, "bool": 5}),
    ("GELU", {"int8": 2, "uint8": 2}),
    ("LEAKY_RELU", {"int16": 2}),
    ("MUL", {"int8": 2, "int16": 4, "int64": 5}),
    ("RELU", {"int8": 2, "uint8": 2, "int16": 3}),
    ("SIGN", {"int32": 2}),
    ("SPLIT", {"int8": 2, "int32": 3, "int16": 4}),
    ("STRIDED_SLICE", {"int8": 2, "bool": 3}),
    ("SUB", {"int8": 2, "int64": 4, "int16": 5}),
    ("TILE", {"int8": 3}),
    ("TRANSPOSE", {"int8": 2, "bool": 3, "int16": 5}),
)
_OF_DTYPE = {code: versions for codes, versions in _DTYPES for code in codes.split()}
# Operators whose first input is only an axis or a shape.
_SECOND = ("SPLIT", "TRANSPOSE_CONV")
# int16 that stands for itself.
_PLAIN_INT16 = {"ADD": 5, "MUL": 7}
# Either side of a CAST.
_CASTS = {"uint32": 2, "int8": 3, "uint16": 4, "float64": 5, "float16": 5}
# int8 weights beside float activations: with one scale, and with one per channel.
_HYBRID = {"CONV_2D": (2, 5), "DEPTHWISE_CONV_2D": (4, 6), "FULLY_CONNECTED": (3, 12)}
# Operator -> number of axes, from which on -> version.
_OF_RANK: Mapping[str, Mapping[int, int]] = {
    "PAD": {5: 4},
    "PADV2": {5: 4},
    "STRIDED_SLICE": {5: 4},
    "SLICE": {5: 5},
    "TRANSPOSE": {5: 4, 6: 6},
}
# Inputs of different shapes, with more than four axes.
_BROADCAST = {"DIV": 2, "MAXIMUM": 3, "MINIMUM": 3, "SUB": 3}
# What an option asks for, where it is above what it was before there was a choice.
_OF_OPTION: Mapping[str, tuple[tuple[str, int, int], ...]] = {
    "BATCH_MATMUL": (("asymmetricQuantizeInputs", 0, 4),),
    "DEPTHWISE_CONV_2D": (("dilationHFactor", 1, 2), ("dilationWFactor", 1, 2)),
    "FULLY_CONNECTED": (("keepNumDims", 0, 5),),
    "GATHER": (("batchDims", 0, 5),),
    "RESIZE_BILINEAR": (("halfPixelCenters", 0, 3),),
    "RESIZE_NEAREST_NEIGHBOR": (("halfPixelCenters", 0, 3), ("alignCorners", 0, 3)),
    "STRIDED_SLICE": (("ellipsisMask", 0, 6), ("newAxisMask", 0, 6)),
    "TRANSPOSE_CONV": (("fusedActivationFunction", 0, 4),),
}


def version_of(
    code: str, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor], options: Any = None
) -> int:
    """Return the version of operator `code` that knows these dtypes, shapes and options.

    `inputs` are as the file has them, None for one left out; `options` an object of the schema.
    """
    given = [tensor for tensor in inputs if tensor is not None]
    versions = [1, *_of_dtypes(code, given, outputs[0]), *_of_shapes(code, given)]
    if code == "FULLY_CONNECTED" and len(inputs) == 2:
        versions.append(6)  # no bias, and no place for one
    for name, usual, version in _OF_OPTION.get(code, ()):
        if (getattr(options, name, 0) or 0) > usual:
            versions.append(version)
    return max(versions)


def _of_dtypes(code: str, inputs: Sequence[Tensor], output: Tensor) -> Iterator[int]:
    data = inputs[1 if code in _SECOND else 0]
    dtype = str(data.dtype)
    yield _OF_DTYPE.get(code, {}).get(dtype, 1)
    if dtype == "int16" and data.grid is None:
        yield _PLAIN_INT16.get(code, 1)
    if code == "CAST":
        yield max(_CASTS.get(str(side.dtype), 1) for side in (data, output))
    if code == "QUANTIZE" and output.dtype == "int16":
        yield 2
    if code in _HYBRID and dtype == "float32" and (weights := inputs[1]).grid is not None:
        yield _HYBRID[code][weights.grid.axis is not None]
    scales = [float(t.grid.scale) for t in (*inputs, output) if t.grid] if code == "MUL" else []
    if len(scales) == 3 and scales[0] * scales[1] >= scales[2]:
        yield 3  # the product may be on a finer grid than its factors


def _of_shapes(code: str, inputs: Sequence[Tensor]) -> Iterator[int]:
    shapes = [tensor.shape for tensor in inputs]
    rank = len(shapes[0])
    yield max((v for least, v in _OF_RANK.get(code, {}).items() if rank >= least), default=1)
    if code in _BROADCAST and shapes[0] != shapes[1] and max(map(len, shapes)) > 4:
        yield _BROADCAST[code]
    if code == "CONV_2D" and shapes[0][-1] != shapes[1][-1]:
        yield 6  # groups
    if code == "TRANSPOSE_CONV" and len(shapes) == 4:
        yield 3  # a bias
