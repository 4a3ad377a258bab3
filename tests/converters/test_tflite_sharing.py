"""Which tensors LiteRT would write over too early, and that none of a file is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from converters.formats._tflite.sharing import Step, overwritten
from converters.quantize.plan import Scheme
from tests.converters.op_matrix import OpCase, check_int8, operators


def step(code: str, inputs: tuple[int, ...], output: int) -> Step:
    return Step(code, inputs, (output,))


SHAPED = [step("MUL", (0,), 1), step("RESHAPE", (1, 9), 2)]
ADDED = step("ADD", (8, 2), 3)


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ([*SHAPED, ADDED, step("DEQUANTIZE", (1,), 4)], [(2, 1)]),
        ([*SHAPED, step("DEQUANTIZE", (1,), 4), ADDED], []),
        ([*SHAPED, ADDED, step("DEQUANTIZE", (2,), 4)], []),  # LiteRT counts these readers
        ([*SHAPED, step("CONV_2D", (2,), 3), step("DEQUANTIZE", (1,), 4)], []),
        (
            [*SHAPED, step("RESHAPE", (2, 9), 4), step("SOFTMAX", (4,), 5), step("MEAN", (2,), 6)],
            [(3, 0)],
        ),
    ],
    ids=["read later", "read before", "read twice", "not in place", "a chain of shapes"],
)
def test_overwritten(steps: list[Step], found: list[tuple[int, int]]) -> None:
    assert overwritten(steps) == found


CASE = OpCase(
    "t = Mul (x, k) r = Unsqueeze (t, at) y = Add (r, more) z = Neg (t)",
    {"k": 0.5, "at": [2], "more": -0.2},
    outputs="float[A,B,C,D,E] y, float[A,B,C,D] z, float[A,B,C,D] t",
    loose=0.02,
)


BOTH = OpCase(
    "t = Mul (x, k) r = Unsqueeze (t, at) q = Unsqueeze (t, more) y = Add (r, q) z = Neg (t)",
    {"k": 0.5, "at": [2], "more": [1]},
    size=(8, 8, 1),
    outputs="float[A,B,C,D,E] y, float[A,B,C,D] z, float[A,B,C,D] t",
    loose=0.02,
)


@pytest.mark.parametrize(("case", "copies"), [(CASE, 1), (BOTH, 2)], ids=str)
def test_what_is_read_later_is_not_written_over(case: OpCase, copies: int) -> None:
    data = check_int8(replace(case, integer=False), Scheme("int16", symmetric=True))
    assert operators(data)["CONCATENATION"] == copies
