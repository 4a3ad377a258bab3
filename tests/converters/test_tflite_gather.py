"""Gather and its like in TFLite."""

from __future__ import annotations

import numpy as np
import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]

VECTOR = "float[N,M,O] y"


def gathered(axis: int, indices: object, operators: str = "GATHER", outputs: str = "") -> OpCase:
    numbers = np.array(indices, np.int64)
    rank = 3 + numbers.ndim
    letters = ",".join("NMOPQR"[:rank])
    return OpCase(
        f"y = Gather <axis = {axis}> (x, i)", {"i": numbers},
        operators=operators, outputs=f"float[{letters}] y",
    )  # fmt: skip


CASES = [
    *(gathered(axis, [2, 0, 3]) for axis in (1, 2, 3, -1, -3)),
    gathered(1, [0, 1, 1, -1]),
    gathered(0, [0, 0]),
    gathered(1, [1, 2], "SLICE"),
    gathered(1, [0, 1, 2, 3], ""),
    gathered(2, [0, 2, 4, 6], "STRIDED_SLICE"),
    gathered(3, [7, 6, 5, 4, 3, 2, 1, 0], "STRIDED_SLICE"),
    gathered(1, [-1], "SLICE"),
    *(gathered(axis, -2, "SLICE RESHAPE") for axis in (1, 2, 3)),
    gathered(0, 0, ""),
    *(gathered(axis, [[0, 3], [2, -1]], "GATHER RESHAPE") for axis in (1, 2, 3)),
    # What was picked along one axis, then along another one.
    OpCase(
        "a = Gather <axis = 1> (x, i) b = Gather <axis = 3> (a, i) r = Relu (b) y = Add (r, b)",
        {"i": [3, 1, 0]}, operators="GATHER GATHER RELU ADD",
    ),
    # Out of order and put in order by what is picked.
    OpCase(
        "r = Reshape (x, g) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) f = Reshape (t, back) "
        "y = Gather <axis = 1> (f, i)",
        {"g": [1, 2, 2, 8, 8], "back": [1, 4, 8, 8], "i": [3, 1, 1]}, operators="GATHER",
    ),
    OpCase("y = GatherND (x, i)", {"i": [[0, 1], [0, -1]]}, outputs=VECTOR,
           operators="TRANSPOSE GATHER_ND"),
    # What torch makes of x[:, [3, 1, 0]]: whole channels, which are picked where they lie.
    OpCase("t = Transpose <perm = [1, 0, 2, 3]> (x) g = GatherND (t, i) "
           "y = Transpose <perm = [1, 0, 2, 3]> (g)", {"i": [[3], [1], [-4]]}, operators="GATHER"),
    OpCase("y = GatherND (x, i)", {"i": [[0, 1, 2, 3], [0, -1, -2, 0], [0, 0, 0, 0]]},
           outputs="float[N] y"),
    OpCase("y = GatherElements <axis = 2> (x, i)",
           {"i": np.arange(32).reshape(1, 4, 1, 8) % 16 - 8}),
    OpCase("y = GatherElements (x, i)", {"i": np.zeros((1, 2, 3, 4), np.int64)}),
]  # fmt: skip

# Indices that the net computes, from -2 to 1.
SOME = "f = Slice (x, lo, hi) r = Reshape (f, shape) i = Cast <to = 7> (r)"
PART = {"lo": [0, 1, 2, 1], "hi": [1, 3, 3, 4]}
COMPUTED = [
    OpCase(f"{SOME} y = Gather <axis = 1> (x, i)", {**PART, "shape": [6]}),
    OpCase(f"{SOME} y = Gather <axis = -1> (x, i)", {**PART, "shape": [3, 2]},
           outputs="float[N,M,O,P,Q] y"),
    OpCase(f"{SOME} y = Gather (w, i)", {**PART, "shape": [2, 3], "w": (256, 5)}, outputs=VECTOR),
    OpCase("f = Flatten (x) i = ArgMax <axis = 1, keepdims = 0> (f) y = Gather (w, i)",
           constants={"w": (256, 5)}, outputs="float[N,M] y"),
]  # fmt: skip

REFUSED = [
    (OpCase("y = Gather (x, i)", {"i": np.zeros(0, np.int64)}), "Gather takes nothing"),
    (
        OpCase(
            "u = Relu (x) m = Min (u, w) i = Cast <to = 7> (m) y = GatherElements (x, i)",
            {"w": 0.0},
        ),
        "constant indices",
    ),
    (OpCase("y = GatherND <batch_dims = 1> (x, i)", {"i": [[0]]}, outputs=VECTOR), "batch_dims"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    check_int8(case, scheme)


@pytest.mark.parametrize("case", COMPUTED, ids=str)
def test_computed_indices(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
