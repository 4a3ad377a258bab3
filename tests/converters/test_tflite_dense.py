"""Fully connected layers and products of matrices in TFLite."""

from __future__ import annotations

from typing import Any

import pytest

from converters.formats import tflite
from device_profiles.errors import ModelError
from tests.converters.op_matrix import OpCase, check_float, check_int8

# x is (1, 4, 8, 8): `f` one row of 256, `m` a matrix (4, 64), `t` rank 3, (1, 4, 64).
FLAT = "f = Flatten (x)"
MATRIX = "m = Reshape (x, sizes)"
SIZES: dict[str, Any] = {"sizes": [4, 64]}
THIRD = {"third": [1, 4, 64]}
NO_INT8 = {"integer": False}


def case(body: str, terms: int, constants: dict[str, Any], **rest: Any) -> OpCase:
    rest.setdefault("outputs", "float[N,M] y")
    return OpCase(body, constants, terms=terms + 1, **rest)


def gemm(attributes: str, weight: tuple[int, int], operators: str = "", **more: Any) -> OpCase:
    integer = more.pop("integer", True)
    add = ", b" if "b" in more else ""
    attributes = attributes and f"<{attributes}>"
    body = f"{MATRIX} y = Gemm {attributes} (m, w{add})"
    return case(body, 64, {"w": weight, **SIZES, **more}, operators=operators, integer=integer)


