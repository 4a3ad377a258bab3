"""Ops that only say where numbers are: what they cost in TFLite, and what follows them."""

from __future__ import annotations

import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from runtime.tflite import read_tflite
from tests.converters.op_matrix import OpCase, check_float, check_int8

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]
CONV = {"w": (6, 8, 3, 3)}
SHUFFLED = "r = Reshape (x, five) t = Transpose <perm = [0, 2, 1, 3, 4]> (r) f = Reshape (t, four)"
SHUFFLE = {"five": [1, 2, 4, 8, 8], "four": [0, 8, -1, 8]}
WIDE = (8, 8, 8)


def shaped(body: str, rank: int, operators: str = "", **constants: list[int]) -> OpCase:
    letters = ",".join("NMOPQRS"[:rank])
    return OpCase(body, constants, operators=operators, outputs=f"float[{letters}] y")


CASES = [
    # A layout is only a name for what is there.
    *(
        OpCase(f"t = Transpose <perm = {perm}> (x) y = Neg (t)", operators="NEG", integer=False)
        for perm in ([0, 2, 3, 1], [3, 2, 1, 0], [0, 1, 3, 2], [1, 0, 2, 3])
    ),
    OpCase("t = Transpose (x) r = Relu (t) y = Transpose (r)"),
    # One that is asked for: rows and columns change places under a convolution.
    OpCase("t = Transpose <perm = [0, 1, 3, 2]> (x) y = Conv (t, w)", {"w": (2, 4, 3, 3)},
           terms=36, operators="TRANSPOSE CONV_2D"),
    shaped("y = Flatten (x)", 2, "RESHAPE GATHER"),
    shaped("y = Flatten <axis = 2> (x)", 2, "RESHAPE"),
    shaped("y = Flatten <axis = 0> (x)", 2, "RESHAPE GATHER"),
    shaped("y = Flatten <axis = -1> (x)", 2, "RESHAPE TRANSPOSE RESHAPE"),
    shaped("y = Reshape (x, f)", 3, "RESHAPE", f=[0, 0, -1]),
    shaped("y = Reshape (x, f)", 4, "RESHAPE TRANSPOSE RESHAPE", f=[1, 8, 4, 8]),
    shaped("y = Reshape (x, f)", 2, f=[-1, 8]),
    shaped("y = Reshape (x, f)", 1, f=[-1]),
    # No part of the one is a part of the other.
    shaped("g = Slice (x, lo, hi, ax) y = Reshape (g, f)", 2, lo=[0, 0], hi=[3, 5], ax=[1, 2],
           f=[10, 12]),
    shaped("u = Unsqueeze (x, a0) r = Relu (u) y = Squeeze (r, a0)", 4, a0=[0]),
    shaped("y = Unsqueeze (x, axes)", 6, "RESHAPE", axes=[-1, 2]),
    shaped("y = Squeeze (x, axes)", 3, "RESHAPE", axes=[0]),
    shaped("y = Squeeze (x)", 3, "RESHAPE"),
    # What is reshaped twice is reshaped once, and back again not at all.
    shaped("r = Reshape (x, f) u = Unsqueeze (r, a2) y = Relu (u)", 4, "RESHAPE RELU",
           f=[1, 4, 64], a2=[2]),
    shaped("r = Reshape (x, f) b = Reshape (r, g) y = Relu (b)", 4, f=[1, 4, 64], g=[1, 4, 8, 8]),
    OpCase("i = Identity (x) y = Relu (i)"),
    # A channel shuffle costs a gather, and nothing before a convolution.
    OpCase(f"{SHUFFLED} y = Relu (f)", SHUFFLE, WIDE, operators="GATHER RELU"),
    OpCase(f"{SHUFFLED} y = Conv (f, w)", {**SHUFFLE, **CONV}, WIDE, terms=72,
           operators="CONV_2D"),
    OpCase(f"{SHUFFLED} y = Conv <group = 8> (f, w)", {**SHUFFLE, "w": (8, 1, 3, 3)}, WIDE,
           terms=9, operators="GATHER DEPTHWISE_CONV_2D"),
    # An image flattened into a layer: the weights are put in order instead.
    OpCase("f = Flatten (x) y = Gemm <transB = 1> (f, w)", {"w": (5, 256)}, terms=256,
           outputs="float[N,M] y", operators="RESHAPE FULLY_CONNECTED"),
]  # fmt: skip

# Shapes that the graph computes from shapes; the passes fold them before anything is quantized.
SHAPES = [
    shaped("n = Shape <start = 0, end = 2> (x) k = Concat <axis = 0> (n, rest) y = Reshape (x, k)",
           3, "RESHAPE", rest=[-1]),
    shaped("n = Shape (x) z = ConstantOfShape <value = float[1] {0.5}> (n) y = Mul (x, z)", 4,
           "MUL"),
]  # fmt: skip

REFUSED = [
    (OpCase("u = Relu (x) i = Cast <to = 7> (u) a = Slice (i, lo, hi) r = Reshape (a, one) "
            "m = Max (r, least) y = Reshape (x, m)",
            {"lo": [0] * 4, "hi": [1] * 4, "one": [1], "least": [1, 4, 4, 16]}),
     "does not depend on the input"),
    (OpCase("y, m = Dropout (x) e = Cast <to = 1> (m)", outputs="float[N,M,O,P] y, float[N] e"),
     "second result"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES + SHAPES, ids=str)
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


TWO = "float[N,M,O,P] y, float[N,M,O,P] z"


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu (x) z = Identity (y)",
        "y = Relu (x) z = Transpose <perm = [0, 2, 3, 1]> (y)",
        "y = Relu (x) z = Add (y, x)",
        "y, z = Split <num_outputs = 2, axis = 1> (x)",
    ],
)
def test_two_outputs_of_the_same_numbers_keep_their_names(body: str) -> None:
    case = OpCase(body, outputs=TWO)
    for data in (check_float(case), check_int8(case)):
        assert [tensor.name for tensor in read_tflite(data).outputs] == ["y", "z"]


def test_an_output_is_not_an_input() -> None:
    case = OpCase("y = Relu (x) z = Transpose <perm = [0, 3, 1, 2]> (frames)",
                  outputs="float[N,M,O,P] y, uint8[N,M,O,P] z")  # fmt: skip
    file = read_tflite(check_float(case))
    assert [tensor.name for tensor in (*file.inputs, *file.outputs)] == ["frames", "y", "z"]
