"""The versions of TFLite's operators: as op_version.cc states them, not one higher or lower."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.formats import tflite
from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.versions import version_of
from converters.quantize.grid import Grid
from tests.converters.op_matrix import OpCase

# What a tensor is: `dtype`, `:` its sizes, `@` its scale or, with `/`, one per index of axis 0.
# Then the version. Inputs are separated by blanks; `->` comes before the output, which is as the
# first input where nothing is said.
DTYPES = """
ADD float32:4 float32:4 = 1                 ADD int8:4@1 int8:4@1 = 2
ADD int16:4@1 int16:4@1 = 3                 ADD int64:4 int64:4 = 4
ADD int16:4 int16:4 = 5                     SUB int16:4@1 int16:4@1 = 5
MUL int8:4@.1 int8:4@.1 -> int8:4@.02 = 2   MUL int8:4@.1 int8:4@.1 -> int8:4@.01 = 3
MUL int16:4@.1 int16:4@.1 = 4               MUL int64:4 int64:4 = 5
MUL int16:4 int16:4 = 7                     LEAKY_RELU int8:4@1 = 1
LEAKY_RELU int16:4@1 = 2                    RELU int16:4@1 = 3
RELU6 int8:4@1 = 2                          HARD_SWISH int8:4@1 = 1
QUANTIZE float32:4 -> int8:4@1 = 1          QUANTIZE float32:4 -> int16:4@1 = 2
QUANTIZE int16:4@2 -> int16:4@1 = 2         DEQUANTIZE int8:4@1 -> float32:4 = 2
DEQUANTIZE uint8:4@1 -> float32:4 = 1       DEQUANTIZE float16:4 -> float32:4 = 3
DEQUANTIZE int16:4@1 -> float32:4 = 3       CAST uint8:4 -> float32:4 = 1
CAST float32:4 -> int8:4 = 3                CAST uint32:4 -> float16:4 = 5
SPLIT int32: int8:4@1 = 2                   SPLIT int32: float32:4 = 1
SPLIT int32: int16:4@1 = 4                  TILE int8:4@1 int32:1 = 3
LOG int8:4@1 = 2                            GELU int8:4@1 = 2
DEPTH_TO_SPACE int8:1,2,2,4@1 = 2           STRIDED_SLICE int16:4@1 int32:1 = 1
GATHER int16:4@1 int32:1 = 4                REDUCE_MIN int16:4@1 int32:1 = 3
RESIZE_NEAREST_NEIGHBOR int16:1,2,2,4@1 int32:2 = 4
"""
WEIGHTED = """
CONV_2D float32:1,8,8,4 float32:2,3,3,4 float32:2 = 1
CONV_2D float32:1,8,8,4 float32:2,3,3,2 float32:2 = 6
CONV_2D int8:1,8,8,4@1 int8:2,3,3,4/1 int32:2/1 = 3
CONV_2D int16:1,8,8,4@1 int8:2,3,3,4/1 int64:2/1 = 4
CONV_2D float32:1,8,8,4 int8:2,3,3,4@1 float32:2 = 2
CONV_2D float32:1,8,8,4 int8:2,3,3,4/1 float32:2 = 5
DEPTHWISE_CONV_2D int8:1,8,8,4@1 int8:1,3,3,4/1 int32:4/1 = 3
DEPTHWISE_CONV_2D int16:1,8,8,4@1 int8:1,3,3,4/1 int64:4/1 = 5
DEPTHWISE_CONV_2D float32:1,8,8,4 int8:1,3,3,4/1 float32:4 = 6
FULLY_CONNECTED float32:1,4 float32:2,4 float32:2 = 1
FULLY_CONNECTED float32:1,4 float32:2,4 = 6
FULLY_CONNECTED int8:1,4@1 int8:2,4/1 int32:2/1 = 4
FULLY_CONNECTED float32:1,4 int8:2,4@1 float32:2 = 3
FULLY_CONNECTED float32:1,4 int8:2,4/1 float32:2 = 12
TRANSPOSE_CONV int32:4 float32:2,3,3,4 float32:1,8,8,4 = 1
TRANSPOSE_CONV int32:4 int8:2,3,3,4/1 int8:1,8,8,4@1 = 2
TRANSPOSE_CONV int32:4 int8:2,3,3,4/1 int16:1,8,8,4@1 int64:2/1 = 3
"""
SHAPES = """
PAD float32:1,1,2,2 int32:4,2 = 1           PAD float32:1,1,1,2,2 int32:5,2 = 4
SLICE float32:1,1,1,2 int32:4 int32:4 = 1   SLICE int8:1,1,1,2,2@1 int32:5 int32:5 = 5
TRANSPOSE int8:1,1,2,2@1 int32:4 = 2        TRANSPOSE int8:1,1,1,2,2@1 int32:5 = 4
TRANSPOSE int16:1,1,1,2,2@1 int32:5 = 5     TRANSPOSE float32:1,1,1,1,2,2 int32:6 = 6
STRIDED_SLICE float32:1,1,1,2,2 int32:5 = 4 DIV float32:1,1,1,2,2 float32:1 = 2
MAXIMUM float32:1,1,1,2,2 float32:1 = 3     MAXIMUM int8:1,1,1,2,2@1 int8:1,1,1,2,2@1 = 2
SUB float32:1,1,2,2 float32:1 = 1           SUB int8:1,1,1,2,2@1 int8:1@1 = 3
"""
OPTIONS = [
    ("RESIZE_BILINEAR int8:1,2,2,4@1 int32:2", {"halfPixelCenters": True}, 3),
    ("RESIZE_BILINEAR float32:1,2,2,4 int32:2", {"alignCorners": True}, 1),
    ("RESIZE_NEAREST_NEIGHBOR float32:1,2,2,4 int32:2", {"alignCorners": True}, 3),
    ("DEPTHWISE_CONV_2D float32:1,8,8,4 float32:1,3,3,4", {"dilationWFactor": 1}, 1),
    ("DEPTHWISE_CONV_2D float32:1,8,8,4 float32:1,3,3,4", {"dilationWFactor": 2}, 2),
    ("FULLY_CONNECTED int8:1,4@1 int8:2,4/1 int32:2/1", {"keepNumDims": True}, 5),
    ("TRANSPOSE_CONV int32:4 int8:2,3,3,4/1 int8:1,8,8,4@1", {"fusedActivationFunction": 1}, 4),
    ("STRIDED_SLICE int8:4@1 int32:1", {"newAxisMask": 1}, 6),
    ("GATHER float32:4 int32:1", {"batchDims": 1}, 5),
]


def tensor(text: str) -> Tensor:
    found = re.fullmatch(r"(\w+):([\d,]*)(?:([@/])(.+))?", text)
    assert found, text
    dtype, sizes, kind, scale = found.groups()
    shape = tuple(int(size) for size in sizes.split(",") if size)
    grid = None
    if kind:
        count = () if kind == "@" else (shape[0],)
        scales = np.full(count, float(scale), np.float32)
        grid = Grid(scales, np.zeros(count, dtype), 0 if count else None)
    return Tensor(0, shape, np.dtype(dtype), grid)


def version(operator: str, options: dict[str, Any]) -> int:
    code, *inputs, output = operator.replace(" -> ", " ->").split()
    if not output.startswith("->"):
        inputs, output = [*inputs, output], (inputs or [output])[0]
    given = [tensor(text) for text in inputs]
    return version_of(code, given, [tensor(output.lstrip("->"))], SimpleNamespace(**options))


def stated(text: str) -> list[tuple[str, int]]:
    return [(m[1], int(m[2])) for m in re.finditer(r"([A-Z].*?) = (\d+)", text)]


@pytest.mark.parametrize(("operator", "expected"), stated(DTYPES + WEIGHTED + SHAPES))
def test_version_of_dtypes_and_shapes(operator: str, expected: int) -> None:
    assert version(operator, {}) == expected


@pytest.mark.parametrize(("operator", "options", "expected"), OPTIONS)
def test_version_of_options(operator: str, options: dict[str, Any], expected: int) -> None:
    assert version(operator, options) == expected


def test_a_file_says_the_version_of_each_of_its_operators() -> None:
    body = """
        r = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, , k)
        t = Resize <mode = "linear", coordinate_transformation_mode = "asymmetric"> (x, , k)
        y = Add (r, t)
    """
    case = OpCase(body, {"k": np.array([1, 1, 2, 2], np.float32)})
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite.write(case.model(), {})))
    resize = schema.BuiltinOperator.RESIZE_BILINEAR
    found = {c.version for c in model.operatorCodes if c.builtinCode == resize}
    assert found == {1, 3}