DENSE = "RESHAPE TRANSPOSE FULLY_CONNECTED"
MANY = "RESHAPE TRANSPOSE BATCH_MATMUL"
CASES = [
    case(f"{FLAT} y = Gemm <transB = 1> (f, w, b)", 256, {"w": (10, 256), "b": (10,)},
         operators="RESHAPE FULLY_CONNECTED"),
    case(f"{FLAT} g = Gemm <transB = 1> (f, w) y = Relu (g)", 256, {"w": (10, 256)},
         operators="RESHAPE FULLY_CONNECTED"),
    case(f"{FLAT} g = Gemm <transB = 1> (f, w, b) y = Clip (g, low, high)", 256,
         {"w": (10, 256), "b": (10,), "low": 0.0, "high": 6.0},
         operators="RESHAPE FULLY_CONNECTED"),
    gemm("transB = 1", (10, 64), b=(10,)),
    gemm("", (64, 10), **NO_INT8),
    gemm("transB = 1", (10, 64), b=(1, 10), **NO_INT8),
    gemm("transB = 1", (10, 64), b=0.5, **NO_INT8),
    gemm("transB = 1, alpha = 0.3", (10, 64), **NO_INT8),
    gemm("transB = 1, alpha = 0.3, beta = 0.7", (10, 64), b=(10,), **NO_INT8),
    gemm("transB = 1, beta = 0.7", (10, 64), b=(4, 1), **NO_INT8),
    gemm("alpha = 2.0", (64, 10), b=(4, 10), **NO_INT8),
    gemm("transA = 1", (4, 10), b=(10,), **NO_INT8),
    gemm("transA = 1, transB = 1", (10, 4), **NO_INT8),
    case(f"{MATRIX} y = Gemm <transB = 1> (m, m)", 64, SIZES, **NO_INT8),
    case(f"{MATRIX} n = Abs (m) y = Gemm <transA = 1, alpha = 0.5> (m, n)", 4, SIZES, **NO_INT8),
    case(f"{MATRIX} n = Abs (m) g = Gemm <transB = 1> (m, n) y = Gemm <beta = 0.5> (w, m, k)", 64,
         {**SIZES, "w": (3, 4), "k": (3, 64)}, outputs="float[N,M] y", **NO_INT8),
    case(f"{MATRIX} r = Slice (m, zero, four, one) y = Gemm <transB = 1, beta = 0.5> (m, w, r)", 65,
         {**SIZES, "w": (4, 64), "zero": [0], "four": [4], "one": [1]}, **NO_INT8),
    # MatMul with a matrix that is known.
    case(f"{FLAT} y = MatMul (f, w)", 256, {"w": (256, 10)}, operators="RESHAPE FULLY_CONNECTED"),
    case("t = Reshape (x, third) y = MatMul (t, w)", 64, {"w": (64, 10), **THIRD},
         outputs="float[N,M,O] y"),
    case("t = Reshape (x, third) g = MatMul (t, w) y = Add (g, b)", 64,
         {"w": (64, 10), "b": (10,), **THIRD}, outputs="float[N,M,O] y",
         operators="RESHAPE TRANSPOSE FULLY_CONNECTED"),
    case("t = Reshape (x, third) g = MatMul (t, w) h = Add (b, g) y = Relu (h)", 64,
         {"w": (64, 10), "b": (1, 1, 10), **THIRD}, outputs="float[N,M,O] y",
         operators="RESHAPE TRANSPOSE FULLY_CONNECTED"),
    case("t = Reshape (x, third) g = MatMul (t, w) y = Add (g, b)", 64,
         {"w": (64, 10), "b": (4, 1), **THIRD}, outputs="float[N,M,O] y",
         operators="RESHAPE TRANSPOSE FULLY_CONNECTED ADD"),
    case("y = MatMul (x, w)", 8, {"w": (8, 3)}, outputs="float[N,M,O,P] y",
         operators="TRANSPOSE FULLY_CONNECTED"),
    # The channels of a picture are its last axis already.
    case("t = Transpose <perm = [0, 2, 3, 1]> (x) y = MatMul (t, w)", 4, {"w": (4, 6)},
         outputs="float[N,M,O,P] y", operators="FULLY_CONNECTED"),
    case("t = Transpose <perm = [0, 3, 2, 1]> (x) y = MatMul (t, w)", 4, {"w": (4, 6)},
         outputs="float[N,M,O,P] y", operators="FULLY_CONNECTED"),
    # Products of two that are computed.
    case("y = MatMul (x, x)", 8, {}, outputs="float[N,M,O,P] y"),
    case("t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul (x, t)", 8, {},
         outputs="float[N,M,O,P] y", operators="TRANSPOSE TRANSPOSE BATCH_MATMUL"),
    case("t = Reshape (x, third) u = Transpose <perm = [0, 2, 1]> (t) y = MatMul (u, t)", 4, THIRD,
         outputs="float[N,M,O] y", operators="RESHAPE BATCH_MATMUL"),
    case("t = Reshape (x, third) u = Transpose <perm = [0, 2, 1]> (t) y = MatMul (t, u)", 64, THIRD,
         outputs="float[N,M,O] y", operators="RESHAPE BATCH_MATMUL"),
    case("t = Reshape (x, sizes) y = MatMul (x, t)", 8, {"sizes": [8, 32]},
         outputs="float[N,M,O,P] y"),
    case("t = Reshape (x, sizes) y = MatMul (t, x)", 8, {"sizes": [4, 1, 8, 8]},
         outputs="float[N,M,O,P] y"),
    case("y = MatMul (w, x)", 8, {"w": (5, 8)}, outputs="float[N,M,O,P] y"),
    case("y = MatMul (x, w)", 8, {"w": (4, 8, 3)}, outputs="float[N,M,O,P] y"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_int8(case: OpCase) -> None:
    check_int8(case)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("y = MatMul (x, w)", {"w": (8,)}, "two to five axes"),
    ('y = Einsum <equation = "bchw,dh->bcdw"> (x, w)', {"w": (3, 8)}, "Einsum has no form"),
]


@pytest.mark.parametrize(("body", "constants", "words"), REFUSED)
def test_refused(body: str, constants: dict[str, Any], words: str) -> None:
    rank = 3 if "MatMul" in body else 4
    outputs = "float[" + ",".join("NMOP"[:rank]) + "] y"
    with pytest.raises(ModelError, match=words):
        tflite.write(OpCase(body, constants, outputs=outputs).model(), {})
