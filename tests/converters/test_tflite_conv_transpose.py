"""Transposed convolutions in TFLite."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converters.formats import tflite
from converters.quantize.bias_correct import add_missing_biases, correct_biases
from converters.quantize.calibrate import observe
from converters.quantize.grid import WeightRule
from converters.quantize.plan import Scheme, make_plan
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8, run_tflite
from tests.converters.quantize_cases import run

W2, W3, W4 = ({"w": (4, 6, k, k), "b": (6,)} for k in (2, 3, 4))
DW = {"w": (4, 1, 4, 4), "b": (4,)}


def paint(attributes: str, operators: str, constants: dict[str, Any], **rest: Any) -> OpCase:
    inputs = "x, w, b" if "b" in constants else "x, w"
    attributes = attributes and f"<{attributes}>"
    body = rest.pop("body", f"y = ConvTranspose {attributes} ({inputs})")
    rest.setdefault("size", (5, 6, 4))
    terms = constants["w"][0] * prod(constants["w"][2:]) + 1
    return OpCase(body, constants, terms=terms, operators=operators, **rest)


CASES = [
    paint("strides = [2, 2]", "TRANSPOSE_CONV", W2),
    paint("strides = [2, 2]", "TRANSPOSE_CONV", {"w": (4, 6, 2, 2)}),
    paint("strides = [2, 2]", "TRANSPOSE_CONV", {"w": (4, 1, 2, 2), "b": (1,)}),
    paint("strides = [2, 2], pads = [1, 1, 1, 1]", "TRANSPOSE_CONV", W4),
    paint("strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]",
          "TRANSPOSE_CONV SLICE", W3),
    paint("strides = [2, 2], output_padding = [1, 1]", "TRANSPOSE_CONV", W3),
    paint("strides = [2, 2], output_padding = [1, 0], pads = [0, 1, 2, 0]",
          "TRANSPOSE_CONV SLICE", W3),
    paint("strides = [2, 2], pads = [0, 0, 1, 1]", "TRANSPOSE_CONV", W3),
    paint("", "TRANSPOSE_CONV", W3),
    paint("pads = [1, 1, 1, 1]", "TRANSPOSE_CONV", W3),
    paint("strides = [3, 2], pads = [2, 0, 1, 1]", "TRANSPOSE_CONV SLICE", W4),
    paint("strides = [3, 3]", "TRANSPOSE_CONV", W2),  # holes that only the bias reaches
    paint("dilations = [2, 2], strides = [2, 2], pads = [1, 1, 1, 1]",
          "TRANSPOSE_CONV SLICE", W3),
    paint("dilations = [1, 3]", "TRANSPOSE_CONV", W3),
    paint("strides = [2, 2], output_shape = [10, 12]", "TRANSPOSE_CONV SLICE", W3),
    paint("strides = [2, 2], output_shape = [10, 12]", "TRANSPOSE_CONV", W4),
    paint("strides = [2, 2], output_shape = [9, 13]", "TRANSPOSE_CONV SLICE", W4),
    paint('strides = [2, 2], auto_pad = "SAME_UPPER"', "TRANSPOSE_CONV", W3),
    paint('strides = [2, 2], auto_pad = "SAME_LOWER"', "TRANSPOSE_CONV SLICE", W3),
    paint('strides = [2, 2], auto_pad = "VALID"', "TRANSPOSE_CONV", W3),
    paint("", "TRANSPOSE_CONV RELU", W3, body="t = ConvTranspose (x, w, b) y = Relu (t)"),
    paint("strides = [2, 2]", "TRANSPOSE_CONV", {"w": (1, 6, 2, 2), "b": (6,)}, size=(5, 6, 1)),
    # Groups.
    paint("strides = [2, 2], group = 2, pads = [1, 1, 1, 1]",
          "SPLIT TRANSPOSE_CONV TRANSPOSE_CONV CONCATENATION", {"w": (4, 3, 4, 4), "b": (6,)}),
    paint("strides = [2, 2], group = 2", "SPLIT TRANSPOSE_CONV TRANSPOSE_CONV CONCATENATION",
          {"w": (4, 3, 2, 2)}),
    # Depthwise.
    paint("strides = [2, 2], group = 4, pads = [1, 1, 1, 1]",
          "RESHAPE PAD RESHAPE PAD DEPTHWISE_CONV_2D", DW),
    paint("group = 4, pads = [1, 1, 1, 1]", "DEPTHWISE_CONV_2D", {"w": (4, 1, 3, 3)}),
    paint("strides = [2, 3], group = 4, output_padding = [1, 2]",
          "RESHAPE PAD RESHAPE PAD DEPTHWISE_CONV_2D", {"w": (4, 2, 3, 4), "b": (8,)}),
    paint("strides = [2, 2], group = 4, pads = [3, 4, 2, 4], dilations = [1, 2]",
          "RESHAPE PAD RESHAPE SLICE DEPTHWISE_CONV_2D", {"w": (4, 1, 3, 2), "b": (4,)}),
    # Rows.
    paint("", "RESHAPE TRANSPOSE_CONV RESHAPE", {"w": (4, 6, 4), "b": (6,), "flat": [1, 4, 30]},
          body="r = Reshape (x, flat) y = ConvTranspose <strides = [2], pads = [1, 1]> (r, w, b)",
          outputs="float[N,M,O] y"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize("case", [CASES[0], CASES[4], *CASES[-7:]], ids=str)
def test_int16(case: OpCase) -> None:
    check_int8(case, Scheme("int16", symmetric=True))


# Only where numbers have a mean does the rounding of weights shift that of the result.
POSITIVE = "r = Add (x, two) y = ConvTranspose <strides = [2, 2], group = {}> (r, w)"


@pytest.mark.parametrize(("groups", "share"), [(1, 6), (2, 3), (4, 2)])
def test_biases_take_up_the_mean_error(groups: int, share: int) -> None:
    weight = np.random.default_rng(0).standard_normal((4, share, 2, 2)).astype(np.float32)
    weight[0, 0, 0, 0] = 20  # one scale for all: the steps of the others are wide
    case = OpCase(POSITIVE.format(groups), {"w": weight, "two": 2.0})
    model = case.model()
    add_missing_biases(model)
    ranges = observe(model, case.frames()).ranges
    scheme = Scheme(weights=WeightRule(per_channel=False))
    plan = make_plan(model, ranges, scheme, tflite.kernels("uint8"))
    corrected = correct_biases(model, plan, case.frames(), tflite.lower)
    truth = run(model, case.frames())[0]

    def error(graph: ir.Model) -> float:
        actual = run_tflite(tflite.write(tflite.lower(graph, plan), {}), case.frames())[0]
        return float(np.abs((actual - truth).mean(axis=(0, 2, 3))).max())

    assert error(corrected) < error(model) / 2


@pytest.mark.parametrize(
    ("body", "constants", "words"),
    [
        ("t = Transpose <perm = [1, 0, 2, 3]> (x) y = ConvTranspose <group = 4> (x, t)", {},
         "constant weights"),
        ("q = Unsqueeze (x, last) y = ConvTranspose (q, w)",
         {"last": [4], "w": (4, 2, 1, 1, 1)}, "one or two dimensions"),
    ],
)  # fmt: skip
def test_refused(body: str, constants: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(OpCase(body, constants).model(), {})
