"""Arithmetic of two and more operands in TFLite, with everything that broadcasts."""

from __future__ import annotations

import numpy as np
import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

# Sums of numbers of either sign: the error is one of their magnitudes.
SUM = 2
# What every operator is given: per channel, per row, per column, per number, one for all (with and
# without axes), more axes than the image has, another image, and a smaller one.
CONSTANTS = {
    "channel": (1, 4, 1, 1), "bare channel": (4, 1, 1), "row": (8, 1), "column": (8,),
    "channel and column": (4, 1, 8), "number": (4, 8, 8), "scalar": np.array(0.7, np.float32),
    "one": np.array([0.7], np.float32), "batch": (2, 4, 1, 8), "rank 5": (3, 1, 4, 8, 1),
}  # fmt: skip
PAIRS = {
    "image": "b = Mul (x, k)",
    "pixel": "b = GlobalAveragePool (x)",
    "flat pixel": "g = GlobalAveragePool (x) b = Reshape (g, cut)",
    "smaller rank": "m = Mul (x, k) b = Reshape (m, whole)",
    "rank 5": "m = Mul (x, k) b = Reshape (m, five)",
}
SHAPES = {"k": -1.7, "cut": [4, 1, 1], "whole": [4, 8, 8], "five": [1, 1, 4, 8, 8]}


def _outputs(name: str) -> str:
    return "float[A,N,M,O,P] y" if name == "rank 5" else "float[N,M,O,P] y"


def with_constants(op: str, sides: str = "both") -> list[OpCase]:
    orders = {"right": ["x, w"], "both": ["x, w", "w, x"]}[sides]
    return [
        OpCase(f"y = {op} ({order})", {"w": w}, terms=SUM, outputs=_outputs(name))
        for name, w in CONSTANTS.items()
        for order in orders
    ]


def with_pairs(op: str) -> list[OpCase]:
    return [
        OpCase(f"{other} y = {op} ({order})", SHAPES, terms=SUM, outputs=_outputs(name))
        for name, other in PAIRS.items()
        for order in ("x, b", "b, x")
    ]


INTEGER = [
    *(c for op in ("Add", "Sub", "Mul", "Max", "Min") for c in with_constants(op)),
    *(c for op in ("Add", "Sub", "Mul", "Max", "Min") for c in with_pairs(op)),
    OpCase("r = Relu (x) y = Mul (r, x)", operators="RELU MUL"),
    OpCase("t = Tanh (x) y = Sum (x, t)", terms=SUM, operators="TANH ADD"),
    OpCase(
        "t = Tanh (x) g = Sigmoid (x) y = Max (x, t, g)",
        operators="TANH LOGISTIC MAXIMUM MAXIMUM",
    ),
    OpCase("t = Tanh (x) y = Min (w, x, t)", {"w": (4, 1, 1)}),
    OpCase("t = Mul (x, k) z = Add (x, t) y = Relu (z)", {"k": 0.7}, operators="MUL ADD"),
    OpCase("t = Mul (x, k) z = Sub (x, t) y = Clip (z, l, h)", {"k": -1.7, "l": 0.0, "h": 6.0}),
]  # fmt: skip
FUSED = [
    OpCase("z = Add (x, w) y = Clip (z, l, h)", {"w": 1.5, "l": -1.0, "h": 1.0}, operators="ADD"),
    OpCase("z = Div (x, w) y = Clip (z, l, h)", {"w": 0.3, "l": 0.0, "h": 6.0}, operators="DIV"),
]
WHOLE = "i = Cast <to = {to}> (frames) {body} y = Cast <to = 1> (r)"
REAL = [
    *with_constants("Div", "right"),
    OpCase("e = Exp (x) y = Div (x, e)", operators="EXP DIV"),
    OpCase("e = Exp (x) y = Div (w, e)", {"w": (4, 1, 1)}, operators="EXP DIV"),
    OpCase("t = Tanh (x) y = Sum (x, t, w)", {"w": (4, 1, 1)}, terms=SUM, operators="TANH ADD ADD"),
    OpCase("t = Tanh (x) y = Mean (x, t, x)", terms=SUM, operators="TANH ADD ADD DIV"),
    OpCase("e = Exp (x) y = Mean (e)", operators="EXP DIV"),
    OpCase("e = Clip (x, l, h) y = Mod <fmod = 1> (x, e)", {"l": 0.3, "h": 1.1}),
    OpCase("y = Mod <fmod = 1> (x, w)", {"w": (4, 1, 1)}),
]
INTEGERS = [
    OpCase(WHOLE.format(to=to, body=body), {"n": np.array([[[3]], [[5]], [[2]], [[7]]], dtype)})
    for to, dtype in ((6, np.int32), (7, np.int64))
    for body in (
        "v = Transpose <perm = [0, 3, 1, 2]> (i) r = Mod (v, n)",
        "v = Transpose <perm = [0, 3, 1, 2]> (i) t = Sub (v, n) u = Mul (t, n) r = Add (u, v)",
        "v = Transpose <perm = [0, 3, 1, 2]> (i) t = Mul (v, n) r = Max (v, t)",
        *(["v = Transpose <perm = [0, 3, 1, 2]> (i) r = Div (v, n)"] if to == 6 else []),
    )
]


@pytest.mark.parametrize("case", INTEGER + FUSED + REAL, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", INTEGERS, ids=str)
def test_whole_numbers(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", INTEGER, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize("case", INTEGER, ids=str)
def test_int16(case: OpCase) -> None:
    check_int8(case, Scheme("int16", symmetric=True))


REFUSED = [
    (OpCase(WHOLE.format(to=7, body="r = Abs (i)")), "Abs of int64 has no kernel"),
    (OpCase(WHOLE.format(to=7, body="r = Div (i, n)"), {"n": [3]}), "Div of int64 has no kernel"),
    (OpCase(WHOLE.format(to=2, body="r = Add (i, i)")), "Add of uint8 has no kernel"),
    (
        OpCase(WHOLE.format(to=6, body="r = Mod <fmod = 1> (i, n)"), {"n": np.array(3, np.int32)}),
        "Mod of int32 has no kernel",
    ),
]


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_what_has_no_kernel_is_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
