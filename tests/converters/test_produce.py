"""From a captured net to artifacts: the same bytes every time, and the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from converters.capture import Captured
from converters.graphs import to_bytes
from converters.produce import CORRECTION_SAMPLES, look, prepare, produce, quantize
from converters.recipe import Recipe, recipes
from device_profiles.errors import ContractError, DataError, ModelError
from device_profiles.profile import load
from runtime.contract import InputContract
from runtime.engines import EngineOptions, open_engine
from runtime.golden import float_tolerance
from runtime.preprocess import normalize
from tests.converters.graph_cases import build
from tests.converters.quantize_cases import Array, camera, digits, run, snr, some_frames

RECIPE = Recipe("onnx", "onnxruntime", "cpu", "int8", pair_safe=True)
FACTS = {"edge_sdk.task": "classify"}


@pytest.mark.parametrize("profile", ["generic-x86", "jetson-orin-nano"])
def test_two_runs_give_the_same_bytes(profile: str) -> None:
    net = digits()
    for recipe in recipes(load(profile))[:3]:
        first, second = (produce(net.prepared, recipe, net.train[:16], FACTS) for _ in range(2))
        assert first.data == second.data
        assert first.steps == second.steps
        assert first.notes == second.notes


def test_preparing_twice_gives_the_same_graph_and_leaves_the_captured_one() -> None:
    prepared = digits().prepared
    before = to_bytes(prepared.captured.graph)
    again = prepare(prepared.captured, prepared.contract)
    assert to_bytes(again.graph) == to_bytes(prepared.graph)
    assert to_bytes(prepared.captured.graph) == before
    assert again.passes == prepared.passes


def test_the_float_artifact_is_the_original_on_every_digit() -> None:
    net = digits()
    product = produce(net.prepared, replace(RECIPE, precision="fp32"), [], FACTS)
    actual = run(product.data, net.heldout)[0]
    frames = np.concatenate(net.heldout)
    (expected,) = net.prepared.captured.reference(normalize(frames, net.prepared.contract))
    assert (actual.argmax(axis=1) == expected.argmax(axis=1)).all()
    # Ten layers; the longest sum is that of a 3x3 convolution over 40 channels.
    allowed = float_tolerance("linear", expected, length=3 * 3 * 40, layers=10)
    assert np.abs(actual - expected).max() <= allowed.absolute
    assert np.ptp(expected) > 1
    assert product.steps == {}
    assert product.notes == {}


def test_int8_says_what_was_done_and_how_wide_a_step_is() -> None:
    net = digits()
    product = produce(net.prepared, RECIPE, net.train[:16], FACTS)
    logits = run(net.prepared.graph, net.train[:16])[0]
    assert product.steps == {"linear": pytest.approx(np.ptp(logits) / 255, rel=1e-5)}
    assert product.notes == {
        "calibration_frames": 16,
        "integer_nodes": 12,
        "moved_as_integers": 3,
        "absorbed_activations": 9,
        "kept_float": {},
    }
    engine = open_engine("onnxruntime", product.data, EngineOptions(simulate=True))
    assert engine.metadata == {**FACTS, "edge_sdk.precision": "int8"}  # type: ignore[attr-defined]


def test_quantize_leaves_the_prepared_graph_as_it_is() -> None:
    net = digits()
    before = to_bytes(net.prepared.graph)
    quantize(look(net.prepared.graph, RECIPE, net.train[:4]), RECIPE, net.train[:4])
    assert to_bytes(net.prepared.graph) == before


def test_no_frames_are_an_error() -> None:
    with pytest.raises(DataError, match="at least one frame"):
        produce(digits().prepared, RECIPE, [], FACTS)


def test_a_contract_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ContractError):
        prepare(digits().prepared.captured, InputContract(height=32, width=32))


# ---- Nets that a person may bring ------------------------------------------------------------

CONSTANTS: dict[str, Any] = {
    "w": np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype(np.float32) / 5,
    "v": np.random.default_rng(1).standard_normal((8, 8, 3, 3)).astype(np.float32) / 8,
    "b": np.linspace(-1, 1, 8, dtype=np.float32),
}
IMAGENET = InputContract(8, 8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def foreign(body: str, outputs: str = "float[N,M,O,P] y", name: str | None = None) -> Captured:
    """Return a captured ONNX file, (1, 3, 8, 8), whose nodes are all called `name`."""
    used = {k: v for k, v in CONSTANTS.items() if f" {k}," in body or f" {k})" in body}
    graph = build(body, used, "float[1,3,8,8] x", outputs)
    for node in graph.graph:
        node.name = name
    return Captured("net", graph, lambda batch: [batch])


@pytest.mark.parametrize(
    "recipe", [RECIPE, replace(RECIPE, activation_type="int8", symmetric=True)]
)
@pytest.mark.parametrize("name", [None, "", "node"])
@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (
            "a = Conv <pads = [1, 1, 1, 1]> (x, w, b) d = Tanh (a) y = Conv (d, v)",
            "float[N,M,O,P] y",
        ),
        # One head for two levels, an answer at each, and its classes.
        (
            "a = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Conv (a, v, b) "
            "d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a) z = Conv (d, v, b) "
            "i = ArgMax <axis = 1> (y)",
            "float[N,M,O,P] y, float[N,M,O,P] z, int64[N,M,O,P] i",
        ),
        ("y = Relu (x)", "float[N,M,O,P] y"),
        ("a = Abs (x) y = Conv (a, w, b)", "float[N,M,O,P] y"),
    ],
)
def test_foreign_nets_keep_their_answers(
    body: str, outputs: str, name: str | None, recipe: Recipe
) -> None:
    prepared = prepare(foreign(body, outputs, name), IMAGENET)
    frames = some_frames(8)
    plain = produce(prepared, replace(recipe, precision="fp32"), [], FACTS)
    product = produce(prepared, recipe, frames, FACTS)
    for simulate in (True, False):
        answers = zip(run(plain.data, frames), run(product.data, frames, simulate), strict=True)
        for expected, actual in answers:
            if expected.dtype.kind == "f":
                assert snr(expected, actual) >= 25  # 8 bits, some of them twice or thrice
            else:
                assert (expected == actual).mean() > 0.9
    assert set(product.steps) == {o for o in "yz" if f"] {o}" in outputs}


def test_the_mean_is_absorbed_for_bytes_alone() -> None:
    body = "y = Conv <pads = [1, 1, 1, 1]> (x, w, b)"
    prepared = prepare(foreign(body), IMAGENET)
    frames = some_frames(4)
    graph, _ = quantize(look(prepared.graph, RECIPE, frames), RECIPE, frames)
    assert "Sub" not in [node.op_type for node in graph.graph]
    signed = replace(RECIPE, activation_type="int8")
    graph, plan = quantize(look(prepared.graph, signed, frames), signed, frames)
    assert "Sub" in [node.op_type for node in graph.graph]
    assert any("Sub" in reason for reason in plan.kept_float.values())


@pytest.mark.parametrize("name", ["choose", None])
def test_branches_are_refused_in_one_line(name: str | None) -> None:
    graphs = [
        helper.make_graph(
            [helper.make_node("Add", ["p", "one"], ["out"])],
            "branch",
            [],
            [helper.make_tensor_value_info("out", 1, None)],
        )
    ] * 2
    model = camera("y = Relu (p)", {"one": 1.0, "yes": np.array(True)})
    proto = ir.to_proto(model)
    del proto.graph.node[2:]
    chosen = helper.make_node(
        "If", ["yes"], ["y"], name=name, then_branch=graphs[0], else_branch=graphs[1]
    )
    proto.graph.node.append(chosen)
    assert numpy_helper.to_array(proto.graph.initializer[1])
    with pytest.raises(ModelError, match=f"^{name or 'y'} is If, which branches") as caught:
        look(ir.from_proto(proto), RECIPE, some_frames(1))
    assert "\n" not in str(caught.value)


def test_results_of_varying_size_can_be_calibrated_and_corrected() -> None:
    body = (
        "c = Conv (p, w, b) g = Greater (c, k) i = NonZero (g) f = Cast <to = 1> (i) "
        "m = ReduceMean <keepdims = 0> (f) y = Add (c, m)"
    )
    constants = {**CONSTANTS, "w": CONSTANTS["w"] / np.float32(255), "k": 0.0}
    entry = "l = Cast <to = 1> (frames) p = Transpose <perm = [0, 3, 1, 2]> (l)"
    outputs = "float[N,M,O,P] y, float[N,M,O,P] c"
    model = camera(body, {k: constants[k] for k in "wbk"}, outputs=outputs, entry=entry)
    frames = some_frames(5)
    assert len({(one > 0).sum() for one in run(model, frames)[1]}) > 1
    graph, plan = quantize(look(model, RECIPE, frames), RECIPE, frames)
    assert len(plan.integer) == 2
    assert snr(run(model, frames)[0], run(graph, frames)[0]) > 25


def test_correction_sees_no_more_than_a_few_frames_at_once() -> None:
    net = digits()

    class Counted:
        longest = 0

        def __iter__(self) -> Iterator[Array]:
            for count, frame in enumerate(net.train[:64], start=1):
                self.longest = count
                yield frame

    frames = Counted()
    product = produce(net.prepared, RECIPE, frames, FACTS)
    assert product.notes["calibration_frames"] == 64
    assert frames.longest == CORRECTION_SAMPLES, "the second walk ends where there are enough"
