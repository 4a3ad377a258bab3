"""Softmax and its logarithm in TFLite, over every axis."""

from __future__ import annotations

import pytest

from tests.converters.op_matrix import OpCase, check_float, check_int8

FLAT = "f = Flatten (x)"
# XNNPACK and onnxruntime approximate e^x by polynomials, each within some 2 ulps, of arguments
# that they round first: x - max(x) is up to 4 here, so half an ulp of it is 2 ulps of e^x; and
# they sum in different orders.
ULPS = 16
CASES = [
    OpCase("y = Softmax <axis = 1> (x)", operators="SOFTMAX", ulps=ULPS, terms=4),
    OpCase("y = Softmax (x)", operators="TRANSPOSE SOFTMAX", ulps=ULPS, terms=8),
    OpCase("y = Softmax <axis = -2> (x)", operators="TRANSPOSE SOFTMAX", ulps=ULPS, terms=8),
    OpCase(f"{FLAT} y = Softmax <axis = 1> (f)", outputs="float[N,M] y", ulps=ULPS, terms=256,
           operators="RESHAPE SOFTMAX GATHER", integer=False),  # all shares below 1/16
    OpCase("t = Transpose <perm = [0, 2, 3, 1]> (x) y = Softmax (t)", operators="SOFTMAX",
           ulps=ULPS, terms=4),
    OpCase("t = Reshape (x, third) y = Softmax <axis = 1> (t)", {"third": [1, 4, 64]}, ulps=ULPS,
           terms=4, outputs="float[N,M,O] y", operators="RESHAPE SOFTMAX"),
    OpCase("y = LogSoftmax <axis = 1> (x)", operators="LOG_SOFTMAX", ulps=ULPS),
    OpCase("y = LogSoftmax <axis = 3> (x)", operators="TRANSPOSE LOG_SOFTMAX", ulps=ULPS),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)
