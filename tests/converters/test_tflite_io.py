"""What a file takes and hands out, and what it says of itself."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.formats import tflite
from converters.formats._tflite.ops.base import forms, never
from converters.produce import look, quantize
from converters.recipe import Recipe
from device_profiles.errors import ModelError
from runtime.engines import open_engine
from runtime.tflite import read_tflite
from tests.converters.op_matrix import OpCase, quantized, run_tflite
from tests.converters.quantize_cases import digits, run

RECIPE = Recipe("tflite", "litert", "cpu", "int8")
FACTS = {
    "edge_sdk.name": "digits",
    "edge_sdk.labels": "0\n1\n2\nümläut",
    "edge_sdk.task": "classify",
}


def int8(recipe: Recipe = RECIPE) -> bytes:
    frames = digits().train[:8]
    graph, plan = quantize(look(digits().prepared.graph, recipe, frames), recipe, frames)
    return tflite.write(tflite.lower(graph, plan), FACTS)


@pytest.mark.parametrize("io_type", ["float32", "uint8", "int8"])
def test_bytes_in_and_numbers_out_whatever_the_file_keeps(io_type: str) -> None:
    data = int8(replace(RECIPE, io_type=io_type, bias_correction=False))
    file = read_tflite(data)
    (taken,), (given,) = file.inputs, file.outputs
    assert taken.dtype == ("int8" if io_type == "int8" else "uint8")
    assert given.dtype == io_type
    inside = [operator.name for operator in file.operators]
    assert ("QUANTIZE" in inside) == (io_type != "int8")
    assert ("DEQUANTIZE" in inside) == (io_type == "float32")
    engine = open_engine("litert", data)
    assert (engine.inputs[0].dtype, engine.outputs[0].dtype) == ("uint8", "float32")
    engine.close()
    frames = digits().heldout[:16]
    plain = run_tflite(int8(replace(RECIPE, bias_correction=False)), frames)[0]
    assert np.array_equal(run_tflite(data, frames)[0], plain)


def test_integers_at_the_ends_need_integers_at_the_ends() -> None:
    signed = replace(RECIPE, activation_type="int8", io_type="int8", bias_correction=False)
    with pytest.raises(
        ModelError, match=r"first operators do not take bytes.*activation_type uint8"
    ):
        int8(signed)


def test_what_a_file_says_of_itself() -> None:
    file = read_tflite(tflite.write(digits().prepared.graph, FACTS))
    labels = FACTS["edge_sdk.labels"]
    assert dict(file.facts) == {k: v for k, v in FACTS.items() if v != labels}
    described = file.described
    assert described is not None
    assert described.name == "digits"
    assert (described.mean, described.std, described.gray) == ((0.0,), (1.0,), True)
    assert described.labels == tuple(labels.split("\n"))
    assert described.files == ("labels.txt",)


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert int8() == int8()
    assert tflite.write(digits().prepared.graph, {}) == tflite.write(digits().prepared.graph, {})


def test_half_precision_is_stored_and_computed_in_single() -> None:
    graph = digits().prepared.graph
    whole, half = tflite.write(graph, {}), tflite.write(tflite.halve(graph, "weights"), {})
    assert len(half) < 0.7 * len(whole)
    halved = tflite.halve(graph, "weights")
    frames = digits().heldout[:8]
    # onnxruntime on the very same halved weights.
    np.testing.assert_allclose(
        run_tflite(half, frames)[0], run(halved, frames)[0], atol=1e-4, rtol=0
    )


def test_bytes_that_are_read_as_they_are_too_keep_their_grid() -> None:
    """The zero point does a subtraction only for those who want nothing else."""
    case = OpCase("b = Add (p, s) y = Relu (b)")
    lowered, plan = quantized(case)
    assert not plan.shifts
    (expected,) = run(lowered, case.frames(), simulate=False)
    (actual,) = run_tflite(tflite.write(lowered, {}), case.frames())
    step = float(plan.values["y"].scale)
    assert np.abs(expected - actual).max() <= 1.01 * step
    alone, _ = quantized(OpCase("y = Relu (s)"))
    assert "Sub" not in [node.op_type for node in alone.graph]


def test_the_docs_list_every_operator_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "tflite.md").read_text(encoding="utf-8")
    table = text.partition("## Operators")[2].partition("`Resize` uses")[0]
    listed = set(re.findall(r"(\*\*)?`(\w+)`", table))
    integer = {op for op, form in forms().items() if (form.integer, form.moves) != (never, never)}
    assert {name for _, name in listed} - {"auto"} == set(forms())
    assert {name for bold, name in listed if bold} == integer
