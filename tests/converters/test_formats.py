"""ONNX artifacts: what they say of themselves, and half precision within its rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from converters.formats import onnx as onnx_format
from converters.graphs import constant, to_bytes
from device_profiles.errors import ModelError
from runtime.engines import EngineOptions, open_engine
from tests.converters.graph_cases import EPS, ops
from tests.converters.quantize_cases import (
    Array,
    camera,
    digits,
    plan_for,
    run,
    snr,
    some_frames,
)

# Unit roundoff of float16, and half of its smallest number.
HALF = 2.0**-11
SMALLEST = 2.0**-25

FACTS = {"edge_sdk.task": "classify", "edge_sdk.profile": "a board", "a": 'ümläut "{}"'}
CONV = "y = Conv <pads = [1, 1, 1, 1]> (p, w, b)"
WEIGHTS: dict[str, Any] = {
    "w": np.random.default_rng(7).standard_normal((16, 3, 3, 3)).astype(np.float32) / 400,
    "b": (16,),
}


def both(mode: str) -> Callable[[ir.Model], bytes]:
    return lambda model: onnx_format.write(onnx_format.halve(model, mode), {})


def int8(model: ir.Model) -> ir.Model:
    return onnx_format.lower(model, plan_for(model, some_frames(3)))


# ---- What is written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda model: model,
        int8,
        lambda model: onnx_format.halve(model, "weights"),
        lambda model: onnx_format.halve(model, "compute"),
    ],
    ids=["fp32", "int8", "stored", "computed"],
)
def test_artifacts_carry_their_facts_and_take_the_cameras_bytes(
    make: Callable[[ir.Model], ir.Model],
) -> None:
    model = camera(CONV, WEIGHTS)
    model.doc_string = "made on Monday at 9:41"
    model.metadata_props["pkg.torch.export.graph_signature"] = "long"
    data = onnx_format.write(make(model), FACTS)
    proto = onnx.load_from_string(data)
    assert {one.key: one.value for one in proto.metadata_props} == FACTS
    assert proto.producer_name == "edge-sdk"
    assert not proto.doc_string
    engine = open_engine(onnx_format.ENGINE, data, EngineOptions())
    assert [(i.name, i.dtype, i.shape) for i in engine.inputs] == [
        ("frames", "uint8", (1, 8, 8, 3))
    ]
    assert [(o.name, o.dtype, o.shape) for o in engine.outputs] == [("y", "float32", (1, 16, 8, 8))]
    assert engine.metadata == FACTS  # type: ignore[attr-defined]
    assert dict(model.metadata_props), "the model itself is left as it was"


def test_the_same_graph_and_facts_give_the_same_bytes() -> None:
    reverse = dict(reversed(FACTS.items()))
    for make in (lambda model: model, int8, lambda model: onnx_format.halve(model, "compute")):
        first = onnx_format.write(make(camera(CONV, WEIGHTS)), FACTS)
        assert onnx_format.write(make(camera(CONV, WEIGHTS)), reverse) == first
        assert onnx_format.write(make(camera(CONV, WEIGHTS)), {}) != first


def test_an_invalid_graph_is_refused_in_one_line() -> None:
    model = camera(f"{CONV.replace('y =', 'a =')} y = Relu (a)", WEIGHTS)
    model.graph.node(3).op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match="NoSuchOperator") as caught:
        onnx_format.write(model, {})
    assert "\n" not in str(caught.value)


# ---- Half precision, stored ------------------------------------------------------------------


def test_stored_weights_are_off_by_half_a_digit_and_nothing_else_is() -> None:
    weights = WEIGHTS["w"].copy()
    weights[0] *= 1e-6  # among the subnormal numbers of float16
    model = camera(CONV, {**WEIGHTS, "w": weights})
    halved = onnx_format.halve(model, "weights")
    assert ops(halved) == f"Cast {ops(model)}"
    frames = some_frames(3)
    (expected,), (actual,) = run(model, frames), run(halved, frames)
    # Each weight is off by at most HALF of itself or SMALLEST; the pixels are exact. Then come
    # the roundings of 28 float32 terms, twice.
    pixels = run(camera("y = Conv <pads = [1, 1, 1, 1]> (p, w)", {"w": np.abs(weights)}), frames)[0]
    count = run(
        camera("y = Conv <pads = [1, 1, 1, 1]> (p, w)", {"w": np.ones_like(weights)}), frames
    )[0]
    bound = (HALF + 60 * EPS) * pixels + SMALLEST * count + 60 * EPS
    error = np.abs(actual - expected)
    assert (error <= bound).all()
    assert error.max() > 0.05 * bound.max(), "the bound is there for a reason"


def test_stored_digits_answer_the_same_from_half_the_file() -> None:
    net = digits()
    data = both("weights")(net.prepared.graph)
    frames = net.heldout[:200]
    expected, actual = run(net.prepared.graph, frames)[0], run(data, frames)[0]
    assert (expected.argmax(axis=1) == actual.argmax(axis=1)).all()
    # 11 bits are 66 dB; ten layers of weights rounded independently leave 56.
    assert snr(expected, actual) >= 56
    assert len(data) < 0.6 * len(onnx_format.write(net.prepared.graph, {}))


def test_small_constants_stay_float() -> None:
    model = camera(CONV, {**WEIGHTS, "w": (4, 3, 3, 3), "b": (4,)})  # 108 numbers
    assert to_bytes(onnx_format.halve(model, "weights")) == to_bytes(model)


def test_a_weight_that_layers_share_is_stored_once() -> None:
    model = camera("a = Conv (p, w, b) d = Conv (p, w) y = Add (a, d)", WEIGHTS)
    halved = onnx_format.halve(model, "weights")
    assert ops(halved).count("Cast") == 2
    assert snr(run(model, some_frames(2))[0], run(halved, some_frames(2))[0]) > 56


# ---- Half precision, computed ----------------------------------------------------------------


def test_computed_digits_answer_the_same() -> None:
    net = digits()
    data = both("compute")(net.prepared.graph)
    frames = net.heldout[:200]
    expected, actual = run(net.prepared.graph, frames)[0], run(data, frames)[0]
    assert (expected.argmax(axis=1) == actual.argmax(axis=1)).all()
    # As above, with the activations of 20 nodes rounded as well: 66 - 10 log10(10 + 20) = 51,
    # and sums may be rounded to half precision on the way, which costs a bit (6 dB) at most here.
    assert snr(expected, actual) >= 45
    graph = onnx.load_from_string(data).graph
    kinds = {one.data_type for one in graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}


def test_computed_is_half_precision_between_bytes_and_floats() -> None:
    outputs = "float[N,M,O,P] y, float[N,M,O,P] d, int64[N,M,O,P] i"
    model = camera(f"{CONV} d = Relu (y) i = ArgMax <axis = 1> (d)", WEIGHTS, outputs=outputs)
    data = both("compute")(model)
    engine = open_engine("onnxruntime", data, EngineOptions(simulate=True))
    assert [(o.name, o.dtype) for o in engine.outputs] == [
        ("y", "float32"),
        ("d", "float32"),
        ("i", "int64"),
    ]
    before, after, _ = run(data, some_frames(2))
    expected = run(model, some_frames(2))
    np.testing.assert_array_equal(after, np.maximum(before, 0))
    assert snr(expected[0], before) > 50


@pytest.mark.parametrize("mode", ["weights", "compute"])
@pytest.mark.parametrize("inputs", ["(a, , k)", "(a, r, k)"])
def test_resizing_keeps_its_scales_in_float(mode: str, inputs: str) -> None:
    constants = {**WEIGHTS, "k": np.array([1, 1, 2, 1.5], np.float32), "r": np.zeros(8, np.float32)}
    body = f'{CONV.replace("y =", "a =")} y = Resize <mode = "linear"> {inputs}'
    model = camera(body, {k: v for k, v in constants.items() if k in f"wb{inputs}"})
    halved = onnx_format.halve(model, mode)
    for node in halved.graph:
        if node.op_type == "Resize":
            array = constant(node.inputs[2])
            assert array is not None
            assert array.dtype == np.float32
    data = onnx_format.write(halved, {})
    assert snr(run(model, some_frames(2))[0], run(data, some_frames(2))[0]) > 50


@pytest.mark.parametrize(
    ("mode", "constants"),
    [
        ("weights", {"w": WEIGHTS["w"] * np.float32(1e9)}),
        ("compute", {"w": WEIGHTS["w"] * np.float32(1e9)}),
        ("compute", {"b": np.full(16, 7e4, np.float32)}),
    ],
)
def test_numbers_beyond_half_precision_are_refused(mode: str, constants: dict[str, Array]) -> None:
    with pytest.raises(ModelError, match=r"^[wb] holds numbers beyond 65504, .*--precision fp32$"):
        onnx_format.halve(camera(CONV, {**WEIGHTS, **constants}), mode)


def test_the_largest_number_of_half_precision_is_not_refused() -> None:
    model = camera(CONV, {**WEIGHTS, "b": np.full(16, 65504, np.float32)})
    assert constant(onnx_format.halve(model, "compute").graph.initializers["b/half"]) is not None


@pytest.mark.parametrize("mode", ["weights", "compute"])
def test_names_that_halving_likes_may_be_the_models_own(mode: str) -> None:
    model = camera(
        "a = Conv (p, w, b) d = Mul (a, k) y = Mul (d, l)",
        {**WEIGHTS, "k": (16, 1, 1), "l": (16, 6, 6)},
    )
    model.graph.initializers["k"].name = "w/half"
    model.graph.initializers["l"].name = "y/half"
    for node, name in ((2, "w/wide"), (3, "b/half")):
        model.graph.node(node).outputs[0].name = name
    assert snr(run(model, some_frames(2))[0], run(both(mode)(model), some_frames(2))[0]) > 50
