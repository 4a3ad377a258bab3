"""Convolutions in TFLite: every kind, with every padding."""

from __future__ import annotations

from typing import Any

import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

W = {"w": (8, 4, 3, 3)}
ODD = (7, 9, 4)


def conv(attributes: str, operators: str = "CONV_2D", **rest: Any) -> OpCase:
    constants = rest.pop("constants", W)
    attributes = attributes and f"<{attributes}>"
    inputs = "x, w, b" if "b" in constants else "x, w"
    shape = constants["w"]
    terms = 1
    for size in shape[1:]:
        terms *= size
    body = rest.pop("body", f"y = Conv {attributes} ({inputs})")
    return OpCase(body, constants, terms=terms + 1, operators=operators, **rest)


def row(attributes: str, constants: dict[str, Any], operators: str = "CONV_2D") -> OpCase:
    attributes = attributes and f"<{attributes}>"
    inputs = "r, w, b" if "b" in constants else "r, w"
    body = f"r = Reshape (x, flat) y = Conv {attributes} ({inputs})"
    # One to make the image a row (an image of height 1), one to make it a row again.
    operators = f"RESHAPE {operators} RESHAPE"
    more = {"flat": [1, 4, 64]}
    return conv("", operators, body=body, constants={**constants, **more}, outputs="float[N,M,O] y")


