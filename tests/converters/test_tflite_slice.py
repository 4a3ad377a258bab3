"""Slice and Split in TFLite."""

from __future__ import annotations

import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]
LAST = 2**63 - 1


def sliced(starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> OpCase:
    plain = set(steps) == {1}
    constants = {"lo": starts, "hi": ends, "ax": axes, "st": steps}
    operators = "SLICE" if plain else "STRIDED_SLICE"
    return OpCase("y = Slice (x, lo, hi, ax, st)", constants, operators=operators)


CASES = [
    sliced([1], [3], [1], [1]),
    sliced([0], [1], [1], [1]),
    sliced([-3], [-1], [2], [1]),
    sliced([2, 1], [LAST, 7], [3, -2], [1, 1]),
    sliced([-100], [100], [1], [2]),
    sliced([1, 0], [LAST, LAST], [2, 3], [2, 2]),
    sliced([1], [LAST], [3], [3]),
    sliced([-1], [-LAST], [1], [-1]),
    sliced([-1, 6], [-LAST - 1, 1], [2, 3], [-1, -2]),
    sliced([3, 2], [0, LAST], [1, 2], [-1, 3]),
    OpCase("y = Slice (x, lo, hi)", {"lo": [0, 1], "hi": [1, 3]}, operators="SLICE"),
    OpCase("y = Slice (x, lo, hi)", {"lo": [0, 0], "hi": [1, 4]}),
    # YOLO's Focus.
    OpCase(
        "a = Slice (x, s00, hi, hw, st) b = Slice (x, s10, hi, hw, st) "
        "c2 = Slice (x, s01, hi, hw, st) d = Slice (x, s11, hi, hw, st) "
        "y = Concat <axis = 1> (a, b, c2, d)",
        {"s00": [0, 0], "s10": [1, 0], "s01": [0, 1], "s11": [1, 1],
         "hi": [LAST, LAST], "hw": [2, 3], "st": [2, 2]},
        operators="STRIDED_SLICE " * 4 + "CONCATENATION",
    ),
    OpCase(
        "r = Reshape (x, f) y = Slice (r, lo, hi, ax, st)",
        {"f": [1, 2, 2, 8, 8], "lo": [1], "hi": [2], "ax": [1], "st": [1]},
        outputs="float[N,M,O,P,Q] y", operators="RESHAPE SLICE",
    ),
    OpCase(
        "r = Reshape (x, f) y = Slice (r, lo, hi, ax, st)",
        {"f": [1, 2, 2, 2, 4, 8], "lo": [1, 0], "hi": [2, 4], "ax": [1, 4], "st": [1, 2]},
        outputs="float[N,M,O,P,Q,R] y",
    ),
    OpCase("r = Flatten (x) y = Slice (r, lo, hi, ax)",
           {"lo": [5], "hi": [100], "ax": [1]}, outputs="float[N,M] y"),
    *(
        OpCase(f"{parts} = Split <axis = {axis}, num_outputs = {count}> (x) {rest}",
               operators=operators)
        for parts, axis, count, rest, operators in (
            ("a, b", 1, 2, "y = Add (a, b)", "SPLIT ADD"),
            ("a, y", 1, 2, "", "SLICE"),
            ("y, b, c2", -1, 3, "", "SLICE"),
            ("a, b, c2", 2, 3, "d = Relu (a) e = Add (d, b) y = Concat <axis = 2> (e, c2)",
             "SPLIT_V RELU ADD CONCATENATION"),
            ("a, b, c2, d", 3, 4, "y = Concat <axis = 3> (c2, a, d, b)", "SPLIT CONCATENATION"),
        )
    ),
    OpCase("a, b, c2 = Split <axis = 1> (x, n) y = Concat <axis = 1> (c2, a, b)", {"n": [1, 2, 1]},
           operators="SPLIT_V CONCATENATION"),
    OpCase("a, y = Split (x, n)", {"n": [0, 1]}),
    # ShuffleNet's shuffle, then one half of the channels.
    OpCase(
        "r = Reshape (x, g) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) f = Reshape (t, back) "
        "a, b = Split <axis = 1, num_outputs = 2> (f) d = Relu (a) y = Add (d, b)",
        {"g": [1, 2, 4, 8, 8], "back": [1, 8, 8, 8]}, size=(8, 8, 8),
        operators="GATHER GATHER RELU ADD",
    ),
]  # fmt: skip

REFUSED = [
    (OpCase("y = Slice (x, lo, hi)", {"lo": [0, 3], "hi": [1, 3]}), "Slice takes nothing"),
    (OpCase("i = Cast <to = 7> (x) f = Slice (i, z, hi) o = Reshape (f, one) y = Slice (x, o, one)",
            {"z": [0] * 4, "hi": [1] * 4, "one": [1]}), "constant starts"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    check_int8(case, scheme)


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
