"""Concat in TFLite: along any axis, of parts in any layout, of constants, on different grids."""

from __future__ import annotations

import numpy as np
import pytest

from converters.quantize.plan import Scheme
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]

CASES = [
    *(
        OpCase(f"a = Relu (x) y = Concat <axis = {axis}> (x, a)", operators="RELU CONCATENATION")
        for axis in (0, 1, 2, 3, -1, -4)
    ),
    OpCase("y = Concat <axis = 1> (x, x, x)", operators="CONCATENATION"),
    OpCase("y = Concat <axis = 1> (x)", operators="CONCATENATION"),
    OpCase("y = Concat <axis = 1> (x, w)", {"w": (1, 3, 8, 8)}, operators="CONCATENATION"),
    OpCase("y = Concat <axis = 3> (w, x, w)", {"w": (1, 4, 8, 2)}, operators="CONCATENATION"),
    # On grids of their own, that of the second eight times as coarse.
    OpCase(
        "b = Mul (x, k) y = Concat <axis = 1> (x, b)", {"k": 8.0},
        operators="MUL CONCATENATION",
    ),
    # A border of a number that the grid of x holds.
    OpCase("y = Concat <axis = 2> (w, x)", {"w": np.full((1, 4, 1, 8), 1.5, np.float32)}),
    # Parts in different layouts: one of them moves.
    OpCase(
        "t = Transpose <perm = [0, 1, 3, 2]> (x) y = Concat <axis = 2> (t, x)",
        operators="TRANSPOSE CONCATENATION",
    ),
    # Without a batch, and with an axis more.
    OpCase(
        "r = Reshape (x, f) y = Concat <axis = 1> (r, w)",
        {"f": [4, 64], "w": (4, 3)}, outputs="float[N,M] y",
    ),
    OpCase(
        "r = Reshape (x, f) y = Concat <axis = -1> (r, w)",
        {"f": [1, 2, 2, 8, 8], "w": (1, 2, 2, 8, 1)}, outputs="float[N,M,O,P,Q] y",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    check_int8(case, scheme)