CASES = [
    conv("pads = [1, 1, 1, 1]", constants={**W, "b": (8,)}),
    conv("pads = [1, 1, 1, 1], strides = [2, 2]", "PAD CONV_2D"),
    conv("pads = [1, 1, 1, 1], strides = [2, 2]", size=ODD),
    conv("pads = [1, 1, 1, 1], strides = [3, 3]", "PAD CONV_2D"),
    conv("pads = [1, 1, 1, 1], strides = [3, 3]", size=(7, 10, 4)),
    conv("pads = [1, 1, 1, 1], strides = [1, 2]", "PAD CONV_2D"),
    conv("pads = [1, 1, 1, 1], strides = [2, 1]", size=ODD),
    conv("strides = [2, 3]"),
    conv("pads = [2, 0, 1, 3]", "PAD CONV_2D"),
    conv("pads = [0, 0, 1, 1], strides = [2, 2]"),
    conv("pads = [0, 0, 0, 0], strides = [2, 2]", size=(8, 8, 4)),
    conv("auto_pad = \"SAME_UPPER\", strides = [2, 2]"),
    conv("auto_pad = \"SAME_UPPER\", strides = [2, 2]", size=ODD),
    conv("auto_pad = \"SAME_LOWER\", strides = [2, 2]", "PAD CONV_2D"),
    conv("auto_pad = \"SAME_LOWER\", strides = [2, 2]", size=ODD),
    conv("auto_pad = \"SAME_LOWER\"", "PAD CONV_2D", constants={"w": (8, 4, 2, 2)}),
    conv("auto_pad = \"VALID\", strides = [2, 2]"),
    conv("pads = [2, 2, 2, 2], dilations = [2, 2]"),
    conv("pads = [1, 2, 1, 2], dilations = [1, 2]"),
    conv("pads = [2, 2, 2, 2], dilations = [2, 2], strides = [2, 2]", "PAD CONV_2D"),
    conv("pads = [1, 1, 1, 1], dilations = [2, 1]", "PAD CONV_2D"),
    conv("", constants={"w": (6, 4, 1, 1), "b": (6,)}),
    conv("strides = [2, 2]", constants={"w": (6, 4, 1, 1)}),
    conv("pads = [1, 1, 1, 1]", "PAD CONV_2D", constants={"w": (6, 4, 1, 1), "b": (6,)}),
    conv("pads = [1, 0, 1, 0]", constants={"w": (5, 4, 3, 1)}),
    conv("pads = [3, 3, 3, 3], strides = [2, 2]", "PAD CONV_2D", constants={"w": (3, 4, 7, 7)}),
    conv("", constants={"w": (3, 4, 8, 8)}),  # the window is the image
    conv("pads = [1, 1, 1, 1]", constants={"w": (1, 4, 3, 3)}),
    conv("pads = [1, 1, 1, 1]", constants={"w": (4, 1, 3, 3), "b": (4,)}, size=(8, 8, 1)),
    # Depthwise.
    conv("pads = [1, 1, 1, 1], group = 4", "DEPTHWISE_CONV_2D", constants={"w": (4, 1, 3, 3)}),
    conv("pads = [1, 1, 1, 1], group = 4", "DEPTHWISE_CONV_2D", constants={"w": (8, 1, 3, 3)}),
    conv(
        "pads = [1, 1, 1, 1], group = 4", "DEPTHWISE_CONV_2D",
        constants={"w": (12, 1, 3, 3), "b": (12,)},
    ),
    conv(
        "pads = [1, 1, 1, 1], group = 4, strides = [2, 2]", "PAD DEPTHWISE_CONV_2D",
        constants={"w": (4, 1, 3, 3)},
    ),
    conv(
        "pads = [1, 1, 1, 1], group = 4, strides = [2, 2]", "DEPTHWISE_CONV_2D",
        constants={"w": (8, 1, 3, 3)}, size=ODD,
    ),
    conv(
        "pads = [2, 2, 2, 2], group = 4, dilations = [2, 2]", "DEPTHWISE_CONV_2D",
        constants={"w": (4, 1, 3, 3)},
    ),
    conv(
        "pads = [2, 3, 2, 3], group = 4, dilations = [2, 3]", "DEPTHWISE_CONV_2D",
        constants={"w": (8, 1, 3, 3)}, size=(9, 11, 4),
    ),
    conv(
        "group = 4, dilations = [2, 2], strides = [2, 2]", "DEPTHWISE_CONV_2D",
        constants={"w": (4, 1, 3, 3)},
    ),
    conv(
        "pads = [1, 1, 1, 1], group = 4, strides = [1, 2]", "PAD DEPTHWISE_CONV_2D",
        constants={"w": (4, 1, 3, 3)},
    ),
    conv(
        "pads = [1, 1, 1, 1], group = 4, strides = [2, 1]", "DEPTHWISE_CONV_2D",
        constants={"w": (4, 1, 3, 3)}, size=ODD,
    ),
    # Grouped.
    conv("pads = [1, 1, 1, 1], group = 2", constants={"w": (8, 2, 3, 3), "b": (8,)}),
    conv("pads = [1, 1, 1, 1], group = 2, strides = [2, 2]", "PAD CONV_2D",
         constants={"w": (6, 2, 3, 3)}),
    conv("pads = [2, 2, 2, 2], group = 2, dilations = [2, 2]", constants={"w": (6, 2, 3, 3)}),
    conv("group = 2", constants={"w": (2, 2, 1, 1)}),
    # Rows: one axis, as of sound.
    row("", {"w": (6, 4, 3), "b": (6,)}),
    row("pads = [1, 1], strides = [2]", {"w": (6, 4, 3)}, "PAD CONV_2D"),
    row("pads = [2, 2], dilations = [2], group = 4", {"w": (4, 1, 3)}, "DEPTHWISE_CONV_2D"),
    row("auto_pad = \"SAME_UPPER\", strides = [3]", {"w": (6, 4, 4)}),
    row("auto_pad = \"SAME_LOWER\"", {"w": (6, 4, 4)}, "PAD CONV_2D"),
    # Of one pixel: in whatever order the pixels lie.
    conv("", constants={"w": (6, 4, 1, 1), "b": (6,)}, size=(5, 7, 4),
         body="t = Transpose <perm = [0, 1, 3, 2]> (x) y = Conv (t, w, b)"),
    conv("", "SLICE CONV_2D", constants={"w": (6, 1, 1, 1), "from": [0], "to": [1], "at": [2]},
         size=(5, 7, 1),  # the row is the batch, and the batch the row
         body="f = Slice (x, from, to, at) t = Transpose <perm = [2, 1, 0, 3]> (f) "
              "y = Conv (t, w)"),
    conv("", "TRANSPOSE CONV_2D", constants={"w": (6, 4, 1, 1)}, size=(5, 7, 4),
         body="t = Transpose <perm = [0, 1, 3, 2]> (x) y = Conv <strides = [1, 2]> (t, w)"),
    # What follows is taken in.
    conv("", constants={**W, "b": (8,)}, body="c1 = Conv (x, w, b) y = Relu (c1)"),
    conv("", constants={**W, "b": (8,), "low": 0.0, "high": 6.0},
         body="c1 = Conv (x, w, b) y = Clip (c1, low, high)"),
    conv("", constants={**W, "low": -1.0, "high": 1.0}, size=(3, 3, 4),
         body="c1 = Conv (x, w) y = Clip (c1, low, high)"),
    conv("", "DEPTHWISE_CONV_2D", constants={"w": (4, 1, 3, 3), "b": (4,)},
         body="c1 = Conv <group = 4> (x, w, b) y = Relu (c1)"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize(
    ("body", "constants", "words"),
    [
        (
            "t = Transpose <perm = [1, 0, 2, 3]> (x) y = Conv <group = 4> (x, t)",
            {},
            "constant weights",
        ),
        (
            "q = Unsqueeze (x, last) y = Conv (q, w)",
            {"last": [4], "w": (2, 4, 1, 1, 1)},
            "one or two dimensions",
        ),
    ],
)
def test_refused(body: str, constants: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(OpCase(body, constants).model(), {})
