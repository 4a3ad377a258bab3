"""Comparisons, logic and choosing between two values in TFLite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

CODES = {
    "Equal": "EQUAL", "Greater": "GREATER", "GreaterOrEqual": "GREATER_EQUAL", "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
}  # fmt: skip
LOGIC = {"And": "LOGICAL_AND", "Or": "LOGICAL_OR", "Xor": "NOT_EQUAL", "Equal": "EQUAL"}
HALF = {"h": 0.5, "w": (4, 1, 1), "z": 0.25}
CASES = [
    *(
        OpCase(f"q = {op} ({order}) y = Where (q, x, z)", HALF, operators=f"{code} SELECT_V2")
        for op, code in CODES.items()
        for order in (("x, h",) if op == "Equal" else ("x, h", "w, x"))
    ),
    *(
        OpCase(
            f"q = Greater (x, z) d = Greater (x, h) e = {op} (q, d) y = Cast <to = 1> (e)", HALF,
            operators=f"GREATER GREATER {code} CAST",
        )
        for op, code in LOGIC.items()
    ),
    OpCase("q = Less (x, w) d = Not (q) y = Where (d, x, w)", HALF),
    OpCase("q = Less (x, w) y = Where (q, z, w)", HALF),
    OpCase("g = GlobalAveragePool (x) q = Greater (g, z) y = Where (q, x, w)", HALF),
    OpCase("q = Greater (x, h) y = Where (q, w, x)", {**HALF, "w": (2, 4, 1, 8)}),
    OpCase("m = Mul (x, h) q = LessOrEqual (m, x) y = Where (q, m, x)", HALF),
    OpCase("q = Cast <to = 9> (x) y = Where (q, h, z)", HALF),
]  # fmt: skip
WHOLE = [
    OpCase(
        f"i = Cast <to = {to}> (frames) q = {op} (i, n) d = Where (q, i, n) y = Cast <to = 1> (d)",
        {"n": np.array([90, 120, 150, 180], dtype)},
    )
    for op in CODES
    for to, dtype in ((6, np.int32), (7, np.int64))
]


@pytest.mark.parametrize("case", CASES + WHOLE, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_between_integers_they_are_computed_on_real_numbers(case: OpCase) -> None:
    check_int8(replace(case, integer=False))


def test_a_dtype_without_a_kernel_is_refused() -> None:
    case = OpCase("q = Equal (frames, frames) y = Cast <to = 1> (q)")
    with pytest.raises(ModelError, match="Equal of uint8 has no kernel"):
        tflite.write(case.model(), {})
