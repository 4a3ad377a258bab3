"""Calibration: right numbers, in memory that does not grow, and no silence about bad ones."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from converters.quantize.calibrate import channel_mean, observe
from device_profiles.errors import DataError
from tests.converters.graph_cases import compute, frozen
from tests.converters.quantize_cases import Array, camera, run, some_frames

BODY = "a = Conv <pads = [1, 1, 1, 1]> (p, w, b) y = Relu (a)"
CONSTANTS = {"w": (4, 3, 3, 3), "b": (4,)}


def test_ranges_and_means_are_those_of_all_frames() -> None:
    model = camera(BODY, CONSTANTS)
    frames = some_frames(5)
    seen = observe(model, frames, mean_of=["a", "y"])
    model.graph.outputs[:] = [v for n in model.graph for v in n.outputs if v.name in "pay"]
    pixels, before, after = run(model, frames)
    assert seen.count == 5
    for name, values in (("p", pixels), ("a", before), ("y", after)):
        assert seen.ranges[name] == (values.min(), values.max())
    for name, values in (("a", before), ("y", after)):
        expected = values.astype(np.float64).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(seen.means[name], expected, rtol=1e-12)
    assert set(seen.means) == {"a", "y"}


def test_constants_and_integers_have_no_range() -> None:
    model = camera(
        "y = Reshape (p, to) k = ArgMax <axis = 1> (p) z = Mul (k, k)",
        {"to": [1, -1]},
        outputs="float[N,M] y, int64[N,M,O,P] z",
    )
    assert set(observe(model, some_frames(1)).ranges) == {"c", "p", "y"}


def test_one_frame_is_alive_at_a_time_and_each_is_asked_for_once() -> None:
    alive: list[weakref.ref[Array]] = []
    most = 0

    def source() -> Iterator[Array]:
        nonlocal most
        for seed in range(12):
            (frame,) = some_frames(1, seed=seed)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            most = max(most, sum(ref() is not None for ref in alive))

    frames = source()
    assert observe(camera(BODY, CONSTANTS), frames).count == 12
    assert next(frames, None) is None
    assert len(alive) == 12
    assert most <= 1


def test_no_frame_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one frame"):
        observe(camera(BODY, CONSTANTS), iter(()))


@pytest.mark.parametrize("bad_at", [0, 1, 2])
def test_numbers_that_are_not_finite_are_an_error_in_whatever_frame(bad_at: int) -> None:
    # 0 / 0 where the frame is black; the frames beside it are whole.
    model = camera("s = ReduceSum (p) y = Div (p, s)", {})
    frames = some_frames(3)
    frames[bad_at] = np.zeros_like(frames[bad_at])
    assert np.isnan(compute(frozen(model), {"frames": frames[bad_at]})[0]).all()
    with pytest.raises(DataError, match="not finite in y"):
        observe(model, frames)


def test_infinity_is_an_error() -> None:
    model = camera("y = Div (one, p)", {"one": 1.0})
    black = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="not finite in y"):
        observe(model, [black])


def test_a_value_without_numbers_has_the_range_of_nothing() -> None:
    # As many results as there are pixels above a limit that none reaches.
    model = camera(
        "g = Greater (p, limit) i = NonZero (g) f = Cast <to = 1> (i) y = Neg (f)",
        {"limit": 255.0},
        outputs="float[N,M] y",
    )
    assert observe(model, some_frames(2)).ranges["y"] == (0, 0)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_channel_mean_keeps_axis_one(shape: tuple[int, ...]) -> None:
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = [value[:, i].mean(dtype=np.float64) for i in range(3)]
    np.testing.assert_allclose(channel_mean(value), expected, rtol=1e-12)
