"""Reductions in TFLite: over any axes, in any layout, without moving anything."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

SIZE = (8, 6, 4)
SHAPE = (1, 4, 8, 6)
OPERATORS = {
    "ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD", "ReduceL1": "ABS SUM", "ReduceL2": "MUL SUM SQRT",
    "ReduceSumSquare": "MUL SUM", "ReduceLogSumExp": "REDUCE_MAX SUB EXP SUM LOG ADD",
}  # fmt: skip
INTEGER = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
AXES: list[tuple[list[int] | None, int]] = [
    ([2, 3], 1), ([2, 3], 0), ([1], 1), ([1], 0), ([-1], 1), ([2], 0), ([-3, -1], 0), ([3, 1], 1),
    ([1, 2, 3], 0), ([1, 2, 3], 1), (None, 1),
]  # fmt: skip


def case(op: str, axes: list[int] | None, keep: int, **rest: Any) -> OpCase:
    gone = range(4) if axes is None else [axis % 4 for axis in axes]
    rank = 4 if keep else 4 - len(list(gone))
    given = "" if axes is None else ", axes"
    terms = prod(SHAPE[axis] for axis in gone)
    summed = op not in ("ReduceMax", "ReduceMin")
    operators = OPERATORS[op]
    if not keep and len(operators.split()) > 1:
        operators += " RESHAPE"
    return OpCase(
        f"y = {op} <keepdims = {keep}> (x{given})", {} if axes is None else {"axes": axes}, SIZE,
        terms=terms if summed else 1, integer=op in INTEGER, operators=operators,
        outputs=f"float[{','.join('NMOP'[:rank])}] y", **rest,
    )  # fmt: skip


CASES = [
    *(case(op, axes, keep) for op in INTEGER[:2] for axes, keep in AXES),
    # Over all numbers these are the ends of the range, in every picture.
    *(case(op, axes, keep) for op in INTEGER[2:] for axes, keep in AXES[:8]),
    *(case("ReduceProd", axes, keep) for axes, keep in AXES[2:4]),
    *(case(op, *one) for op in list(OPERATORS)[5:] for one in (([2, 3], 1), ([1], 0), ([-1], 0))),
    OpCase("e = Exp (x) y = ReduceLogSum (e, axes)", {"axes": [1]}, terms=6, ulps=8, integer=False),
    # Not over any axis.
    OpCase("n = Relu (x) y = ReduceSum <noop_with_empty_axes = 1> (n)"),
    # A picture whose channels lie first in the file too.
    OpCase("t = Transpose <perm = [0, 2, 3, 1]> (x) y = ReduceMean <keepdims = 0> (t, axes)",
           {"axes": [1, 2]}, terms=64, outputs="float[N,M] y", operators="MEAN"),
    # Channels out of order, as after a shuffle: a sum has no order.
    OpCase("r = Reshape (x, five) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) "
           "u = Reshape (t, four) y = ReduceMean (u, axes)",
           {"five": [1, 2, 2, 8, 8], "four": [1, 4, 8, 8], "axes": [1]}, terms=4, operators="MEAN"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize("case", [CASES[0], CASES[11], CASES[22], CASES[30]], ids=str)
def test_int16(case: OpCase) -> None:
    check_int8(case, Scheme("int16", symmetric=True))


def test_axes_that_are_computed_are_refused() -> None:
    body = "i = ArgMax <axis = 1> (x) j = ReduceMax <keepdims = 0> (i) k = Unsqueeze (j, zero)"
    body += " r = ReduceSum (x, k) y = Reshape (r, flat)"
    case = OpCase(body, {"zero": [0], "flat": [1, -1, 1, 1]})
    with pytest.raises(ModelError, match="constant axes"):
        tflite.write(case.model(), {})
