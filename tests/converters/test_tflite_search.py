"""ArgMax, ArgMin and TopK in TFLite."""

from __future__ import annotations

from typing import Any

import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8, operators

PLACES = "int64[N,M,O,P] y"
FEWER = "int64[N,M,O] y"
BOTH = "float[N,M,O,P] y, int64[N,M,O,P] i"
THIRD: dict[str, Any] = {"third": [1, 4, 64], "k": [5]}


def case(body: str, operators: str, outputs: str, **constants: Any) -> OpCase:
    return OpCase(body, constants, operators=operators, outputs=outputs, integer=False)


CASES = [
    case("y = ArgMax <axis = 1> (x)", "ARG_MAX RESHAPE", PLACES),
    case("y = ArgMax <axis = 1, keepdims = 0> (x)", "ARG_MAX", FEWER),
    case("y = ArgMax <axis = -1, keepdims = 0> (x)", "ARG_MAX", FEWER),
    case("y = ArgMax <axis = 2> (x)", "ARG_MAX RESHAPE", PLACES),
    case("y = ArgMin <axis = 1, keepdims = 0> (x)", "ARG_MIN", FEWER),
    case("f = Flatten (x) y = ArgMax <axis = 1, keepdims = 0> (f)", "RESHAPE GATHER ARG_MAX",
         "int64[N] y"),
    # The numbers are multiples of 1/64: many are the same, and the first of them comes first.
    case("y, i = TopK (x, k)", "TRANSPOSE TOPK_V2 CAST", BOTH, k=[3]),
    case("y, i = TopK <axis = 1> (x, k)", "TOPK_V2 CAST", BOTH, k=[2]),
    case("y, i = TopK <axis = 1, largest = 0> (x, k)", "NEG TOPK_V2 NEG CAST", BOTH, k=[4]),
    case("r = Reshape (x, third) y, i = TopK (r, k)", "RESHAPE TRANSPOSE TOPK_V2 CAST",
         "float[N,M,O] y, int64[N,M,O] i", **THIRD),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


def test_bytes_are_compared_as_they_are() -> None:
    """The classes of a segmentation: no real numbers are made of int8 for it."""
    body = "h = Conv (x, w) y = ArgMax <axis = 1, keepdims = 0> (h)"
    data = check_int8(OpCase(body, {"w": (5, 4, 1, 1)}, outputs=FEWER, integer=False))
    assert operators(data)["DEQUANTIZE"] == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y = ArgMax <axis = 1, select_last_index = 1> (x)", "select_last_index"),
        ("i = ArgMax <axis = 1> (x) j = ReduceMax <keepdims = 0> (i) k = Unsqueeze (j, zero) "
         "y, n = TopK <axis = 1> (x, k)", "constant k"),
    ],
)  # fmt: skip
def test_refused(body: str, words: str) -> None:
    outputs = PLACES if "select" in words else "float[N,M,O,P] y"
    case = OpCase(body, {"zero": [0]} if "zero" in body else {}, outputs=outputs)
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
