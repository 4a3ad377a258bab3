"""The passes that write several nodes as one, and those that remove nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from converters.passes import load
from tests.converters.graph_cases import Case, assert_same, frozen, ops

W = {"w": (8, 3, 3, 3)}
PAD = {"p": [0, 0, 1, 2, 0, 0, 1, 0]}
ONES = {"p": [0, 0, 1, 1, 0, 0, 1, 1]}
K = "kernel_shape=[3,3]"
LOW = np.finfo(np.float32).min
SIX = {"zero": 0.0, "six": 6.0, "three": 3.0}
Y2, Y3 = "float[N,M] y", "float[N,M,O] y"
CF, AF, FP = "constant_folding", "fuse_activation", "fuse_pad"
EI, ER, ET = "eliminate_identity", "eliminate_reshape", "eliminate_transpose"
PG, PS = "pointwise_to_gemm", "pixel_shuffle"
CRD = 'DepthToSpace <blocksize = 2, mode = "CRD">'
DEEP, TWELVE = {"w": (12, 3, 3, 3), "b": (12,)}, "float[2,12,4,6] x"
SIX_D = {"parts": [2, 3, 2, 2, 4, 6], "whole": [2, 3, 8, 12]}
SHUFFLE = "a = Reshape (x, parts) b = Transpose <perm = [0, 1, 4, 2, 5, 3]> (a)"
ONE = "float[2,6,1,1] x"
FC, FCB = {"w": (5, 6, 1, 1)}, {"w": (5, 6, 1, 1), "b": (5,)}
HWC, CHW = "Transpose <perm=[0,2,3,1]>", "Transpose <perm=[0,3,1,2]>"

FIRES = [
    Case(AF, "a = Max (x, zero) y = Min (a, six)", "Clip", SIX),
    Case(AF, "a = Min (six, x) y = Max (zero, a)", "Clip", SIX),
    Case(AF, "a = Relu (x) y = Clip (a, zero, six)", "Clip", SIX),
    Case(AF, "a = Clip (x, zero, six) y = Relu (a)", "Clip", SIX),
    Case(AF, "a = Clip (x, three, six) y = Clip (a, zero, two)", "Clip",
         {"three": -0.5, "six": 0.5, "zero": 0.0, "two": 2.0}),
    Case(AF, "a = Relu (x) y = Relu (a)", "Relu"),
    Case(AF, "a = Relu (x) b = Relu (a) y = Add (b, a)", "Relu Add"),
    Case(AF, "y = Clip (x, zero)", "Relu", SIX),
    Case(AF, "y = Clip (x, zero, most)", "Relu", {"zero": 0.0, "most": -LOW}),
    Case(AF, "y = Max (x, zero)", "Relu", SIX),
    Case(AF, "h = HardSigmoid <alpha=0.16666667, beta=0.5> (x) y = Mul (x, h)", "HardSwish"),
    Case(AF, "a = Add (x, three) b = Clip (a, zero, six) y = Div (b, six)", "HardSigmoid", SIX),
    Case(AF, "a = Add (three, x) b = Clip (a, zero, six) c = Div (b, six) y = Mul (c, x)",
         "HardSwish", SIX),
    Case(AF, "a = Add (x, three) b = Clip (a, zero, six) c = Mul (x, b) y = Mul (c, s)",
         "HardSwish", {**SIX, "s": 1 / 6}),
    Case(AF, "a = Add (x, three) b = Relu (a) c = Min (b, six) d = Mul (c, x) y = Div (d, six)",
         "HardSwish", SIX),
    Case(FP, "a = Pad (x, p) y = Conv (a, w)", "Conv", {**W, **PAD}),
    Case(FP, "a = Pad (x, p, v) y = Conv <pads=[1,1,0,0], strides=[2,2]> (a, w)", "Conv",
         {**W, **PAD, "v": 0.0}),
    Case(FP, "a = Pad (x, p, v, axes) y = Conv <auto_pad=\"VALID\"> (a, w)", "Conv",
         {**W, "p": [2, 1, 0, 1], "v": 0.0, "axes": [-1, 2]}),
    Case(FP, "a = Pad (x, p) b = Conv (a, w) c = Conv (a, w) y = Add (b, c)", "Conv Conv Add",
         {**W, **PAD}),
    Case(FP, f"a = Pad (x, p) y = AveragePool <{K}> (a)", "AveragePool", ONES),
    Case(FP, f"a = Pad (x, p) y = AveragePool <{K}, pads=[1,0,0,1], count_include_pad=1> (a)",
         "AveragePool", {"p": [0, 0, 1, 1, 0, 0, 1, 0]}),
    Case(FP, f"r = Relu (x) a = Pad (r, p) y = MaxPool <{K}> (a)", "Relu MaxPool", ONES),
    Case(FP, f"a = Pad (x, p, v) y = MaxPool <{K}, pads=[0,0,1,1]> (a)", "MaxPool",
         {"p": [0, 0, 1, 1, 0, 0, 1, 0], "v": LOW}),
    Case("global_pool", "y = ReduceMean (x, a)", "GlobalAveragePool", {"a": [2, 3]}),
    Case("global_pool", "y = ReduceMean <keepdims=0> (x, a)", "GlobalAveragePool Reshape",
         {"a": [-1, -2]}, outputs=Y2),
    Case("global_pool", "y = ReduceMean <axes=[2,3], keepdims=0> (x)", "GlobalAveragePool Reshape",
         outputs=Y2, opset=13),
    Case("global_pool", "y = ReduceMean <keepdims=0> (x, a)", "GlobalAveragePool Reshape",
         {"a": [2, 3]}, "float[B,3,8,8] x", Y2),
    Case("global_pool", "y = ReduceMax (x, a)", "GlobalMaxPool", {"a": [2, 3]}),
    Case("global_pool", "y = AveragePool <kernel_shape=[8,8]> (x)", "GlobalAveragePool"),
    Case("fuse_slice", "a = Slice (x, s, e, i, t) y = Slice (a, s, e, j)", "Slice",
         {"s": [1], "e": [7], "i": [2], "t": [2], "j": [-1]}),
    Case("fuse_concat", "a = Concat <axis=1> (x, x) b = Relu (x) y = Concat <axis=-3> (b, a)",
         "Relu Concat"),
    Case("common_subexpressions", "a = Conv (x, w) b = Conv (x, w) c = Relu (a) d = Relu (b) "
         "y = Add (c, d)", "Conv Relu Add", W),
    Case("dead_code", "y = Relu (x) a = Sigmoid (x) b = Relu (a)", "Relu", W),
    Case(CF, "a = Add (w, w) y = Conv (x, a)", "Conv", W),
    Case(CF, "s = Shape (x) f = Gather (s, i) g = Unsqueeze (f, z) h = Concat <axis=0> (g, m) "
         "y = Reshape (x, h)", "Reshape", {"i": np.array(0), "z": [0], "m": [-1]}, outputs=Y2),
    Case(CF, "c = Constant <value = float {2.5}> () y = Mul (x, c)", "Mul"),
    Case(CF, "y = Add (x, s) a = Mul (y, t)",
         "Add Mul", {"s": 2.0, "t": 2.0}),
    Case(ER, "a = Reshape (x, s) y = Reshape (a, t)", "Reshape", {"s": [1, 24, 8], "t": [3, -1]},
         outputs=Y2),
    Case(ER, "a = Flatten (x) y = Unsqueeze (a, i)", "Reshape", {"i": [2]}, outputs=Y3),
    Case(ER, "r = Relu (x) a = Unsqueeze (r, i) y = Squeeze (a, i)", "Relu", {"i": [0]}),
    Case(ER, "a = GlobalAveragePool (x) y = Flatten (a)", "GlobalAveragePool Reshape",
         outputs=Y2),
    Case(ER, "a = GlobalAveragePool (x) y = Squeeze (a, i)", "GlobalAveragePool Reshape",
         {"i": [2, 3]}, "float[B,3,8,8] x", Y2),
    Case(ER, f"a = {HWC} (x) y = Reshape (a, s)", "Reshape", {"s": [1, 64, 1]},
         "float[1,1,8,8] x", Y3),
    Case(ET, f"r = Relu (x) a = {HWC} (r) y = {CHW} (a)", "Relu"),
    Case(ET, f"a = {HWC} (x) y = {HWC} (a)", "Transpose"),
    Case(ET, f"a = {HWC} (x) b = Relu (a) c = Mul (b, s) y = {CHW} (c)", "Relu Mul",
         {"s": (3,)}),
    Case(ET, f"a = {HWC} (x) b = Clip (a, zero, six) c = Add (s, b) y = {HWC} (c)",
         "Clip Add Transpose", {**SIX, "s": (8, 1, 3)}),
    Case(ET, f"r = Relu (x) a = {HWC} (x) b = {HWC} (r) y = Add (a, b)", "Relu Add Transpose"),
    Case(PG, "c = Conv (x, w, b) y = Flatten (c)", "Flatten Gemm", FCB, ONE, Y2),
    Case(PG, "c = Conv <strides=[2,2], dilations=[3,3]> (x, w) y = Squeeze (c, i)", "Flatten Gemm",
         {**FC, "i": [2, 3]}, ONE, Y2),
    Case(PG, "c = Conv <auto_pad=\"SAME_UPPER\"> (x, w, b) y = Reshape (c, s)", "Flatten Gemm",
         {**FCB, "s": [-1, 5]}, "float[B,6,1,1] x", Y2),
    Case(PG, "c = Conv (x, w, b) d = Conv (x, w) e = Flatten (c) f = Reshape (d, s) y = Sub (e, f)",
         "Flatten Gemm Flatten Gemm Sub", {**FCB, "s": [0, -1]}, ONE, Y2),
    Case(PG, "c = Conv (x, w) y = Flatten (c)", "Flatten Gemm", {"w": (5, 6, 1)},
         "float[2,6,1] x", Y2),
    Case(PS, f"a = Conv (x, w, b) y = {CRD} (a)", "Conv DepthToSpace", DEEP),
    Case(PS, f"a = Conv (x, w) r = Relu (a) t = Tanh (r) y = {CRD} (t)",
         "Conv Relu Tanh DepthToSpace", DEEP),
    Case(PS, f"y = {CRD} (x)", "DepthToSpace", inputs="float[2,4,3,5] x"),
    # The same convolution weights serve another one, which keeps its order.
    Case(PS, f"a = Conv (x, w, b) c = Conv (x, w) d = {CRD} (a) "
         "e = DepthToSpace <blocksize = 2> (c) y = Sub (d, e)",
         "Conv Conv DepthToSpace DepthToSpace Sub", DEEP),
    Case(PS, "a = Reshape (x, parts) b = Transpose <perm = [0, 3, 4, 1, 5, 2]> (a) "
         "y = Reshape (b, whole)", "DepthToSpace",
         {"parts": [2, 2, 2, 3, 4, 6], "whole": [2, 3, 8, 12]}, TWELVE),
    Case(PS, "v = Conv (x, w) a = Reshape (v, parts) t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (a) "
         "y = Reshape (t, whole)", "Conv DepthToSpace",
         {**DEEP, "parts": [1, 3, 2, 2, 6, 6], "whole": [1, 3, 12, 12]}),
]  # fmt: skip

NO_OPS: list[tuple[str, dict[str, Any]]] = [
    ("Identity (r)", {}),
    ("Dropout (r)", {}),
    ("Dropout (r, q, off)", {"q": 0.5, "off": np.array(False)}),
    ("Cast <to=1> (r)", {}),
    ("CastLike (r, x)", {}),
    ("Reshape (r, s)", {"s": [1, 3, 8, -1]}),
    ("Reshape (r, s)", {"s": [0, 0, 0, 0]}),
    ("Expand (r, s)", {"s": [1, 3, 1, 8]}),
    ("Transpose <perm=[0,1,2,3]> (r)", {}),
    ("Pad (r, p)", {"p": [0] * 8}),
    ("Slice (r, s, e, i)", {"s": [0], "e": [2**62], "i": [2]}),
    ("Concat <axis=1> (r)", {}),
    ("Sum (r)", {}),
    ("Max (r)", {}),
    ("Split <axis=1, num_outputs=1> (r)", {}),
    ("Add (r, z)", {"z": 0.0}),
    ("Add (z, r)", {"z": np.zeros((3, 1, 1), np.float32)}),
    ("Sub (r, z)", {"z": 0.0}),
    ("Mul (o, r)", {"o": 1.0}),
    ("Div (r, o)", {"o": np.ones((1, 3, 1, 1), np.float32)}),
    ("AveragePool <kernel_shape=[1,1]> (r)", {}),
    ("Clip (r)", {}),
]

OPS_THAT_COUNT: list[tuple[str, dict[str, Any]]] = [
    ("Dropout (r, q, on)", {"q": 0.5, "on": np.array(True)}),
    ("Reshape (r, s)", {"s": [1, 8, 3, -1]}),
    ("Pad (r, p)", {"p": [0, 0, 0, 0, 0, 0, 0, 1]}),
    ("Slice (r, s, e, i)", {"s": [0], "e": [7], "i": [2]}),
    ("Slice (r, s, e, i, t)", {"s": [-1], "e": [-99], "i": [2], "t": [-1]}),
    ("Add (r, z)", {"z": np.zeros((4, 1, 1, 1), np.float32)}),
    ("Sub (z, r)", {"z": 0.0}),
    ("Div (o, r)", {"o": 1.0}),
    ("AveragePool <kernel_shape=[1,1], strides=[2,2]> (r)", {}),
    ("Transpose <perm=[0,1,3,2]> (r)", {}),
]

RESTS = [
    Case(AF, "h = HardSigmoid <alpha=0.2, beta=0.5> (x) y = Mul (x, h)"),
    Case(AF, "h = HardSigmoid <alpha=0.16666667, beta=0.5> (x) y = Mul (x, h)", opset=13,
         reason="HardSwish is one operator since opset 14; here it is 13"),
    Case(AF, "h = Sigmoid (x) y = Mul (h, x)", reason="Swish is one operator since opset 24"),
    Case(AF, "a = Relu (x) b = Clip (a, zero, six) y = Add (a, b)", constants=SIX),
    Case(AF, "y = Clip (x, six, zero)", constants=SIX),
    Case(AF, "a = Abs (six) y = Clip (x, zero, a)", constants=SIX, reason="max is not constant"),
    Case(AF, "r = Relu (x) y = Max (x, r)"),
    Case(FP, "a = Pad (x, p, v) y = Conv (a, w)", constants={**W, **PAD, "v": 0.5},
         reason="pads with 0.5"),
    Case(FP, "a = Pad <mode=\"reflect\"> (x, p) y = Conv (a, w)", constants={**W, **PAD},
         reason="pads by reflect"),
    Case(FP, "a = Pad (x, p) y = Conv (a, w)", constants={"w": (8, 4, 3, 3), "p": [
         0, 1, 0, 0, 0, 0, 0, 0]}, reason="batch or the channels"),
    Case(FP, "a = Pad (x, p) y = Conv (a, w)", constants={**W, "p": [0, 0, -1, 0, 0, 0, 0, 0]},
         reason="crops"),
    Case(FP, "a = Pad (x, p) y = Relu (a)", constants=PAD, reason="it feeds Relu"),
    Case(FP, "y = Pad (x, p)", constants=PAD, reason="it feeds an output"),
    Case(FP, "a = Pad (x, p) y = Conv <auto_pad=\"SAME_UPPER\"> (a, w)", constants={**W, **PAD},
         reason="pads by itself"),
    Case(FP, f"a = Pad (x, p) y = AveragePool <{K}, pads=[1,1,1,1]> (a)", constants=ONES,
         reason="leaves its own padding out"),
    Case(FP, f"a = Pad (x, p) y = MaxPool <{K}> (a)", constants=ONES,
         reason="MaxPool with minus infinity"),
    Case(FP, f"a = Pad (x, p) y = AveragePool <{K}, strides=[2,2], ceil_mode=1> (a)",
         constants=ONES, reason="rounds its size up"),
    Case(FP, f"r = Relu (x) a = Pad (r, p) y = MaxPool <{K}> (a)",
         constants={"p": [0, 0, 3, 0, 0, 0, 0, 0]}, reason="a whole window"),
    Case("global_pool", "y = ReduceMean (x, a)", constants={"a": [1, 2]}, reason="exactly the two"),
    Case("global_pool", "y = ReduceMean (x)", reason="exactly the two"),
    Case("global_pool", "y = AveragePool <kernel_shape=[4,4]> (x)"),
    Case("fuse_slice", "a = Slice (x, s, e, i) y = Slice (a, s, e, i)",
         constants={"s": [1], "e": [7], "i": [2]}, reason="same axis"),
    Case("fuse_slice", "a = Slice (x, s, e, i) y = Slice (a, s, e, j)",
         constants={"s": [1], "e": [5], "i": [2], "j": [-2]}, reason="same axis"),
    Case("fuse_concat", "a = Concat <axis=2> (x, x) y = Concat <axis=1> (a, a)"),
    Case("common_subexpressions", "a = Relu (x) b = Sigmoid (x) y = Add (a, b)"),
    Case("dead_code", "y = Relu (x)"),
    Case(CF, "y = Relu (x)"),
    Case(ER, "y = Reshape (x, s)", constants={"s": [3, -1]}, outputs=Y2),
    Case(ER, f"a = {HWC} (x) y = Reshape (a, s)", constants={"s": [1, 64, 3]}, outputs=Y3),
    Case(ER, "a = Reshape (x, s) b = Relu (a) y = Reshape (b, t)",
         constants={"s": [1, 24, 8], "t": [3, -1]}, outputs=Y2),
    Case(ER, "s = Shape (z) a = Flatten (x) y = Reshape (a, s)", inputs=
         "float[1,3,8,8] x, float[K,L] z", outputs=Y2, reason="more than one size"),
    Case(ET, f"a = {HWC} (x) b = Relu (a) y = Add (b, a)"),
    Case(ET, f"a = {HWC} (x) b = Relu (a) y = Softmax (b)"),
    Case(ET, f"a = {HWC} (x) b = Transpose <perm=[0,3,2,1]> (x) y = Add (a, b)"),
    Case(PG, "c = Conv (x, w) y = Flatten (c)", constants=FC, inputs="float[2,6,1,2] x",
         outputs=Y2),
    Case(PG, "c = Conv (x, w) y = Flatten (c)", constants=FC, inputs="float[2,6,H,W] x",
         outputs=Y2),
    Case(PG, "c = Conv <pads=[1,1,1,1]> (x, w) y = Flatten (c)", constants={"w": (5, 6, 3, 3)},
         inputs=ONE, outputs=Y2),
    Case(PG, "c = Conv <pads=[0,0,0,1]> (x, w) y = Flatten (c)", constants=FC, inputs=ONE,
         outputs=Y2, reason="it pads its single pixel"),
    Case(PG, "c = Conv <group=2> (x, w) y = Flatten (c)", constants={"w": (4, 3, 1, 1)},
         inputs=ONE, outputs=Y2, reason="its 2 groups are not one matrix"),
    Case(PG, "v = Relu (w) c = Conv (x, v) y = Flatten (c)", constants=FC, inputs=ONE, outputs=Y2,
         reason="its weight is not constant"),
    Case(PG, "y = Conv (x, w)", constants=FC, inputs=ONE, reason="no reshape"),
    Case(PG, "c = Conv (x, w) y = Sigmoid (c)", constants=FC, inputs=ONE, reason="no reshape"),
    Case(PG, "c = Conv (x, w) a = Flatten (c) b = ReduceMax <keepdims=0> (c) y = Add (a, b)",
         constants=FC, inputs=ONE, outputs=Y2, reason="no reshape"),
    Case(PG, "c = Conv (x, w) y = Reshape (c, s)", constants={**FC, "s": [5, 2]}, inputs=ONE,
         outputs=Y2, reason="the Reshape after it does not make"),
    Case(PG, "c = Conv (x, w) y = Squeeze (c)", constants=FC, inputs="float[1,6,1,1] x",
         outputs="float[N] y", reason="the Squeeze after it does not make"),
    Case("inline_functions", "y = Relu (x)"),
    *(Case(EI, f"r = Relu (x) y = {body}", constants=constants)
      for body, constants in OPS_THAT_COUNT),
    Case(EI, "y = Identity (x)", reason="joins an output"),
    Case(PS, f"y = {CRD} (x)", inputs=TWELVE, reason="no convolution of one group"),
    Case(PS, f"a = Conv <group = 3> (x, w) y = {CRD} (a)", constants={"w": (12, 1, 3, 3)},
         reason="no convolution of one group"),
    Case(PS, "y = DepthToSpace <blocksize = 2> (x)", inputs=TWELVE),
    Case(PS, f"{SHUFFLE} y = Reshape (b, whole)", constants={**SIX_D, "whole": [2, 3, 4, 24]},
         inputs=TWELVE),
    Case(PS, f"{SHUFFLE} y = Reshape (b, whole)", inputs="float[2,12,6,4] x",
         constants={"parts": [2, 3, 2, 2, 4, 6], "whole": [2, 3, 8, 12]}),
]  # fmt: skip


@pytest.mark.parametrize("case", FIRES, ids=str)
def test_fires_keeps_the_numbers_and_rests(case: Case) -> None:
    model = case.model()
    before = frozen(model)
    one = load(case.name)
    while one(model).fired:
        pass
    assert ops(model) == case.after
    assert_same(before, frozen(model))
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("body", "constants"), NO_OPS)
def test_removes_what_does_nothing(body: str, constants: dict[str, Any]) -> None:
    model = Case(EI, f"r = Relu (x) y = {body}", constants=constants).model()
    before = frozen(model)
    one = load(EI)
    assert (one(model).fired, one(model).fired) == (1, 0)
    assert ops(model) == "Relu"
    assert_same(before, frozen(model))


@pytest.mark.parametrize("case", RESTS, ids=str)
def test_leaves_alone_and_says_why(case: Case) -> None:
    model = case.model()
    before = ops(model)
    report = load(case.name)(model)
    assert report.fired == 0
    assert [case.reason in skip.reason for skip in report.skips] == [True] * bool(case.reason)
    assert ops(model) == before


def test_functions_are_inlined() -> None:
    double = helper.make_function(
        "local", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )  # fmt: skip
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Double", ["x"], ["y"], domain="local")], "g", value[:1], value[1:]
    )
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    proto = helper.make_model(graph, functions=[double], opset_imports=imports, ir_version=8)
    model = ir.from_proto(proto)
    before = onnx.ModelProto()
    before.CopyFrom(proto)
    one = load("inline_functions")
    assert (one(model).fired, one(model).fired) == (1, 0)
    assert ops(model) == "Add"
    assert_same(before, frozen(model))


def test_swish_is_one_operator_where_the_opset_has_it() -> None:
    case = Case(AF, "h = Sigmoid (x) y = Mul (h, x)", opset=24)
    model = case.model()
    assert load(AF)(model).fired == 1
    assert ops(model) == "Swish"


def test_small_equal_constants_become_one() -> None:
    constants = {"s": 2.0, "t": 2.0, "u": 3.0}
    model = Case(CF, "a = Mul (x, s) b = Add (a, u) y = Mul (b, t)", constants=constants).model()
    before = frozen(model)
    assert load(CF)(model).fired == 1
    assert len(model.graph.initializers) == 2
    assert_same(before, frozen(model))


def test_a_value_that_is_also_an_output_keeps_its_name() -> None:
    body = "r = Relu (x) i = Identity (r) y = Sigmoid (r)"
    model = Case(EI, body, outputs="float[N,M,O,P] y, float[N,M,O,P] i").model()
    before = frozen(model)
    assert load(EI)(model).fired == 1
    assert [value.name for value in model.graph.outputs] == ["y", "i"]
    assert_same(before, frozen(model))
