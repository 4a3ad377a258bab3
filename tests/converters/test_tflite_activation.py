"""Activations in TFLite, alone and composed, on floats and on integers of 8 and 16 bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

# Functions that both engines compute by taking numbers of the size of x from each other: the error
# is one of |f(|x|)|, not of what is left of it, which is what `terms` above 1 asks for.
CANCELS = 2
# onnxruntime takes 1 from exp(x), LiteRT has expm1: next to 0 (|x| >= 1/64) only the second keeps
# all digits.
NEAR_ZERO = 16

CASES = [
    OpCase("t = Tanh (x) y = Relu (t)", operators="TANH RELU"),
    OpCase(
        "n = LeakyRelu <alpha = -4.0> (x) y = Clip (n, a, b)",
        {"a": 0.0, "b": 6.0},
        operators="LEAKY_RELU RELU6",
    ),
    OpCase(
        "n = LeakyRelu <alpha = 1.5> (x) y = Clip (n, a, b)",
        {"a": -1.0, "b": 1.0},
        operators="LEAKY_RELU RELU_N1_TO_1",
    ),
    OpCase("y = Clip (x, a, b)", {"a": 0.0, "b": 1.0}, operators="RELU_0_TO_1"),
    OpCase("y = Clip (x, a, b)", {"a": -0.3, "b": 1.2}, operators="MAXIMUM MINIMUM"),
    OpCase("y = Clip (x, a)", {"a": -0.3}, operators="MAXIMUM"),
    OpCase("y = Clip (x, , b)", {"b": 0.7}, operators="MINIMUM"),
    OpCase("y = Sigmoid (x)", operators="LOGISTIC"),
    OpCase("y = Tanh (x)", operators="TANH"),
    OpCase("y = LeakyRelu (x)", operators="LEAKY_RELU"),
    OpCase("y = LeakyRelu <alpha = 0.2> (x)", operators="LEAKY_RELU"),
    OpCase("y = LeakyRelu <alpha = 1.7> (x)", operators="LEAKY_RELU"),
    OpCase("y = LeakyRelu <alpha = -0.5> (x)", operators="LEAKY_RELU"),
    OpCase("y = PRelu (x, w)", {"w": np.array([[[0.25]]], np.float32)}, operators="LEAKY_RELU"),
    OpCase("g = Sigmoid (x) y = Mul (x, g)", operators="LOGISTIC MUL"),
]
# With a kernel for int8 and none for int16.
EIGHT = [
    OpCase("y = HardSwish (x)", operators="HARD_SWISH"),
    OpCase("y = PRelu (x, w)", {"w": (4, 1, 1)}, operators="PRELU"),
    OpCase("y = PRelu (x, w)", {"w": (1, 4, 1, 1)}, operators="PRELU"),
    OpCase("y = PRelu (x, w)", {"w": (4, 8, 8)}, operators="PRELU"),
    OpCase("y = PRelu (x, w)", {"w": (1, 1, 8)}, operators="PRELU"),
    OpCase("y = Elu (x)", ulps=NEAR_ZERO, operators="ELU"),
    OpCase("y = Gelu (x)", terms=CANCELS, operators="GELU"),
    OpCase('y = Gelu <approximate = "tanh"> (x)', terms=CANCELS, operators="GELU"),
    OpCase("y = HardSigmoid (x)", operators="MUL ADD MUL"),
    OpCase("y = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x)", operators="ADD MUL"),
    OpCase("y = HardSigmoid <alpha = 0.9, beta = -0.1> (x)", operators="MUL ADD MUL"),
    OpCase("h = HardSigmoid <alpha = 0.16666667> (x) y = Mul (x, h)", operators="ADD MUL MUL"),
    # After a kernel whose result is on its input's grid, or on one of its own, they stay ops.
    OpCase("m = MaxPool <kernel_shape = [2, 2]> (x) y = Relu (m)", operators="MAX_POOL_2D RELU"),
    # Means of four integers lie halfway between two; a step of theirs is two of the result.
    OpCase("m = AveragePool <kernel_shape = [2, 2]> (x) y = Relu (m)", loose=0.2, far=3),
    OpCase("m = ReduceMax (x, axes) y = Relu (m)", {"axes": [2, 3]}),
    OpCase("v = Sigmoid (x) y = Clip (v, a, b)", {"a": 0.25, "b": 0.75}),
    OpCase("v = Softmax (x) y = Clip (v, a)", {"a": 0.1}, ulps=16),
    OpCase("v = LogSoftmax (x) y = Clip (v, a, b)", {"a": -3.0, "b": -1.0}, ulps=64),
]
REAL = [
    OpCase("a = Neg (x) y = PRelu (x, a)", operators="NEG PRELU"),
    OpCase("y = Elu <alpha = 0.5> (x)", ulps=NEAR_ZERO, operators="ELU LEAKY_RELU"),
    OpCase("y = Elu <alpha = 2.5> (x)", ulps=NEAR_ZERO, operators="ELU LEAKY_RELU"),
    OpCase("y = Selu (x)", ulps=NEAR_ZERO, operators="ELU LEAKY_RELU MUL"),
    OpCase("y = Selu <alpha = 1.2, gamma = 0.9> (x)", ulps=NEAR_ZERO),
    OpCase("y = Celu (x)", ulps=NEAR_ZERO, operators="ELU"),
    OpCase("y = Celu <alpha = 1.5> (x)", ulps=NEAR_ZERO, operators="DIV ELU MUL"),
    OpCase("y = Mish (x)", terms=CANCELS, operators="MINIMUM EXP ADD MUL ADD DIV MUL"),
    OpCase("m = Mul (x, k) y = Mish (m)", {"k": 60.0}, terms=CANCELS),
    OpCase("g = Softplus (x) t = Tanh (g) y = Mul (x, t)", terms=CANCELS),
    OpCase("y = Softplus (x)", terms=CANCELS, operators="RELU ABS NEG EXP ADD LOG ADD"),
    OpCase("m = Mul (x, k) y = Softplus (m)", {"k": 60.0}, terms=CANCELS),
    OpCase("y = Softsign (x)", operators="ABS ADD DIV"),
    OpCase("y = ThresholdedRelu (x)", operators="GREATER SELECT_V2"),
    OpCase("y = ThresholdedRelu <alpha = -0.4> (x)", operators="GREATER SELECT_V2"),
]


@pytest.mark.parametrize("case", CASES + EIGHT + REAL, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES + EIGHT + [replace(c, integer=False) for c in REAL], ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int16(case: OpCase) -> None:
    if "Tanh" in case.body:
        # LiteRT interpolates in a table, which at 16 bits shows in the last digit.
        case = replace(case, loose=0.05, far=3)
    if "LeakyRelu <alpha = 1.5>" in case.body:
        case = replace(case, far=3)  # a step of what is clipped is three steps of the result
    check_int8(case, Scheme("int16", symmetric=True))


REFUSED = [
    (
        OpCase("low = Reshape (x, none) y = Clip (x, low)", {"none": []}, (1, 1, 1)),
        "constant bounds only",
    ),
    (OpCase("y = Celu <alpha = -1.5> (x)"), "alpha above 0 only"),
]


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_what_cannot_be_written_is_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})
