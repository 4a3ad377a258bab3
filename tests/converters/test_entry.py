"""The first convolution on bytes: exact inside, and a border within half a grey level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.graphs import constant, to_bytes
from converters.quantize.entry import absorb_mean
from tests.converters.graph_cases import EPS, ops
from tests.converters.quantize_cases import Array, camera, digits, run, some_frames

MEAN = np.array([123.675, 116.28, 103.53], np.float32).reshape(3, 1, 1)
SUB_CONV = "s = Sub (p, mean) y = Conv <{how}> (s, w, b)"
CONSTANTS: dict[str, Any] = {"mean": MEAN, "w": (4, 3, 3, 3), "b": (4,)}


def border_bound(weight: Array, pads: list[int], size: int, stride: int, mean: Array) -> Array:
    """Return how far each output may be off: the error of the border's bytes through |weight|.

    In the exact net padding is 0 behind the subtraction, so it is the mean before it. The bytes
    laid there are the rounded mean: off by |round(mean) - mean| <= 1/2, per channel.
    """
    top, left, bottom, right = pads
    error = np.zeros((3, size + top + bottom, size + left + right))
    error += np.abs(np.rint(mean) - mean).reshape(3, 1, 1)
    error[:, top : top + size, left : left + size] = 0
    rows, columns = ((n - 3) // stride + 1 for n in error.shape[1:])
    bound = np.zeros((len(weight), rows, columns))
    for y in range(rows):
        for x in range(columns):
            window = error[:, y * stride : y * stride + 3, x * stride : x * stride + 3]
            bound[:, y, x] = (np.abs(weight) * window).sum(axis=(1, 2, 3))
    return bound


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "pads",
    [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 2, 1, 0]],
    ids=str,
)
def test_exact_inside_and_bounded_at_the_border(pads: list[int], stride: int) -> None:
    how = f"pads = {pads}, strides = [{stride}, {stride}]"
    model = camera(SUB_CONV.format(how=how), CONSTANTS)
    frames = some_frames(3)
    (expected,) = run(model, frames)
    weight = constant(model.graph.initializers["w"])
    assert weight is not None
    assert absorb_mean(model)
    assert "Sub" not in ops(model)
    assert ops(model).count("Concat") == bool(pads[0] or pads[2]) + bool(pads[1] or pads[3])
    (actual,) = run(model, frames)
    bound = border_bound(weight.astype(np.float64), pads, 8, stride, MEAN.astype(np.float64))
    # Float32 rounding of 27 products and the bias, each up to 255 * |w|, in either order.
    rounding = 2 * 29 * EPS * 255 * np.abs(weight).sum(axis=(1, 2, 3)).max()
    error = np.abs(actual - expected).max(axis=0)
    assert (error <= bound + rounding).all()
    assert (bound == 0).any(), "there is an inside"
    if any(pads):
        assert error.max() > rounding, "the bound is there for a reason"
        half = np.abs(weight).sum(axis=(1, 2, 3)) / 2
        assert (bound <= half.reshape(-1, 1, 1)).all()


def test_padding_that_is_said_to_be_explicit_is_taken_as_such() -> None:
    how = 'auto_pad = "NOTSET", pads = [1, 1, 1, 1]'
    model = camera(SUB_CONV.format(how=how), CONSTANTS)
    assert absorb_mean(model)
    assert ops(model) == "Cast Transpose Concat Concat Conv"


def test_a_mean_of_whole_bytes_is_exact_everywhere() -> None:
    mean = np.array([128.0, 0.0, 255.0], np.float32).reshape(3, 1, 1)
    model = camera(SUB_CONV.format(how="pads = [1, 1, 1, 1]"), {**CONSTANTS, "mean": mean})
    frames = some_frames(2)
    (expected,) = run(model, frames)
    assert absorb_mean(model)
    (actual,) = run(model, frames)
    assert np.abs(actual - expected).max() <= 2 * 29 * EPS * np.abs(expected).max() * 27


@pytest.mark.parametrize("bias", ["(s, w, b)", "(s, w)", "(s, w, )"])
@pytest.mark.parametrize("mean", [100.0, np.full((1, 1, 1, 1), 100.0, np.float32)])
def test_one_mean_for_all_channels_with_and_without_a_bias(bias: str, mean: Any) -> None:
    constants = {**CONSTANTS, "mean": mean}
    model = camera(f"s = Sub (p, mean) y = Conv <pads = [1, 1, 1, 1]> {bias}", constants)
    frames = some_frames(2)
    (expected,) = run(model, frames)
    assert absorb_mean(model)
    (actual,) = run(model, frames)
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() <= 2 * 29 * EPS * np.abs(expected).max() * 27


def test_digits_have_no_mean_and_stay_as_they_are() -> None:
    graph = digits().prepared.graph
    before = to_bytes(graph)
    assert not absorb_mean(graph)
    assert to_bytes(graph) == before


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        ("s = Sub (p, mean) y = Relu (s)", {}),
        ("s = Sub (p, mean) a = Conv (s, w, b) d = Conv (s, w, b) y = Add (a, d)", {}),
        ("s = Sub (mean, p) y = Conv (s, w, b)", {}),
        ("s = Sub (p, c2) y = Conv (s, w, b)", {"c2": (3, 8, 8)}),  # an image, not a mean
        ("s = Sub (p, row) y = Conv (s, w, b)", {"row": (8,)}),
        ("s = Sub (p, m) y = Conv <group = 3> (s, w3)", {"w3": (3, 1, 3, 3), "m": 7.0}),
        ("s = Sub (p, mean) q = Sqrt (k) y = Conv (s, q, b)", {"k": np.ones((4, 3, 1, 1), "f")}),
        ("s = Sub (p, mean) q = Abs (b) y = Conv (s, w, q)", {}),
        ('s = Sub (p, mean) y = Conv <auto_pad = "SAME_UPPER"> (s, w, b)', {}),
        # Beyond what a byte holds: the border could not be laid in bytes.
        ("s = Sub (p, m) y = Conv <pads = [1, 1, 1, 1]> (s, w, b)", {"m": -20.0}),
        ("s = Sub (p, m) y = Conv <pads = [1, 1, 1, 1]> (s, w, b)", {"m": 300.0}),
    ],
    ids=str,
)
def test_what_cannot_be_absorbed_is_left_alone(body: str, constants: dict[str, Any]) -> None:
    model = camera(body, {k: v for k, v in {**CONSTANTS, **constants}.items() if k in body})
    before = to_bytes(model)
    assert not absorb_mean(model)
    assert to_bytes(model) == before


def test_a_row_is_not_taken_for_channels_where_they_are_as_many() -> None:
    row = np.array([1.0, 2.0, 3.0], np.float32)  # along the width, which is 3 as well
    model = camera("s = Sub (p, row) y = Conv (s, w)", {"row": row, "w": (4, 3, 1, 1)}, (8, 3, 3))
    assert not absorb_mean(model)


def test_an_output_in_the_middle_keeps_its_subtraction() -> None:
    outputs = "float[N,M,O,P] y, float[N,M,O,P] s"
    assert not absorb_mean(camera(SUB_CONV.format(how="group = 1"), CONSTANTS, outputs=outputs))


def test_floats_are_not_bytes() -> None:
    entry = "c = Cast <to = 1> (half) p = Transpose <perm = [0, 3, 1, 2]> (c)"
    entry = f"half = Cast <to = 10> (frames) {entry}"
    assert not absorb_mean(camera(SUB_CONV.format(how="group = 1"), CONSTANTS, entry=entry))


def test_the_models_own_names_are_left_to_it() -> None:
    # Every name that the rewrite would like to use is taken, by constants and by values.
    body = (
        "s = Sub (p, mean) bordered_2 = Conv <pads = [1, 1, 1, 1]> (s, w, b) "
        "bordered_3 = Add (bordered_2, border_2_0) y = Mul (bordered_3, border_3_1)"
    )
    constants = {**CONSTANTS, "border_2_0": (4, 1, 1), "border_3_1": (4, 1, 1)}
    constants["mean"] = np.array([128.0, 10.0, 255.0], np.float32).reshape(3, 1, 1)
    model = camera(body, constants)
    frames = some_frames(2)
    (expected,) = run(model, frames)
    assert absorb_mean(model)
    (actual,) = run(model, frames)
    assert np.abs(actual - expected).max() <= 4 * 29 * EPS * np.abs(expected).max() * 27
