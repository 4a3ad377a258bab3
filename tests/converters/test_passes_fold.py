"""The passes that fold arithmetic into weights: they fire, keep the numbers, and come to rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from converters.passes import load
from tests.converters.graph_cases import Case, assert_same, compute, feeds, frozen, ops

BN = {"g": (8,), "b": (8,), "m": (8,), "v": np.linspace(0.2, 2, 8, dtype=np.float32)}
BN_C = "BatchNormalization <epsilon=0.1> (c, g, b, m, v)"
SAME = "<pads=[1,1,1,1]>"
W, WB = {"w": (8, 3, 3, 3)}, {"w": (8, 3, 3, 3), "wb": (8,)}
X8 = "float[1,8,6,6] x"
MATRIX = "float[2,5] x"
TO8 = {"w": (5, 8)}
Y2 = "float[N,M] y"
ROW = (8, 1, 1)

FIRES = [
    Case("fold_batchnorm", f"c = Conv {SAME} (x, w) y = {BN_C}", "Conv", {**BN, **W}),
    Case("fold_batchnorm", f"c = Conv (x, w, wb) y = {BN_C}", "Conv", {**BN, **WB}),
    Case(
        "fold_batchnorm",
        f"c = Conv <group=8> (x, w) y = {BN_C}",
        "Conv",
        {**BN, "w": (8, 1, 3, 3)},
        X8,
    ),
    Case(
        "fold_batchnorm",
        f"c = Conv <group=2> (x, w) y = {BN_C}",
        "Conv",
        {**BN, "w": (8, 2, 3, 3)},
        "float[1,4,6,6] x",
    ),
    Case(
        "fold_batchnorm",
        f"c = ConvTranspose <strides=[2,2]> (x, w, wb) y = {BN_C}",
        "ConvTranspose",
        {**BN, "w": (3, 8, 2, 2), "wb": (8,)},
    ),
    Case(
        "fold_batchnorm",
        f"c = ConvTranspose <group=2> (x, w) y = {BN_C}",
        "ConvTranspose",
        {**BN, "w": (6, 4, 3, 3)},
        "float[1,6,5,5] x",
    ),
    Case(
        "fold_batchnorm",
        f"c = Gemm <transB=1> (x, w, wb) y = {BN_C}",
        "Gemm",
        {**BN, "w": (8, 5), "wb": (8,)},
        MATRIX,
        Y2,
    ),
    Case("fold_batchnorm", f"c = Relu (x) y = {BN_C}", "Relu Mul Add", BN, X8),
    Case("fold_batchnorm", f"c = Conv (x, w) r = Relu (c) z = {BN_C} y = Add (r, z)",
         "Conv Relu Mul Add Add", {**BN, **W}),
    Case("fold_affine", "c = Conv (x, w) y = Mul (c, s)", "Conv", {**W, "s": ROW}),
    Case("fold_affine", "c = Conv (x, w) y = Add (s, c)", "Conv", {**W, "s": ROW}),
    Case("fold_affine", "c = Conv (x, w, wb) y = Sub (s, c)", "Conv", {**WB, "s": ROW}),
    Case("fold_affine", "c = Conv (x, w, wb) d = Div (c, s) y = Sub (d, t)", "Conv",
         {**WB, "s": 2.5, "t": (1, 8, 1, 1)}),
    Case("fold_affine", "c = ConvTranspose <group=2> (x, w) y = Mul (c, s)", "ConvTranspose",
         {"w": (6, 4, 3, 3), "s": ROW}, "float[1,6,5,5] x"),
    Case("fold_affine", "c = Gemm <transB=1> (x, w) m = Mul (c, s) y = Add (m, t)", "Gemm",
         {"w": (8, 5), "s": (8,), "t": 0.25}, MATRIX, Y2),
    Case("fold_affine", "a = Relu (x) b = Mul (a, s) c = Mul (b, t) y = Add (c, u)", "Relu Mul Add",
         {"s": ROW, "t": 3.0, "u": ROW}, X8),
    Case("fold_affine", "a = Relu (x) b = Mul (a, s) y = Div (b, s)", "Relu", {"s": 4.0}, X8),
    Case("fold_normalization", f"d = Div (x, s) y = Conv {SAME} (d, w)", "Conv",
         {**W, "s": np.array([0.2, 0.3, 0.4], np.float32).reshape(3, 1, 1)}),
    Case("fold_normalization", f"m = Sub (x, t) d = Div (m, s) y = Conv {SAME} (d, w)", "Sub Conv",
         {**W, "t": (3, 1, 1), "s": 0.5}),
    Case("fold_normalization", "m = Sub (x, t) d = Div (m, s) y = Conv (d, w, wb)", "Conv",
         {**WB, "t": (3, 1, 1), "s": 0.5}),
    Case("fold_normalization", "m = Mul (x, s) d = Add (m, t) y = Conv (d, w)", "Conv",
         {**W, "t": (1, 3, 1, 1), "s": 0.5}),
    Case("fold_normalization",
         f"p = Gather <axis=1> (x, i) m = Sub (p, t) d = Div (m, s) y = Conv {SAME} (d, w)",
         "Sub Conv", {**W, "i": [2, 1, 0], "t": (3, 1, 1), "s": (3, 1, 1)}),
    Case("fold_normalization",
         f"m = Sub (x, t) p = Gather <axis=-3> (m, i) y = Conv {SAME} (p, w)",
         "Sub Conv", {**W, "i": [1, 2, -3], "t": (3, 1, 1)}),
    Case("fold_normalization", "d = Div (x, s) m = Sub (d, t) y = Conv <group=2> (m, w)", "Conv",
         {"w": (8, 2, 3, 3), "s": (4, 1, 1), "t": (4, 1, 1)}, "float[1,4,6,6] x"),
    Case("gemm", "a = MatMul (x, w) y = Add (a, t)", "Gemm", {**TO8, "t": (8,)}, MATRIX, Y2),
    Case("gemm", "a = MatMul (x, w) y = Add (t, a)", "Gemm", {**TO8, "t": (1, 8)}, MATRIX, Y2),
    Case("gemm", "y = MatMul (x, w)", "Gemm", {"w": (5, 8)}, MATRIX, Y2),
    Case("gemm", "y = Gemm <alpha=0.5, beta=3.0> (x, w, t)", "Gemm", {"w": (5, 8), "t": 0.7},
         MATRIX, Y2),
    Case("gemm", "y = Gemm <alpha=0.5, transB=1> (x, w)", "Gemm", {"w": (4, 5)}, MATRIX, Y2),
]  # fmt: skip

RESTS = [
    Case("fold_batchnorm", f"v = Abs (d) c = Conv (x, w) y = {BN_C}",
         constants={**{k: BN[k] for k in "gbm"}, **W, "d": (8,)},
         reason="its variance is not constant"),
    Case("fold_batchnorm", "c = Conv (x, w) y, p, q = BatchNormalization <training_mode=1> "
         "(c, g, b, m, v)", constants={**BN, **W}, reason="training mode"),
    Case("fold_batchnorm", f"k = Relu (w) c = Conv (x, k) y = {BN_C}", constants={**BN, **W},
         reason="the weight of Conv is not constant"),
    Case("fold_batchnorm", f"c = Gemm (x, w) y = {BN_C}", constants={**BN, "w": (5, 8)},
         inputs=MATRIX, outputs=Y2, reason="normal form"),
    Case("fold_affine", "c = Conv (x, w) y = Mul (c, s)", constants={**W, "s": (6, 6)},
         reason="not one number per channel"),
    Case("fold_affine", "c = Conv (x, w) y = Div (c, s)",
         constants={**W, "s": 0.0}, reason="not one number per channel"),
    Case("fold_affine", "a = Relu (x) b = Mul (a, s) y = Add (b, s)", constants={"s": ROW},
         inputs=X8),
    Case("fold_affine", "c = Conv (x, w) z = Relu (c) m = Mul (c, s) y = Add (m, z)",
         constants={**W, "s": ROW}),
    Case("fold_normalization", f"m = Sub (x, t) y = Conv {SAME} (m, w)",
         constants={**W, "t": (3, 1, 1)}, reason="pads with zeros"),
    Case("fold_normalization", "m = Sub (x, t) y = Conv <auto_pad=\"SAME_UPPER\"> (m, w)",
         constants={**W, "t": (3, 1, 1)}, reason="pads with zeros"),
    Case("fold_normalization", "d = Mul (x, s) e = Add (d, t) y = Conv (e, w)",
         constants={**W, "t": 1.0, "s": np.array([1, 0, 1], np.float32).reshape(3, 1, 1)},
         reason="a scale before the convolution is zero"),
    Case("fold_normalization", "p = Gather <axis=1> (x, i) y = Conv <group=2> (p, w)",
         constants={"w": (8, 2, 3, 3), "i": [3, 2, 1, 0]}, inputs="float[1,4,6,6] x",
         reason="grouped"),
    Case("fold_normalization", "p = Gather <axis=1> (x, i) y = Conv (p, w)",
         constants={"w": (8, 3, 3, 3), "i": [0, 0, 2]}),
    Case("fold_normalization", "d = Div (x, s) c = Conv (d, w) y = Add (c, d)",
         constants={"w": (3, 3, 1, 1), "s": 2.0}),
    Case("fold_normalization", "k = Relu (w) d = Div (x, s) y = Conv (d, k)",
         constants={**W, "s": 2.0}, reason="the weight of Conv is not constant"),
    Case("gemm", "y = MatMul (x, w)", constants={"w": (5, 8)}, inputs="float[1,2,5] x",
         outputs="float[N,M,O] y", reason="3-D meets 2-D"),
    Case("gemm", "y = MatMul (x, x)", inputs="float[5,5] x", outputs=Y2, reason="not constant"),
    Case("gemm", "y = Gemm <transA=1> (x, w)", constants={"w": (2, 8)}, inputs=MATRIX, outputs=Y2,
         reason="transA=1"),
    Case("gemm", "y = Gemm (x, w, t)", constants={"w": (5, 8), "t": (2, 8)}, inputs=MATRIX,
         outputs=Y2, reason="differs from row to row"),
]  # fmt: skip


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_fires_keeps_the_numbers_and_rests(case: Case) -> None:
    model = case.model()
    before = frozen(model)
    assert load(case.name)(model).fired > 0
    assert ops(model) == case.after
    assert_same(before, frozen(model))
    assert load(case.name)(model).fired == 0


@pytest.mark.parametrize("case", RESTS, ids=str)
def test_leaves_alone_and_says_why(case: Case) -> None:
    model = case.model()
    before = frozen(model)
    report = load(case.name)(model)
    assert report.fired == 0
    assert [case.reason in skip.reason for skip in report.skips] == [True] * bool(case.reason)
    assert frozen(model).SerializeToString() == before.SerializeToString()


def test_weights_that_two_convolutions_share_are_copied() -> None:
    body = f"c = Conv (x, w) d = Conv (x, w) e = {BN_C} y = Sub (d, e)"
    model = Case("fold_batchnorm", body, constants={**BN, **W}).model()
    before = frozen(model)
    assert load("fold_batchnorm")(model).fired == 1
    assert_same(before, frozen(model))
    assert len({value.name for value in _weights(model)}) == 2


def _weights(model: ir.Model) -> list[ir.Value]:
    return [node.inputs[1] for node in model.graph if node.op_type == "Conv" and node.inputs[1]]


def test_the_mean_stays_in_the_units_of_the_input() -> None:
    body = f"a = Div (x, k) b = Sub (a, t) c = Div (b, s) y = Conv {SAME} (c, w)"
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    constants = {**W, "k": 255.0, "t": mean, "s": 0.225}
    model = Case("fold_normalization", body, constants=constants).model()
    load("fold_normalization")(model)
    sub = model.graph[0]
    assert sub.inputs[1] is not None and sub.inputs[1].const_value is not None
    np.testing.assert_allclose(sub.inputs[1].const_value.numpy(), mean * 255, rtol=1e-6)


def test_folding_is_done_in_double_precision() -> None:
    case = Case("fold_batchnorm", f"c = Conv {SAME} (x, w) y = {BN_C}", constants={**BN, **W})
    model = case.model()
    arrays = {t.name: numpy_helper.to_array(t) for t in frozen(model).graph.initializer}
    exact = {name: array.astype(np.float64) for name, array in arrays.items()}
    scale = exact["g"] / np.sqrt(exact["v"] + np.float64(np.float32(0.1)))
    load("fold_batchnorm")(model)
    folded = {t.name: numpy_helper.to_array(t) for t in frozen(model).graph.initializer}
    expected = (exact["w"] * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(folded["w"], expected)


def test_an_initializer_that_a_caller_may_override_is_no_constant() -> None:
    case = Case("fold_affine", "c = Conv (x, w) y = Mul (c, s)", constants={**W, "s": ROW})
    model = case.model()
    model.graph.inputs.append(model.graph.initializers["s"])
    assert load("fold_affine")(model).fired == 0


def test_half_precision_stays_half() -> None:
    half = {k: np.ones(s, np.float16) / 3 for k, s in {"w": (8, 3, 3, 3), "s": ROW}.items()}
    case = Case("fold_affine", "c = Conv (x, w) y = Mul (c, s)", constants=half)
    case = dataclasses.replace(case, inputs="float16[1,3,8,8] x", outputs="float16[N,M,O,P] y")
    model = case.model()
    before = frozen(model)
    assert load("fold_affine")(model).fired == 1
    feed = {"x": feeds(before)["x"].astype(np.float16)}
    expected, actual = compute(before, feed)[0], compute(frozen(model), feed)[0]
    assert actual.dtype == np.float16
    # 27 products, each rounded to float16's eps of 2**-10
    np.testing.assert_allclose(actual, expected, atol=27 * 2**-10 * np.abs(expected).max())
