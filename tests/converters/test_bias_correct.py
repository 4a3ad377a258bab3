"""Bias correction: the mean error of every layer is gone, and so is a real part of all error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from converters.formats import onnx as onnx_format
from converters.graphs import clone, constant, to_bytes
from converters.produce import produce
from converters.quantize.bias_correct import add_missing_biases, correct_biases
from converters.quantize.calibrate import observe
from converters.quantize.grid import WeightRule
from converters.quantize.plan import BIASED, Plan, Scheme
from converters.recipe import Recipe
from tests.converters.graph_cases import ops
from tests.converters.quantize_cases import Array, camera, digits, plan_for, run, snr, some_frames

RECIPE = Recipe("onnx", "onnxruntime", "cpu", "int8", pair_safe=True)

# Plain, strided, depthwise and pointwise layers, a residual, and a classifier.
BODY = """
a = Conv <pads = [1, 1, 1, 1]> (p, w1, b1) r = Relu (a)
d = Conv <pads = [1, 1, 1, 1], group = 8> (r, w2) s = Clip (d, lo, hi)
e = Conv (s, w3, b3) f = Add (e, r) g = Relu (f)
h = Conv <strides = [2, 2]> (g, w4, b4) k = GlobalAveragePool (h) l = Flatten (k)
y = Gemm <transB = 1> (l, w5)
"""


def net(seed: int) -> ir.Model:
    random = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int, size: int) -> Array:
        scale = np.sqrt(2 / (inputs * size * size)) * random.uniform(0.3, 3, (outputs, 1, 1, 1))
        weight = random.standard_normal((outputs, inputs, size, size)) * scale
        return np.asarray(weight, np.float32)

    constants: dict[str, Any] = {
        "w1": layer(8, 3, 3) / np.float32(100),
        "w2": layer(8, 1, 3),
        "w3": layer(8, 8, 1),
        "w4": layer(12, 8, 3),
        "w5": layer(5, 12, 1).reshape(5, 12),
        "lo": 0.0,
        "hi": 6.0,
    }
    for name, size in (("b1", 8), ("b3", 8), ("b4", 12)):
        constants[name] = random.standard_normal(size).astype(np.float32)
    return camera(BODY, constants, outputs="float[N,M] y")


def means(model: ir.Model, plan: Plan, frames: list[Array]) -> dict[str, Array]:
    """Return the mean of every layer's channels in the artifact of `model`."""
    names = {node.outputs[0].name or "": node for node in model.graph if node.op_type in BIASED}
    lowered = onnx_format.lower(model, plan)
    there = {value.name for node in lowered.graph for value in node.outputs}
    # Before it is rounded to its grid, a value has a name of its own where it has a grid.
    made = {name: f"{name}/exact" if f"{name}/exact" in there else name for name in names}
    actual = observe(lowered, frames, list(made.values())).means
    return {name: actual[made[name]] for name in names}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "scheme",
    [Scheme(), Scheme(weights=WeightRule(False)), Scheme("int8", True)],
    ids=["per channel", "per tensor", "symmetric"],
)
def test_no_layer_keeps_a_mean_error(seed: int, scheme: Scheme) -> None:
    model = net(seed)
    add_missing_biases(model)
    frames = some_frames(6, seed=seed)
    plan = plan_for(model, frames, scheme)
    exact = observe(model, frames, mean_of=["a", "d", "e", "h", "y"])
    corrected = correct_biases(model, plan, frames, onnx_format.lower)
    before, after = (means(one, plan, frames) for one in (model, corrected))
    for name in "adeh":
        low, high = exact.ranges[name]
        # Left is what the int32 bias rounds off, a fraction of a step of the products, and what
        # that makes of the few numbers on the border of two steps further on: no tenth of a step.
        error = np.abs(after[name] - exact.means[name]).max()
        assert error <= 0.1 * (high - low) / 255, name
        assert np.abs(before[name] - exact.means[name]).max() > 3 * error, name
    # The classifier sees 12 numbers per frame alone; each of them may end up one step further.
    weight = constant(model.graph.initializers["w5"])
    assert weight is not None
    bound = np.abs(weight).sum(axis=1) * float(plan.values["l"].scale)
    assert (np.abs(after["y"] - exact.means["y"]) <= bound).all()


