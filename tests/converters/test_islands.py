"""Islands of float: each reason on a small graph, and what the engines themselves say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.capture import SOURCE
from converters.graphs import name_nodes
from converters.islands import Island, islands
from converters.produce import Prepared, Product, produce
from converters.recipe import Recipe
from converters.work import total, workload
from runtime.engines import EngineOptions, open_engine
from tests.converters.quantize_cases import camera, digits, some_frames

ONNX = Recipe("onnx", "onnxruntime", "cpu", "int8", bias_correction=False)
TFLITE = Recipe("tflite", "litert", "cpu", "int8", bias_correction=False)
CONV = "a = Conv <pads = [1, 1, 1, 1]> (p, w, b)"
AGAIN = "y = Conv <pads = [1, 1, 1, 1]> (h, v)"
RANDOM = np.random.default_rng(7)
WEIGHTS: dict[str, Any] = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32) / 400,
    "b": np.array([0.1, -0.2, 0.3, 0.0], np.float32),
    "v": RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32) / 6,
}


def made(recipe: Recipe, body: str, constants: dict[str, Any] | None = None) -> Product:
    model = camera(body, {**WEIGHTS, **(constants or {})})
    name_nodes(model.graph)
    for node in model.graph:
        node.metadata_props[SOURCE] = f"net.py:{node.op_type}"
    prepared = Prepared(None, None, model, ())  # type: ignore[arg-type]
    return produce(prepared, recipe, some_frames(4), {})


def found(recipe: Recipe, body: str, arch: str = "x86_64") -> list[Island]:
    return list(islands(made(recipe, body), arch))


@pytest.mark.parametrize("recipe", [ONNX, TFLITE], ids=["onnx", "tflite"])
def test_none_where_all_is_integers(recipe: Recipe) -> None:
    assert found(recipe, f"{CONV} h = Relu (a) {AGAIN}") == []


def test_an_op_without_an_integer_kernel() -> None:
    (island,) = found(ONNX, f"{CONV} h = HardSwish (a) {AGAIN}")
    assert (island.op, island.line, island.inside) == ("HardSwish", "net.py:HardSwish", True)
    assert island.reason == "HardSwish has no integer kernel in this engine"
    # Of the numbers that move: 256 in, 256 out; it multiplies nothing in a sum.
    work = made(ONNX, f"{CONV} h = HardSwish (a) {AGAIN}").work
    assert island.moved_share == pytest.approx(512 / total(work)[1])
    assert island.macs_share == 0
    assert island.to_json()["moved_share"] == round(512 / total(work)[1], 4)


def test_what_lies_at_the_end_is_not_inside() -> None:
    (island,) = found(ONNX, f"{CONV} y = Tanh (a)")
    assert (island.op, island.inside) == ("Tanh", False)


def test_an_activation_that_saturation_cannot_do() -> None:
    """What is before it is read by another node as well."""
    (island,) = found(ONNX, f"{CONV} d = Relu (a) h = Add (a, d) {AGAIN}")
    assert (island.op, island.inside) == ("Relu", True)


def test_an_op_that_xnnpack_leaves() -> None:
    """LiteRT has an integer kernel, so that it is in the plan; it is the slower one."""
    (island,) = found(TFLITE, f"{CONV} h = HardSwish (a) {AGAIN}")
    assert (island.op, island.inside) == ("HardSwish", True)
    assert island.reason.startswith("XNNPACK has no kernel for HARD_SWISH here")


def test_scales_that_differ_are_requantized_in_tflite() -> None:
    """Its CONCATENATION wants one scale, onnxruntime's QLinearConcat takes any."""
    body = f"{CONV} q = Sigmoid (a) h = Concat <axis = 1> (a, q) y = Conv (h, u)"
    constants = {"u": RANDOM.standard_normal((4, 8, 1, 1)).astype(np.float32)}
    (island,) = islands(made(TFLITE, body, constants), "x86_64")
    assert island.op == "Concat"
    assert "QUANTIZE before it" in island.reason
    assert islands(made(ONNX, body, constants), "x86_64") == ()


def test_what_onnxruntime_does_not_fuse() -> None:
    """Signed activations have fused kernels on Arm, and few on x86."""
    signed = replace(ONNX, activation_type="int8")
    body = f"{CONV} q = Sigmoid (a) h = Add (a, q) {AGAIN}"
    on_x86 = [i for i in found(signed, body) if "onnxruntime does not fuse" in i.reason]
    assert "Add" in [island.op for island in on_x86]
    assert not any("does not fuse" in i.reason for i in found(signed, body, "aarch64"))


def test_an_engine_on_another_provider_is_not_asked() -> None:
    elsewhere = replace(TFLITE, provider="edgetpu")
    assert found(elsewhere, f"{CONV} h = HardSwish (a) {AGAIN}") == []


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-dynamic"])
def test_none_is_sought_where_activations_are_real(precision: str) -> None:
    assert found(replace(TFLITE, precision=precision), f"{CONV} y = Tanh (a)") == []


def test_the_shipped_net_has_none() -> None:
    net = digits()
    for recipe in (ONNX, TFLITE):
        product = produce(net.prepared, recipe, net.train[:16], {})
        inside = [island for island in islands(product, "x86_64") if island.inside]
        assert inside == []


def test_work_is_counted() -> None:
    body = "a = Conv <group = 3, pads = [1, 1, 1, 1]> (p, k) g = GlobalAveragePool (a)"
    body += " f = Flatten (g) m = Gemm <transB = 1> (f, t) z = Reshape (m, s)"
    body += " y = ConvTranspose <strides = [2, 2]> (z, r)"
    constants = {
        "k": np.full((3, 1, 3, 3), 0.01, np.float32),
        "t": np.ones((5, 3), np.float32),
        "s": [1, 5, 1, 1],
        "r": np.ones((5, 2, 2, 2), np.float32),
    }
    product = made(replace(ONNX, precision="fp32"), body, constants)
    work = {node.op: node for node in product.work}
    assert work["Conv"].macs == 3 * 8 * 8 * 9
    assert work["Gemm"].macs == 5 * 3
    assert work["ConvTranspose"].macs == 5 * 2 * 2 * 2
    assert work["Conv"].numbers == 2 * 3 * 8 * 8
    assert work["Conv"].bytes == 4 * (2 * 3 * 8 * 8 + 27)
    half = made(replace(ONNX, precision="fp16", half="compute"), CONV.replace("a =", "y =", 1))
    assert {node.bits for node in half.work} == {16}
    stored = made(replace(ONNX, precision="fp16"), CONV.replace("a =", "y =", 1))
    assert {(node.bits, node.weight_bits) for node in stored.work} == {(32, 16)}


def test_shapes_that_a_graph_does_not_say_are_inferred() -> None:
    model = camera(CONV.replace("a =", "y =", 1), WEIGHTS)
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    assert total(workload(model, replace(ONNX, precision="fp32")))[0] == 4 * 8 * 8 * 27


def test_operators_outside_of_every_delegate() -> None:
    """By the edges of the parts that XNNPACK took; its own kernels alone leave nothing."""
    data = made(TFLITE, f"{CONV} h = HardSwish (a) {AGAIN}").data
    engine: Any = open_engine("litert", data, EngineOptions(threads=1))
    outside = [engine.file.operators[i].name for i in engine.untaken]
    assert [name for name in outside if name != "QUANTIZE"] == ["HARD_SWISH"]
    engine.close()
    alone: Any = open_engine("litert", data, EngineOptions(provider="builtin", threads=1))
    assert len(alone.untaken) == len(alone.file.operators)
    alone.close()
