"""Pooling in TFLite: every padding, and what is counted at the borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8, quantized, run_tflite
from tests.converters.quantize_cases import run

ODD = (7, 9, 4)


def largest(attributes: str, operators: str, **rest: Any) -> OpCase:
    return OpCase(f"y = MaxPool <{attributes}> (x)", operators=operators, **rest)


def mean(attributes: str, operators: str, terms: int = 9, **rest: Any) -> OpCase:
    body = f"y = AveragePool <{attributes}> (x)"
    return OpCase(body, operators=operators, terms=terms, **rest)


MAX, PADDED_MAX = "MAX_POOL_2D", "PADV2 MAX_POOL_2D"
MEAN, PADDED_MEAN = "AVERAGE_POOL_2D", "PAD AVERAGE_POOL_2D"
TWO = "kernel_shape = [2, 2], strides = [2, 2]"
THREE = "kernel_shape = [3, 3], strides = [2, 2]"
AROUND = "pads = [1, 1, 1, 1]"
COUNTED = "count_include_pad = 1"
ROW = {"flat": [1, 4, 64]}
CASES = [
    largest(TWO, MAX),
    largest(TWO, MAX, size=ODD),
    largest("kernel_shape = [3, 3]", MAX),
    largest(f"{THREE}, {AROUND}", PADDED_MAX),
    largest(f"{THREE}, {AROUND}", MAX, size=ODD),
    largest(f"kernel_shape = [3, 3], {AROUND}", MAX),
    largest(f"{TWO}, ceil_mode = 1", MAX, size=ODD),
    largest(f"{THREE}, ceil_mode = 1", MAX),
    largest(f"{THREE}, ceil_mode = 1, {AROUND}", PADDED_MAX),
    largest("kernel_shape = [2, 3], strides = [1, 2], pads = [1, 0, 0, 2]", PADDED_MAX),
    largest(f'{THREE}, auto_pad = "SAME_UPPER"', MAX),
    largest(f'{THREE}, auto_pad = "SAME_LOWER"', PADDED_MAX),
    largest(f'{THREE}, auto_pad = "VALID"', MAX),
    largest("kernel_shape = [5, 5], pads = [2, 2, 2, 2]", MAX),
    largest("kernel_shape = [2, 2], dilations = [2, 3]",
            "STRIDED_SLICE STRIDED_SLICE MAXIMUM STRIDED_SLICE STRIDED_SLICE MAXIMUM"),
    largest("kernel_shape = [3, 2], dilations = [2, 1], strides = [2, 2], pads = [1, 1, 2, 0]", ""),
    OpCase("r = Reshape (x, flat) y = MaxPool <kernel_shape = [3], strides = [2]> (r)", ROW,
           outputs="float[N,M,O] y", operators="RESHAPE MAX_POOL_2D RESHAPE"),
    OpCase("r = Reshape (x, flat) y = MaxPool <kernel_shape = [2], dilations = [3]> (r)", ROW,
           outputs="float[N,M,O] y"),
    mean(TWO, MEAN),
    mean(TWO, MEAN, size=ODD),
    mean(f"{THREE}, {AROUND}", f"{PADDED_MEAN} MUL", integer=False),
    mean(f"{THREE}, {AROUND}", MEAN, size=ODD),
    mean(f"{THREE}, {AROUND}, {COUNTED}", PADDED_MEAN),
    mean(f"{THREE}, {AROUND}, {COUNTED}", PADDED_MEAN, size=ODD),
    mean(f"kernel_shape = [3, 3], {AROUND}", MEAN),
    mean(f"kernel_shape = [3, 3], {AROUND}, {COUNTED}", PADDED_MEAN),
    mean(f"{TWO}, ceil_mode = 1", MEAN, size=ODD),
    mean(f"{THREE}, ceil_mode = 1", MEAN),
    mean(f"{THREE}, ceil_mode = 1, {AROUND}", f"{PADDED_MEAN} MUL", integer=False),
    mean(f"{THREE}, ceil_mode = 1, {AROUND}, {COUNTED}", f"{PADDED_MEAN} MUL", integer=False),
    mean("kernel_shape = [2, 3], strides = [1, 2], pads = [1, 0, 0, 2]", f"{PADDED_MEAN} MUL",
         integer=False),
    mean(f'{THREE}, auto_pad = "SAME_UPPER"', MEAN),
    mean(f'{THREE}, auto_pad = "SAME_LOWER"', f"{PADDED_MEAN} MUL", integer=False),
    mean("kernel_shape = [8, 8]", MEAN, terms=64),
    OpCase("r = Reshape (x, flat) y = AveragePool <kernel_shape = [3], pads = [1, 1]> (r)", ROW,
           outputs="float[N,M,O] y", terms=3, operators="RESHAPE AVERAGE_POOL_2D RESHAPE"),
    OpCase("y = GlobalAveragePool (x)", terms=64, operators="MEAN"),
    OpCase("y = GlobalMaxPool (x)", operators="REDUCE_MAX"),
    OpCase("r = Reshape (x, flat) y = GlobalMaxPool (r)", ROW, outputs="float[N,M,O] y"),
]  # fmt: skip

# onnxruntime's integer kernel counts here what ceil_mode reaches beyond the image; its float one
# does not, nor does the simulation of the very same integers.
OURS = mean(f"{TWO}, ceil_mode = 1, {COUNTED}", MEAN, size=ODD)


def test_what_ceil_mode_reaches_beyond_never_counts() -> None:
    check_float(OURS)
    lowered, plan = quantized(OURS)
    expected = run(lowered, OURS.frames(), simulate=True)[0]
    actual = run_tflite(tflite.write(lowered, {}), OURS.frames())[0]
    assert np.abs(expected - actual).max() <= 1.01 * float(plan.values["y"].scale)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("y, i = MaxPool <kernel_shape = [2, 2]> (x)", "Indices"),
        ("q = Unsqueeze (x, last) y = MaxPool <kernel_shape = [2, 2, 1]> (q)", "one or two"),
        ("y = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (x)", "dilations"),
        ("y = LpPool <kernel_shape = [2, 2]> (x)", "LpPool has no form"),
    ],
)
def test_refused(body: str, words: str) -> None:
    case = OpCase(body, {"last": [4]} if "last" in body else {})
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