def test_only_biases_of_quantized_layers_change() -> None:
    model = net(0)
    add_missing_biases(model)
    before = to_bytes(model)
    frames = some_frames(4)
    plan = plan_for(model, frames)
    plan.integer -= {node.name or "" for node in model.graph if node.outputs[0].name == "e"}
    corrected = correct_biases(model, plan, frames, onnx_format.lower)
    assert to_bytes(model) == before, "the model itself is left as it was"
    assert ops(corrected) == ops(model)
    for old, new in zip(model.graph, corrected.graph, strict=True):
        for index, (was, now) in enumerate(zip(old.inputs, new.inputs, strict=True)):
            was_array, array = constant(was), constant(now)
            if was_array is not None and array is not None:
                moves = old.op_type in BIASED and index == 2 and old.outputs[0].name != "e"
                assert np.array_equal(array, was_array) != moves


def test_layers_may_share_a_bias_and_keep_their_own_correction() -> None:
    weight = constant(net(0).graph.initializers["w1"])
    assert weight is not None
    constants = {"w": weight, "v": weight[:, ::-1] ** 2, "b": np.zeros(8, np.float32)}
    model = camera("a = Conv (p, w, b) d = Conv (p, v, b) y = Add (a, d)", constants)
    frames = some_frames(4)
    plan = plan_for(model, frames)
    corrected = correct_biases(model, plan, frames, onnx_format.lower)
    first, second = (constant(node.inputs[2]) for node in corrected.graph if node.op_type == "Conv")
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, second)


def test_correction_gains_on_digits_that_it_has_not_seen() -> None:
    net = digits()
    frames = net.heldout[:300]
    exact = run(net.prepared.graph, frames)[0]
    plain, corrected = (
        run(produce(net.prepared, recipe, net.train[:64], {}).data, frames)[0]
        for recipe in (replace(RECIPE, bias_correction=False), RECIPE)
    )
    error = plain - exact.astype(np.float64)
    share = (error.mean(axis=0) ** 2).sum() / (error**2).mean(axis=0).sum()
    owed = -10 * np.log10(1 - share)  # what taking out the mean error of the logits alone brings
    gain = snr(exact, corrected) - snr(exact, plain)
    # Every layer gains, not the last one alone: more than that, though on frames not seen.
    assert owed > 1
    assert gain > owed


@pytest.mark.parametrize(
    ("body", "added"),
    [
        ("y = Conv (p, w)", 1),
        ("y = Conv (p, w, )", 1),
        ("y = Conv (p, w, b)", 0),
        ("k = Abs (w) y = Conv (p, k)", 0),
        ("q = GlobalAveragePool (p) f = Flatten (q) y = Gemm <transB = 1> (f, t)", 1),
        ("q = GlobalAveragePool (p) f = Flatten (q) y = Gemm (f, t3)", 0),
        ("q = GlobalAveragePool (p) f = Flatten (q) y = Gemm <transB = 1> (f, t, b)", 0),
    ],
)
def test_missing_biases_are_added_and_change_nothing(body: str, added: int) -> None:
    constants = {"w": (4, 3, 3, 3), "b": (4,), "t": (4, 3), "t3": (3, 4)}
    kept = {k: v for k, v in constants.items() if f" {k})" in body or f" {k}," in body}
    kept |= {"w": (4, 3, 3, 3)} if "(w)" in body else {}
    outputs = "float[N,M] y" if "Gemm" in body else "float[N,M,O,P] y"
    model = camera(body, kept, outputs=outputs)
    before, stock = clone(model), set(model.graph.initializers)
    add_missing_biases(model)
    new = set(model.graph.initializers) - stock
    assert len(new) == added
    for name in new:
        bias = constant(model.graph.initializers[name])
        assert bias is not None
        assert bias.shape == (4,)
        assert not bias.any()
    np.testing.assert_array_equal(run(model, some_frames(2))[0], run(before, some_frames(2))[0])
    add_missing_biases(model)
    assert len(model.graph.initializers) == len(stock) + added, "once is enough"


def test_a_name_that_is_taken_is_not_given_again() -> None:
    model = camera("a = Conv (p, w) y = Mul (a, k)", {"w": (4, 3, 3, 3), "k": (4, 1, 1)})
    model.graph.initializers["k"].name = "Conv_2/zero_bias"
    frames = some_frames(2)
    (before,) = run(model, frames)
    add_missing_biases(model)
    np.testing.assert_array_equal(run(model, frames)[0], before)
