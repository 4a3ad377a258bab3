"""Functions of one number in TFLite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

POSITIVE = "e = Exp (x)"
INTEGER = [
    OpCase("y = Exp (x)", operators="EXP"),
    OpCase("y = Abs (x)", operators="ABS"),
    OpCase(
        "s1 = Sigmoid (x) e = Add (s1, k) y = Log (e)", {"k": 1.5}, operators="LOGISTIC ADD LOG"
    ),
    OpCase("y = Pow (x, n)", {"n": 2.0}, operators="MUL"),
    OpCase("y = Pow (x, n)", {"n": [2]}, operators="MUL"),
]
REAL = [
    OpCase(f"{POSITIVE} y = Sqrt (e)", operators="EXP SQRT"),
    OpCase(f"{POSITIVE} y = Reciprocal (e)", operators="EXP DIV"),
    OpCase("y = Neg (x)", operators="NEG"),
    OpCase("m = Mul (x, k) y = Floor (m)", {"k": 4.0}, operators="MUL FLOOR"),
    OpCase("m = Mul (x, k) y = Ceil (m)", {"k": 4.0}, operators="MUL CEIL"),
    OpCase("m = Mul (x, k) y = Round (m)", {"k": 4.0}, operators="MUL ROUND"),  # with halves
    OpCase("y = Sign (x)", operators="SIGN"),
    OpCase("y = Sin (x)", operators="SIN"),
    # XNNPACK's cosine is within 2 units of the last place of 1, also next to pi / 2.
    OpCase("y = Cos (x)", ulps=48, operators="COS"),
    OpCase("y = Pow (x, n)", {"n": 3.0}, operators="MUL MUL"),
    OpCase("y = Pow (x, n)", {"n": 4.0}, operators="MUL MUL"),
    OpCase("y = Pow (x, n)", {"n": [5]}, operators="POW"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": 1.0}, operators="EXP"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": 0.5}, operators="EXP SQRT"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": -0.5}, operators="EXP SQRT DIV"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": -1.0}, operators="EXP DIV"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": -2.0}, operators="EXP MUL DIV"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": 2.2}, operators="EXP POW"),
    OpCase(f"{POSITIVE} y = Pow (e, n)", {"n": (4, 1, 1)}, operators="EXP POW"),
    OpCase(f"{POSITIVE} y = Pow (e, x)", ulps=16, operators="EXP POW"),
    OpCase("y = Pow (n, x)", {"n": 1.7}, operators="POW"),
    OpCase("y = Pow (x, n)", {"n": np.full((2, 1, 1, 1), 2, np.float32)}, operators="POW"),
]


@pytest.mark.parametrize("case", INTEGER + REAL, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", INTEGER + [replace(c, integer=False) for c in REAL], ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


REFUSED = {
    "y = Erf (x)": "Erf has no form",
    "i = Cast <to = 7> (x) j = Neg (i) k = Abs (j) y = Cast <to = 1> (k)": "Abs of int64",
    "i = Cast <to = 6> (x) j = Pow (i, x) y = Cast <to = 1> (j)": "Pow is written",
}


@pytest.mark.parametrize(("body", "words"), REFUSED.items())
def test_what_cannot_be_written_is_refused(body: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(OpCase(body).model(), {})
