"""Plan and QDQ graph: what runs on integers, that it computes the same, and what is left in float.

`SNR` is what 8 bits owe: a signal that fills its 255 steps evenly is 48 dB above the noise of
rounding (6.02 dB per bit), one that is bell-shaped over its extremes some 38 dB, and the three or
four roundings of the nets here leave at least 30. A wrong grid, order, axis or bias leaves none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from converters.formats import onnx as onnx_format
from converters.graphs import clone, name_nodes
from converters.produce import produce
from converters.quantize.grid import WeightRule
from converters.quantize.plan import Plan, Scheme
from converters.recipe import Recipe
from tests.converters.graph_cases import build, compute, frozen
from tests.converters.quantize_cases import (
    camera,
    digits,
    optimised,
    plan_for,
    quantized,
    run,
    snr,
    some_frames,
)

SNR = 30.0
INT8 = Scheme("int8", symmetric=True)
SIGNED = Scheme("int8")
SAFE = Scheme(weights=WeightRule(pair_safe=True))
RECIPE = Recipe("onnx", "onnxruntime", "cpu", "int8")
ISLANDS = {"QuantizeLinear", "DequantizeLinear"}

CONV = "a = Conv <pads = [1, 1, 1, 1]> (p, w, b)"
# Such that numbers around 1 come out.
WEIGHTS: dict[str, Any] = {
    "w": np.random.default_rng(7).standard_normal((4, 3, 3, 3)).astype(np.float32) / 400,
    "b": np.array([0.1, -0.2, 0.3, 0.0], np.float32),
}
HEAD = "g = GlobalAveragePool (a) f = Flatten (g)"


# ---- The shipped net -------------------------------------------------------------------------


@pytest.mark.parametrize("pair_safe", [False, True])
def test_digits_have_no_float_left(pair_safe: bool, tmp_path: Path) -> None:
    recipe = replace(RECIPE, pair_safe=pair_safe)
    product = produce(digits().prepared, recipe, digits().train[:32], {})
    assert optimised(product.data, tmp_path) == {
        "QLinearConv": 9,  # all, and the nine activations are gone
        "QLinearAdd": 1,
        "QLinearGlobalAveragePool": 1,
        "QGemm": 1,  # hands out float itself
        "Transpose": 1,
        "Reshape": 1,
    }
    assert product.notes["kept_float"] == {}
    assert product.notes["absorbed_activations"] == 9


@pytest.mark.parametrize(
    "recipe",
    [RECIPE, replace(RECIPE, pair_safe=True), replace(RECIPE, activation_type="int8")],
    ids=["uint8", "pair safe", "int8"],
)
@pytest.mark.parametrize("simulate", [True, False])
def test_digits_lose_less_than_a_point(recipe: Recipe, simulate: bool) -> None:
    net = digits()
    data = produce(net.prepared, recipe, net.train[:64], {}).data
    right = [
        run(artifact, net.heldout, simulate)[0].argmax(axis=1) == net.labels
        for artifact in (
            produce(net.prepared, replace(RECIPE, precision="fp32"), [], {}).data,
            data,
        )
    ]
    lost, won = (right[0] & ~right[1]).sum(), (~right[0] & right[1]).sum()
    assert right[0].mean() > 0.98
    assert (lost - won) / len(net.labels) < 0.01
    assert lost + won <= 0.02 * len(net.labels), "the same drop may hide many different answers"


def test_saturating_activations_are_exactly_the_explicit_ones() -> None:
    net = digits()
    graph = clone(net.prepared.graph)
    plan = plan_for(graph, net.train[:16])
    assert len(plan.absorbed) == 9
    explicit = replace(plan, absorbed=set())
    artifacts = [onnx_format.write(onnx_format.lower(graph, one), {}) for one in (plan, explicit)]
    frames = net.heldout[:100]
    np.testing.assert_array_equal(*(run(data, frames)[0] for data in artifacts))


# ---- Where nodes are computed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "constants", "where"),
    [
        (f"{CONV} y = Relu (a)", {}, {"Conv": "integer", "Relu": "absorbed"}),
        (f"{CONV} y = Clip (a, lo, hi)", {"lo": 0.0, "hi": 6.0}, {"Clip": "absorbed"}),
        (f"{CONV} y = Clip (a, , hi)", {"hi": 0.5}, {"Clip": "absorbed"}),
        (f"{CONV} y = Clip (a, lo)", {"lo": -0.5}, {"Clip": "absorbed"}),
        (f"{CONV} y = Clip (a, lo, hi)", {"lo": -1.0, "hi": 1.0}, {"Clip": "absorbed"}),
        # 0 is outside of what is left, and a grid always holds 0.
        (f"{CONV} y = Clip (a, lo, hi)", {"lo": 1.0, "hi": 6.0}, {"Clip": "kept_float"}),
        (
            f"l = Tanh (p) {CONV} k = ReduceMax <keepdims = 0> (l) y = Clip (a, , k)",
            {},
            {"Clip": "kept_float"},
        ),
        (f"{CONV} d = Relu (a) y = Add (a, d)", {}, {"Relu": "kept_float"}),
        ("y = Relu (p)", {}, {"Cast": "moves", "Relu": "kept_float"}),
        ("y = AveragePool <kernel_shape = [2, 2]> (p)", {}, {"Cast": "moves"}),
        (f"{CONV} y = Tanh (a)", {}, {"Conv": "integer", "Tanh": "kept_float"}),
        (f"{CONV} y = Conv (a, k)", {"k": (2, 4, 1, 1)}, {"Conv": "integer"}),
        ("k = Abs (w) y = Conv (p, k)", {}, {"Conv": "kept_float"}),
        ("k = Abs (b) y = Conv (p, w, k)", {}, {"Conv": "kept_float"}),
        ("y = MaxPool <kernel_shape = [2, 2]> (p)", {}, {"MaxPool": "moves"}),
        ("y, i = MaxPool <kernel_shape = [2, 2]> (p)", {}, {"MaxPool": "kept_float"}),
        (f"{CONV} y = Pad (a, n)", {"n": [0, 0, 1, 1] * 2}, {"Pad": "moves"}),
        ('y = Pad <mode = "edge"> (p, n)', {"n": [0, 0, 1, 1] * 2}, {"Pad": "kept_float"}),
        ("y = Pad (p, n, v)", {"n": [0, 0, 1, 1] * 2, "v": 255.0}, {"Pad": "moves"}),
        ("y = Pad (p, n, v)", {"n": [0, 0, 1, 1] * 2, "v": -9.0}, {"Pad": "kept_float"}),
        ("y = Concat <axis = 1> (p, k)", {"k": np.full((1, 2, 8, 8), 9, "f")}, {"Concat": "moves"}),
        (
            "y = Concat <axis = 1> (p, k)",
            {"k": np.full((1, 2, 8, 8), -9, "f")},
            {"Concat": "integer"},
        ),
        (f"{CONV} y = Concat <axis = 1> (p, a)", {}, {"Concat": "integer"}),
        ("n = Shape (p) m = Add (n, n) y = Expand (p, n)", {}, {"Add": "kept_float"}),
    ],
    ids=str,
)
def test_place(body: str, constants: dict[str, Any], where: dict[str, str]) -> None:
    model = camera(body, {k: v for k, v in {**WEIGHTS, **constants}.items() if used(k, body)})
    plan = plan_for(model, some_frames(2))
    for op_type, place in where.items():
        for node in model.graph:
            if node.op_type == op_type:
                assert placed(plan, node) == place
    assert_right(model)


def used(name: str, body: str) -> bool:
    return any(f"{left}{name}{right}" in body for left in " (" for right in ",)")


def placed(plan: Plan, node: ir.Node) -> str:
    """Return in which part of the plan a node is; it must be in exactly one."""
    (place,) = (
        part
        for part in ("integer", "moves", "absorbed", "kept_float")
        if node.name in getattr(plan, part)
    )
    return place


def assert_right(model: ir.Model, scheme: Scheme = SAFE, least: float = SNR) -> bytes:
    """Assert that the int8 artifact answers as the float graph, simulated and by real kernels."""
    frames = some_frames(6, tuple(model.graph.inputs[0].shape)[1:])  # type: ignore[arg-type]
    data = quantized(model, frames, scheme)
    for simulate in (True, False):
        for expected, actual in zip(run(model, frames), run(data, frames, simulate), strict=True):
            assert expected.shape == actual.shape
            assert expected.dtype == actual.dtype
            assert np.ptp(expected) > 0, "an output that never varies proves nothing"
            if expected.dtype.kind == "f":
                assert snr(expected, actual) >= least
    names = [value.name for value in onnx.load_from_string(data).graph.output]
    assert names == [value.name for value in model.graph.outputs]
    return data


# ---- Every operator that the format claims ----------------------------------------------------

MOVED = {
    "Transpose": ("y = Transpose <perm = [0, 2, 1, 3]> (a)", {}),
    "Reshape": ("y = Reshape (a, k)", {"k": [1, 16, 4, 4]}),
    "Flatten": ("y = Flatten (a)", {}),
    "Unsqueeze": ("y = Unsqueeze (a, k)", {"k": [0]}),
    "Squeeze": ("y = Squeeze (a, k)", {"k": [0]}),
    "Identity": ("y = Identity (a)", {}),
    "Slice": ("y = Slice (a, s, e, x)", {"s": [1, 2], "e": [3, 7], "x": [1, 2]}),
    "Split": ("y, z = Split <axis = 1> (a, k)", {"k": [1, 3]}),
    "Gather": ("y = Gather <axis = 1> (a, k)", {"k": [3, 0, 1]}),
    "Concat": ("y = Concat <axis = 2> (a, a)", {}),
    "Pad": ("y = Pad (a, k)", {"k": [0, 0, 1, 2, 0, 0, 3, 0]}),
    "Expand": ("y = Expand (a, k)", {"k": [2, 4, 8, 8]}),
    "Tile": ("y = Tile (a, k)", {"k": [1, 2, 1, 1]}),
    "MaxPool": ("y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)", {}),
    "Resize": (
        'y = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric"> (a, , k)',
        {"k": np.array([1, 1, 2, 2], np.float32)},
    ),
    "DepthToSpace": ("y = DepthToSpace <blocksize = 2> (a)", {}),
    "SpaceToDepth": ("y = SpaceToDepth <blocksize = 2> (a)", {}),
}


@pytest.mark.parametrize("scheme", [Scheme(), SIGNED, INT8], ids=["uint8", "int8", "symmetric"])
@pytest.mark.parametrize("op_type", MOVED)
def test_moves_run_on_integers_and_change_no_number(
    op_type: str, scheme: Scheme, tmp_path: Path
) -> None:
    body, constants = MOVED[op_type]
    rank = {"Flatten": "N,M", "Unsqueeze": "N,M,O,P,Q", "Squeeze": "N,M,O"}.get(op_type, "N,M,O,P")
    outputs = f"float[{rank}] y" + (", float[N,M,O,P] z" if op_type == "Split" else "")
    model = camera(
        f"{CONV} {body}", {**WEIGHTS, **constants}, outputs=f"float[N,M,O,P] a, {outputs}"
    )
    frames = some_frames(2)
    assert f"{op_type}_3" in plan_for(model, frames, scheme).moves
    data = quantized(model, frames, scheme)
    alone = frozen(build(body, constants, "float[1,4,8,8] a", outputs))
    for simulate in (True, False):
        for frame in frames:
            before, *after = run(data, [frame], simulate)
            for expected, actual in zip(compute(alone, {"a": before}), after, strict=True):
                np.testing.assert_array_equal(actual, expected)
    (moving,) = (n for n in onnx.load_from_string(data).graph.node if n.name == f"{op_type}_3")
    assert moving.input[0] == "a/quantized"
    if scheme.activation_type == "uint8":
        # On x86 onnxruntime turns signed pixels to unsigned ones, and then leaves the first Conv.
        ops = optimised(data, tmp_path)
        assert ops["DequantizeLinear"] == len(model.graph.outputs)
        assert ops["QuantizeLinear"] == 0


def test_every_moving_operator_is_tried() -> None:
    assert set(MOVED) == onnx_format._MOVES


COMPUTED = {
    "Conv": ("y = Conv (a, k)", {"k": (4, 4, 1, 1)}, "QLinearConv"),
    "Gemm": (f"{HEAD} y = Gemm <transB = 1> (f, k)", {"k": (10, 4)}, "QGemm"),
    "Add": ("y = Add (a, k)", {"k": (4, 1, 1)}, "QLinearAdd"),
    "Mul": ("y = Mul (a, k)", {"k": (1, 4, 1, 1)}, "QLinearMul"),
    "Concat": ("e = Relu (p) y = Concat <axis = 1> (e, a)", {}, "QLinearConcat"),
    "AveragePool": ("y = AveragePool <kernel_shape = [2, 2]> (a)", {}, "QLinearAveragePool"),
    "GlobalAveragePool": ("y = GlobalAveragePool (a)", {}, "QLinearGlobalAveragePool"),
    "Sigmoid": ("y = Sigmoid (a)", {}, "QLinearSigmoid"),
    "LeakyRelu": ("y = LeakyRelu <alpha = 0.1> (a)", {}, "QLinearLeakyRelu"),
}


@pytest.mark.parametrize("scheme", [Scheme(), SAFE], ids=["uint8", "pair safe"])
@pytest.mark.parametrize("op_type", COMPUTED)
def test_integer_operators_really_are(op_type: str, scheme: Scheme, tmp_path: Path) -> None:
    body, constants, kernel = COMPUTED[op_type]
    outputs = "float[N,M] y" if op_type == "Gemm" else "float[N,M,O,P] y"
    model = camera(f"{CONV} {body}", {**WEIGHTS, **constants}, outputs=outputs)
    frames = some_frames(6)
    ops = optimised(quantized(model, frames, scheme), tmp_path)
    assert ops[kernel] == 1 + (op_type == "Conv")
    # The output has to become float; Gemm does it itself.
    assert ops["DequantizeLinear"] == (op_type != "Gemm")
    # Unsafe pairs do saturate on this machine where it has no VNNI: only simulated then.
    for simulate in (True, False) if scheme is SAFE else (True,):
        actual = run(quantized(model, frames, scheme), frames, simulate)[0]
        assert snr(run(model, frames)[0], actual) >= SNR


def test_every_integer_operator_is_tried() -> None:
    assert set(COMPUTED) == onnx_format._INTEGER


# ---- Graphs that are not like the shipped nets ------------------------------------------------


def test_a_weight_that_layers_share_has_one_grid_and_no_copies() -> None:
    # The bias of the first needs a coarser step than the weights do, so both layers have it.
    body = "g = Conv (p, w, big) a = Conv (p, w, b) d = Relu (a)"
    constants = {**WEIGHTS, "big": np.array([2e5, 0, 0, 0], np.float32)}
    outputs = "float[N,M,O,P] d, float[N,M,O,P] g"
    data = assert_right(camera(body, constants, outputs=outputs))
    stored = [one.name for one in onnx.load_from_string(data).graph.initializer]
    assert stored.count("w/int8") == 1
    assert len([name for name in stored if name.startswith("w/")]) == 3


def test_a_constant_may_be_a_weight_and_an_operand() -> None:
    body = "a = Conv (p, j) e = Mul (p, j) f = Add (e, j) y = Add (a, f)"
    model = camera(body, {"j": WEIGHTS["w"][:1, :, :1, :1]})
    plan = plan_for(model, some_frames(2))
    assert plan.weights["j"].dtype == np.int8
    assert plan.constants["j"].dtype == np.uint8
    assert_right(model)


def test_every_padding_has_the_zero_of_its_own_grid() -> None:
    body = (
        f"{CONV} d = Conv <pads = [1, 1, 1, 1]> (p, v) e = Pad (a, n) f = Pad (d, n) y = Sub (e, f)"
    )
    constants = {**WEIGHTS, "v": -np.abs(WEIGHTS["w"]), "n": [0, 0, 2, 2] * 2}
    model = camera(body, constants)
    plan = plan_for(model, some_frames(2))
    assert plan.values["e"].zero_point != plan.values["f"].zero_point
    assert_right(model)


def test_padding_may_leave_out_its_value_and_name_its_axes() -> None:
    assert_right(camera(f"{CONV} y = Pad (a, n, , x)", {**WEIGHTS, "n": [2, 1], "x": [3]}))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing_keeps_its_scales(mode: str) -> None:
    scales = np.array([1, 1, 2, 1.5], np.float32)
    body = f'{CONV} d = Resize <mode = "{mode}"> (a, , k) y = Relu (d)'
    assert_right(camera(body, {**WEIGHTS, "k": scales}))


@pytest.mark.parametrize(
    "gemm",
    [
        "Gemm (f, k, v)",
        "Gemm <transB = 1, alpha = 0.5> (f, t, v)",
        "Gemm <transB = 1, beta = 0.5> (f, t, v)",
        "Gemm <transB = 1> (f, t, r)",
        "Gemm <transB = 1> (f, t, one)",
        "Gemm <transA = 1, transB = 1> (h, t, v)",
        "Gemm <transB = 1> (f, t, q)",
        "Gemm <transB = 1> (f, z)",
    ],
)
def test_fully_connected_layers_of_every_form(gemm: str) -> None:
    random = np.random.default_rng(3)
    constants = {
        **WEIGHTS,
        "k": random.standard_normal((4, 6)).astype(np.float32),
        "t": random.standard_normal((6, 4)).astype(np.float32),
        "v": random.standard_normal(6).astype(np.float32),
        "r": random.standard_normal((1, 6)).astype(np.float32),
        "one": 0.7,
    }
    body = f"{CONV} {HEAD} h = Transpose (f) q = Relu (v) z = Relu (t) y = {gemm}"
    assert_right(camera(body, constants, outputs="float[N,M] y"))


def test_outputs_of_every_kind_keep_their_names_types_and_numbers() -> None:
    body = (
        f"{CONV} d = Relu (a) m = MaxPool <kernel_shape = [2, 2]> (a) i = ArgMax <axis = 1> (d) "
        "t = Tanh (m) u = Add (m, t)"
    )
    floats = ", ".join(f"float[N,M,O,P] {name}" for name in "cpadmtu")
    model = camera(body, WEIGHTS, outputs=f"{floats}, int64[N,M,O,P] i")
    model.graph.outputs.insert(0, model.graph.inputs[0])
    frames = some_frames(4)
    *expected, labels = run(model, frames)
    *actual, chosen = run(quantized(model, frames, SAFE), frames)
    for one, other in zip(expected, actual, strict=True):
        assert snr(one, other) >= SNR
    for exact in range(3):  # the frames themselves, and their pixels
        np.testing.assert_array_equal(expected[exact], actual[exact])
    assert chosen.dtype == labels.dtype
    assert (chosen == labels).mean() > 0.95


def test_an_output_may_be_a_constant() -> None:
    model = camera(f"{CONV} y = Relu (a)", WEIGHTS)
    model.graph.outputs.append(model.graph.initializers["b"])
    frames = some_frames(2)
    np.testing.assert_array_equal(run(quantized(model, frames), frames)[1][:4], WEIGHTS["b"])


def test_names_that_the_writer_likes_may_be_the_models_own() -> None:
    # Each of these would be made for `a`, `w`, Conv_2 or the padding of Pad_5.
    body = (
        "a = Conv <pads = [1, 1, 1, 1]> (p, w, b) |a/exact| = Relu (a) "
        "|a/quantized| = Mul (|a/exact|, |a/scale|) |a/real| = Pad (|a/quantized|, n) "
        "y = Add (|a/real|, |w/int8|)"
    )
    taken = {"|a/scale|": (4, 1, 1), "|w/int8|": (4, 1, 1), "n": [0, 0, 1, 1] * 2}
    names = {"exact": "AE", "quantized": "AQ", "real": "AR", "scale": "AS"}
    for word, short in names.items():
        body = body.replace(f"|a/{word}|", short)
    body = body.replace("|w/int8|", "WI")
    constants = {**WEIGHTS, "AS": taken["|a/scale|"], "WI": taken["|w/int8|"], "n": taken["n"]}
    model = camera(body, constants)
    rename(model, {short: f"a/{word}" for word, short in names.items()} | {"WI": "w/int8"})
    for node, name in enumerate(("p", "a", "a/exact", "w/real", "y", "a/real")):
        model.graph.node(node).name = name  # nodes too, and a name is for one node alone
    assert_right(model)


def rename(model: ir.Model, names: dict[str, str]) -> None:
    values = [v for node in model.graph for v in (*node.outputs, *node.inputs) if v is not None]
    for value in values:
        if value.name in names:
            value.name = names[value.name]


@pytest.mark.parametrize("name", [None, "", "same"])
def test_nodes_without_names_of_their_own_are_told_apart(name: str | None) -> None:
    model = camera(
        f"{CONV} d = Tanh (a) e = Conv (d, k) y = Softsign (e)", {**WEIGHTS, "k": (2, 4, 1, 1)}
    )
    for node in model.graph:
        node.name = name
    name_nodes(model.graph)
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    plan = plan_for(model, some_frames(2))
    assert len(plan.integer) == 2
    assert len(plan.kept_float) == 2
    assert_right(model)


@pytest.mark.parametrize("weight", [0.0, 1e-30, 1e-12])
@pytest.mark.parametrize("scheme", [Scheme(), INT8, Scheme(weights=WeightRule(per_channel=False))])
def test_a_dead_channel_keeps_its_bias(weight: float, scheme: Scheme) -> None:
    weights = WEIGHTS["w"].copy()
    weights[1] = weight
    constants = {"w": weights, "b": np.array([0.1, -2.5, 0.3, 0.0], np.float32)}
    model = camera(CONV.replace("a =", "y ="), constants)
    frames = some_frames(3)
    (expected,), (actual,) = run(model, frames), run(quantized(model, frames, scheme), frames)
    step = float(plan_for(model, frames, scheme).values["y"].scale)
    assert (
        np.abs(actual[:, 1] - expected[:, 1]).max() <= 0.51 * step + np.abs(weights[1]).sum() * 255
    )


def test_numbers_next_to_nothing_do_not_become_nonsense() -> None:
    # The steps of input and weight multiply to less than float32 can hold.
    tiny = np.float32(1e-25)
    model = camera("s = Mul (p, t) y = Conv (s, w)", {"t": tiny, "w": WEIGHTS["w"] * tiny})
    (actual,) = run(quantized(model, some_frames(2)), some_frames(2))
    assert np.isfinite(actual).all()
    assert np.abs(actual).max() < 1e-30


def test_a_net_without_a_number_to_see_stays_so() -> None:
    model = camera(
        f"{CONV} y = Relu (a)", {"w": np.zeros((4, 3, 3, 3), "f"), "b": np.zeros(4, "f")}
    )
    frames = [np.zeros((1, 8, 8, 3), np.uint8)]
    assert not run(quantized(model, frames), frames)[0].any()


@pytest.mark.parametrize(
    "body",
    ["y = Relu (p)", "y = Transpose (p)", "y = Identity (p)", "y = Mul (p, p)", "y = Sqrt (p)"],
)
def test_nets_need_no_convolution(body: str) -> None:
    for scheme in (Scheme(), INT8):
        assert_right(camera(body, {}), scheme)


def test_bytes_that_are_not_pixels_stay_what_they_are() -> None:
    body = "k = Cast <to = 7> (frames) y = Reshape (k, n)"
    model = camera(body, {"n": [1, -1]}, outputs="int64[N,M] y")
    assert_right(model)


def test_a_model_may_use_the_same_value_twice() -> None:
    assert_right(camera(f"{CONV} y = Add (a, a)", WEIGHTS))
    assert_right(camera(f"{CONV} y = Concat <axis = 1> (a, a)", WEIGHTS))


def test_weights_dominate_a_file_and_it_is_a_quarter() -> None:
    random = np.random.default_rng(0)
    constants = {"w": random.standard_normal((64, 64, 3, 3)).astype(np.float32) / 9000}
    model = camera("y = Conv (p, w)", constants, size=(8, 8, 64))
    plain = onnx_format.write(model, {})
    assert len(quantized(model, some_frames(1, (8, 8, 64)))) < len(plain) / 3
