"""Pad in TFLite, of every mode."""

from __future__ import annotations

import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]
LAST_TWO = [0, 0, 1, 2, 0, 0, 3, 0]


def padded(pads: list[int], mode: str = "constant", operators: str = "") -> OpCase:
    body = f'y = Pad <mode = "{mode}"> (x, pads)'
    return OpCase(body, {"pads": pads}, operators=operators)


CASES = [
    padded(LAST_TWO, operators="PAD"),
    padded([0] * 8),
    padded([0, 2, 0, 0, 0, 1, 0, 0], operators="PAD"),
    padded([1, 0, 0, 0, 0, 0, 0, 0], operators="PAD"),
    padded([0, 0, -1, -2, 0, 0, -3, 0], operators="SLICE"),
    padded([0, 0, -1, 2, 0, 0, 3, -1], operators="SLICE PAD"),
    OpCase("y = Pad (x, pads, v)", {"pads": LAST_TWO, "v": 1.5}, operators="PADV2"),
    OpCase("y = Pad (x, pads, v)", {"pads": LAST_TWO, "v": 0.0}, operators="PAD"),
    OpCase("y = Pad (x, pads, v, ax)", {"pads": [1, 2, 3, 0], "v": -1.0, "ax": [-1, 1]},
           operators="PADV2"),
    OpCase("y = Pad (x, pads, , ax)", {"pads": [1, 3], "ax": [2]}, operators="PAD"),
    *(padded(LAST_TWO, mode, "GATHER GATHER") for mode in ("reflect", "edge", "wrap")),
    *(padded([0, 2, 0, 0, 0, 1, 0, 0], mode, "GATHER") for mode in ("reflect", "edge", "wrap")),
    padded([0, 0, 7, 7, 0, 0, 7, 7], "reflect"),
    padded([0, 0, 20, 0, 0, 0, 0, 20], "edge"),
    padded([0, 0, -1, 2, 0, 0, 2, -1], "reflect", "SLICE GATHER GATHER"),
    padded([0, 0, -1, 2, 0, 0, 2, -1], "edge", "SLICE GATHER GATHER"),
    OpCase("r = Flatten (x) y = Pad (r, pads)", {"pads": [0, 1, 0, 2]}, outputs="float[N,M] y"),
    OpCase("r = Reshape (x, f) y = Pad (r, pads)",
           {"f": [1, 2, 2, 8, 8], "pads": [0, 0, 1, 0, 2, 0, 1, 0, 0, 1]},
           outputs="float[N,M,O,P,Q] y", operators="RESHAPE PAD"),
]  # fmt: skip

REFUSED = [
    (padded([0, 0, -8, 0, 0, 0, 0, 0]), "Pad leaves nothing"),
    (padded([0, 0, 9, 0, 0, 0, 0, 0], "wrap"), "more than wrap can take from 8"),
    (OpCase("u = Relu (x) i = Cast <to = 7> (u) a = Slice (i, lo, hi, ax) p2 = Reshape (a, eight) "
            "y = Pad (x, p2)", {"lo": [0, 0], "hi": [1, 1], "ax": [1, 2], "eight": [8]}),
     "constant pads"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    check_int8(case, scheme)


# Outside of what the grid holds: real numbers are padded.
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
def test_far_value(scheme: Scheme) -> None:
    far = OpCase(
        "m = Mul (x, k) y = Pad (m, pads, v)",
        {"pads": LAST_TWO, "v": -100.0, "k": 0.5},
        integer=scheme.activation_type == "int16",
    )
    check_int8(far, scheme)


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
