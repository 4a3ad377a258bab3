"""Nets with int16 activations, and with int8 weights beside float ones, in TFLite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.formats import tflite
from converters.produce import produce
from converters.quantize.grid import WeightRule
from converters.quantize.plan import Scheme, weights_only_plan
from converters.recipe import recipes
from device_profiles.profile import load
from tests.converters.op_matrix import OpCase, check_int8, operators, run_tflite
from tests.converters.quantize_cases import digits, run, snr

NET = """
    a1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) r1 = Relu (a1)
    a2 = Conv <pads = [1, 1, 1, 1], group = 16> (r1, w2, b2) r2 = Relu (a2)
    a3 = Conv (r2, w3, b3) r3 = Add (a3, r1)
    p1 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r3)
    p2 = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (p1)
    g = GlobalAveragePool (p2) f = Flatten (g) y = Gemm <transB = 1> (f, w4, b4)
"""
CONSTANTS = {
    "w1": (16, 4, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,),
    "w3": (16, 16, 1, 1), "b3": (16,), "w4": (10, 16), "b4": (10,),
}  # fmt: skip
CASE = OpCase(NET, CONSTANTS, size=(16, 16, 4), outputs="float[N,M] y")
WIDE = Scheme("int16", symmetric=True)

LAYERS = [
    OpCase("y = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)", CONSTANTS),
    OpCase("y = Conv <strides = [2, 2]> (x, w1)", CONSTANTS),
    OpCase("y = Conv <group = 4> (x, w5)", {"w5": (4, 1, 3, 3)}),
    OpCase("y = GlobalAveragePool (x)"),
    OpCase(
        "g = GlobalAveragePool (x) f = Flatten (g) y = Gemm <transB = 1> (f, w6)",
        {"w6": (10, 4)}, outputs="float[N,M] y",
    ),
    # Nothing but zeros, whose step could be any number, beside small ones.
    OpCase("z = Sub (x, x) y = Sub (z, k)", {"k": (1, 4, 1, 1)}),
    OpCase("z = Sub (x, x) y = Add (k, z)", {"k": (1, 4, 1, 1)}),
]  # fmt: skip


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_layers_on_int16(case: OpCase) -> None:
    check_int8(case, WIDE)


def test_a_net_on_int16_loses_what_the_int8_weights_lose() -> None:
    # Eight layers, each within a step: of the 40 results a few are two steps off.
    case = replace(CASE, loose=0.1)
    lowered, narrow = check_int8(case, WIDE), check_int8(case)
    frames = CASE.frames()
    floats, wide = run(CASE.model(), frames)[0], run_tflite(lowered, frames)[0]
    eight = run_tflite(narrow, frames)[0]
    # 16 bits of activations leave the weights' error alone; 8 bits add to it.
    assert snr(floats, wide) > snr(floats, eight) + 3
    assert operators(lowered)["DEQUANTIZE"] == 1


def dynamic(case: OpCase) -> tuple[bytes, list[np.ndarray[Any, Any]]]:
    """Return the file with int8 weights, and what those weights give in float."""
    model = case.model()
    plan = weights_only_plan(model, WeightRule(), tflite.kernels("uint8"))
    lowered = tflite.lower(model, plan)
    assert plan.dynamic
    return tflite.write(lowered, {}), run(lowered, case.frames())


def test_weights_alone_become_int8_and_activations_when_they_are_seen() -> None:
    data, expected = dynamic(CASE)
    frames = CASE.frames()
    found = operators(data)
    assert not found["DEQUANTIZE"] + found["QUANTIZE"]
    assert found["CONV_2D"] == 2
    actual, floats = run_tflite(data, frames)[0], run(CASE.model(), frames)[0]
    # Each of three layers rounds its input to 8 bits, an error of 0.3% of its range; were the
    # kernels to compute in float, there would be none beside the weights' own.
    assert 30 < snr(expected[0], actual) < 80
    assert snr(floats, actual) > 30
    assert len(data) < 0.75 * len(tflite.write(CASE.model(), {}))


def test_filters_of_one_channel_stay_float() -> None:
    plan = weights_only_plan(CASE.model(), WeightRule(), tflite.kernels("uint8"))
    assert set(plan.weights) == {"w1", "w3", "w4"}
    assert len(plan.kept_float) == 1
    assert "gains nothing from int8 weights" in next(iter(plan.kept_float.values()))


@pytest.mark.parametrize(("precision", "floor"), [("int16x8", 40), ("int8-dynamic", 30)])
def test_the_shipped_net_as_a_product(precision: str, floor: float) -> None:
    net = digits()
    recipe = recipes(load("raspberry-pi-5"), precision=precision)[0]
    product = produce(net.prepared, recipe, net.train[:32], {})
    frames = net.heldout[:100]
    expected, actual = run(net.prepared.graph, frames)[0], run_tflite(product.data, frames)[0]
    assert snr(expected, actual) > floor
    assert (expected.argmax(axis=1) == actual.argmax(axis=1)).all()
    assert bool(product.steps) == recipe.calibrates
    kept = product.notes["kept_float"]
    if precision == "int16x8":
        # The camera's bytes become numbers first: a grid of int16 has no zero point for them.
        assert set(kept) == {"frames.cast", "frames.transpose"}
    else:
        assert all("gains nothing from int8 weights" in why for why in kept.values())


@pytest.mark.parametrize("rank", [2, 3])
def test_matrices(rank: int) -> None:
    shape = [16, 16] if rank == 2 else [4, 4, 16]
    body = "r = Reshape (x, shape) y = MatMul (r, w)"
    outputs = "float[N,M] y" if rank == 2 else "float[N,M,O] y"
    case = OpCase(body, {"shape": shape, "w": (16, 8)}, outputs=outputs)
    data, expected = dynamic(case)
    assert snr(expected[0], run_tflite(data, case.frames())[0]) > 35
