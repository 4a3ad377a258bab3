"""Numbers repeated, and running sums, in TFLite."""

from __future__ import annotations

import numpy as np
import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]

CASES = [
    OpCase("y = Tile (x, n)", {"n": [1, 2, 1, 3]}, operators="TILE"),
    OpCase("y = Tile (x, n)", {"n": [2, 1, 1, 1]}, operators="TILE"),
    OpCase("y = Tile (x, n)", {"n": [1, 1, 1, 1]}),
    OpCase("a = Relu (x) r = Slice (a, lo, hi, ax) y = Expand (r, n)",
           {"lo": [2, 1], "hi": [3, 2], "ax": [1, 3], "n": [1, 3, 8, 5]},
           operators="SLICE TILE"),
    OpCase("y = Expand (x, n)", {"n": [1, 1]}),
    OpCase("y = Expand (x, n)", {"n": [3, 1, 4, 8, 8]}, outputs="float[N,M,O,P,Q] y"),
    OpCase("r = Flatten (x) y = Tile (r, n)", {"n": [3, 2]}, outputs="float[N,M] y"),
]  # fmt: skip

# Sums of up to eight.
SUMS = [
    OpCase(f"y = CumSum {attributes} (x, axis)", {"axis": np.array(axis)}, terms=8, integer=False,
           operators="CUMSUM")
    for axis in (1, 2, -1)
    for attributes in ("", "<exclusive = 1>", "<reverse = 1>", "<reverse = 1, exclusive = 1>")
]  # fmt: skip

REFUSED = [
    (OpCase("i = Cast <to = 7> (x) f = Slice (i, lo, hi) r = Reshape (f, one) m = Max (r, ones) "
            "y = Tile (x, m)", {"lo": [0] * 4, "hi": [1] * 4, "one": [1], "ones": [1] * 4}),
     "constant repeats"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES + SUMS, ids=str)
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
