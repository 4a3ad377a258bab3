"""Normalisations in TFLite that no pass could fold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.graph_cases import EPS, array_of
from tests.converters.op_matrix import (
    ENTRY,
    ENTRY_CONSTANTS,
    OpCase,
    check_int8,
    operators,
    run_tflite,
)
from tests.converters.quantize_cases import run

FOUR = {"g": (4,), "b": (4,)}
# How many units in the last place of the largest result one may be off: a result is a difference
# of numbers of the size of the range over the deviation, both made of up to 256 numbers, which
# each engine adds up in its own order.
ULPS = 16


def case(body: str, constants: dict[str, Any], operators: str = "", **rest: Any) -> OpCase:
    return OpCase(body, constants, operators=operators, integer=False, **rest)


def check(case: OpCase, ulps: float) -> None:
    """Compare the float file with onnxruntime, relative to the largest result."""
    model = case.model()
    data = tflite.write(model, {})
    expected, actual = run(model, case.frames())[0], run_tflite(data, case.frames())[0]
    assert expected.shape == actual.shape
    assert expected.std() > 0
    assert np.abs(expected - actual).max() <= ulps * EPS * np.abs(expected).max()
    if case.operators:
        assert operators(data) - Counter(["CAST", "SUB", "MUL"]) == Counter(case.operators.split())


WHITE = "MEAN SUB MUL MEAN ADD RSQRT MUL"
THIRD = {"third": [1, 4, 64]}
CASES = [
    case("y = BatchNormalization (x, g, b, m, v)",
         {**FOUR, "m": (4,), "v": np.array([0.5, 1, 2, 3], np.float32)}, "MUL ADD"),
    case("t = Reshape (x, third) y = BatchNormalization <epsilon = 0.01> (t, g, b, m, v)",
         {**FOUR, **THIRD, "m": (4,), "v": np.array([0.5, 1, 2, 3], np.float32)},
         "RESHAPE MUL ADD", outputs="float[N,M,O] y"),
    case("y = InstanceNormalization (x, g, b)", FOUR, f"{WHITE} MUL ADD"),
    case("y = InstanceNormalization <epsilon = 0.1> (x, g, b)", FOUR, f"{WHITE} MUL ADD"),
    case("t = Transpose <perm = [0, 2, 3, 1]> (x) y = LayerNormalization (t, g, b)", FOUR,
         f"{WHITE} MUL ADD"),
    case("t = Transpose <perm = [0, 2, 3, 1]> (x) y = LayerNormalization (t, g)", {"g": (4,)},
         f"{WHITE} MUL"),
    case("y = LayerNormalization <axis = 1> (x, g, b)", {"g": (4, 8, 8), "b": (4, 8, 8)},
         f"{WHITE} MUL ADD"),
    case("y = LayerNormalization <axis = -2> (x, g, b)", {"g": (8, 8), "b": (8, 8)},
         f"{WHITE} MUL ADD"),
    case("t = Reshape (x, third) u = Transpose <perm = [0, 2, 1]> (t) "
         "y = LayerNormalization <epsilon = 0.001> (u, g, b)", {**FOUR, **THIRD},
         f"RESHAPE {WHITE} MUL ADD", outputs="float[N,M,O] y"),
    case("y = MeanVarianceNormalization <axes = [0, 2, 3]> (x)", {},
         "MEAN SUB MUL MEAN SQRT ADD DIV"),
    case("y = MeanVarianceNormalization <axes = [0, 1, 2, 3]> (x)", {}),
    case("y = LpNormalization <axis = 1> (x)", {}, "MUL SUM SQRT MAXIMUM DIV"),
    case("y = LpNormalization <axis = 1, p = 1> (x)", {}, "ABS SUM MAXIMUM DIV"),
    case("y = LpNormalization (x)", {}),
    case("y = LRN <size = 3> (x)", {}, "LOCAL_RESPONSE_NORMALIZATION"),
    case("y = LRN <size = 5, alpha = 0.5, beta = 0.6, bias = 2.0> (x)", {},
         "LOCAL_RESPONSE_NORMALIZATION", size=(8, 8, 7)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check(case, ULPS)


@pytest.mark.parametrize(("opset", "numbers"), [(20, 2), (21, 4)])
def test_groups_with_a_scale_each_or_one_per_channel(opset: int, numbers: int) -> None:
    constants = {**ENTRY_CONSTANTS, "g": (numbers,), "b": (numbers,)}
    random = np.random.default_rng(0)
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g (uint8[1,8,8,4] frames) => '
    text += f"(float[1,4,8,8] y) {{ {ENTRY} y = GroupNormalization <num_groups = 2> (x, g, b) }}"
    proto = parser.parse_model(text)  # whose shapes onnx cannot infer
    for name, value in constants.items():
        array = numpy_helper.from_array(array_of(value, random), name)
        proto.graph.initializer.append(array)
    frames = case("", {}).frames()
    model = ir.from_proto(proto)
    expected = run(model, frames)[0]
    actual = run_tflite(tflite.write(model, {}), frames)[0]
    assert np.abs(expected - actual).max() <= ULPS * EPS * np.abs(expected).max()


def test_a_variance_far_from_zero_keeps_its_digits() -> None:
    """Numbers of 1000 +- 2: the difference of two sums of squares would have no digit left."""
    body = "far = Add (x, offset) y = InstanceNormalization (far, g, b)"
    # The numbers are multiples of 1/64 and exact. Only their mean is rounded, to a step of 2^-14
    # at 1000: up to 512 ulps of a deviation of 1.
    check(case(body, {**FOUR, "offset": 1000.0}), 512)


@pytest.mark.parametrize("case", CASES[2:5], ids=str)
def test_int8_computes_them_in_float(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize(
    ("body", "constants", "words"),
    [
        (
            "p2 = GlobalMaxPool (x) n = Reshape (p2, four) y = InstanceNormalization (x, n, b)",
            {"b": (4,), "four": [4]},
            "constant scale",
        ),
        ("y, m = LayerNormalization <axis = 1> (x, g)", {"g": (4, 8, 8)}, "without Mean"),
    ],
)
def test_refused(body: str, constants: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(OpCase(body, constants).model(), {})
