"""Grids: exact zero, onnxruntime's own rounding, and weights whose pairs cannot saturate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.quantize.grid import Grid, WeightRule, activation_grid, weight_grid
from tests.converters.graph_cases import build, compute, frozen

Array = np.ndarray[Any, np.dtype[Any]]
TYPES = ("uint8", "int8")
TINY = float(np.finfo(np.float32).tiny)

# Not more examples than it takes: each property is also tried on the adversarial cases below.
quick = settings(max_examples=60, deadline=None, derandomize=True)
numbers = st.floats(-1e6, 1e6, width=32)
shapes = hnp.array_shapes(min_dims=2, max_dims=4, max_side=5)
weights = hnp.arrays(np.float32, shapes, elements=st.floats(-4, 4, width=32))


def real(grid: Grid, integers: Array) -> Array:
    shape = [1] * integers.ndim
    if grid.axis is not None:
        shape[grid.axis] = -1
    steps = integers.astype(np.float64) - grid.zero_point.astype(np.float64).reshape(shape)
    return np.asarray(steps * grid.scale.astype(np.float64).reshape(shape))


@quick
@given(numbers, numbers, st.sampled_from(TYPES), st.booleans())
@example(0.0, 0.0, "uint8", False)
@example(1e-44, 2e-44, "int8", True)  # a range of subnormal numbers
@example(-1e-39, 0.0, "int8", False)
@example(3.0, 5.0, "uint8", False)
def test_activation_grid_holds_zero_and_its_range(
    first: float, second: float, dtype: str, symmetric: bool
) -> None:
    low, high = sorted((first, second))
    grid = activation_grid(low, high, np.dtype(dtype), symmetric)
    assert grid.dtype == dtype
    assert grid.scale.dtype == np.float32
    assert TINY <= grid.scale < np.inf
    zero = grid.quantize(np.zeros(1, np.float32))
    assert zero == grid.zero_point
    assert real(grid, zero) == 0
    # Zero itself is rounded to a step, so either end may be cut by half a step.
    slack = 0.501 * float(grid.scale)
    assert grid.low <= low + slack
    assert grid.high >= high - slack
    if symmetric:
        assert grid.zero_point == (128 if dtype == "uint8" else 0)


@quick
@given(numbers, numbers, st.sampled_from(TYPES), st.booleans())
def test_no_number_in_the_range_is_off_by_more_than_half_a_step(
    first: float, second: float, dtype: str, symmetric: bool
) -> None:
    low, high = sorted((first, second))
    grid = activation_grid(low, high, np.dtype(dtype), symmetric)
    values = np.linspace(low, high, 101).astype(np.float32)
    error = np.abs(real(grid, grid.quantize(values)) - values)
    # At the very ends both the rounding of zero and that of the number itself can cost half.
    assert (error <= 1.001 * float(grid.scale)).all()
    inside = (values >= grid.low) & (values <= grid.high)
    assert (error[inside] <= 0.501 * float(grid.scale)).all()


def quantize_linear(values: Array, grid: Grid) -> Array:
    """Return what onnxruntime's own QuantizeLinear makes of `values`."""
    constants = {"scale": grid.scale, "zero": grid.zero_point}
    axis = "" if grid.axis is None else f"<axis = {grid.axis}>"
    sides = ",".join(str(side) for side in values.shape)
    model = build(
        f"y = QuantizeLinear{axis} (x, scale, zero)",
        constants,
        inputs=f"float[{sides}] x",
        outputs=f"{grid.dtype}[{sides}] y",
    )
    return compute(frozen(model), {"x": values})[0]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("low", [-3.7, 0.0, -1e-6])
def test_quantize_is_that_of_onnxruntime_bit_for_bit(dtype: str, low: float) -> None:
    random = np.random.default_rng(0)
    grid = activation_grid(low, 2.9, np.dtype(dtype), symmetric=False)
    steps = np.arange(-300, 600, dtype=np.float32)
    ties = (steps + np.float32(0.5)) * grid.scale
    values = np.concatenate(
        [
            random.uniform(-5, 5, 20_000).astype(np.float32),
            ties,  # and the numbers next to them, where float64 would round another way
            np.nextafter(ties, np.float32(np.inf)),
            np.nextafter(ties, np.float32(-np.inf)),
            np.array([0.0, -0.0, 1e30, -1e30, np.inf, -np.inf], np.float32),
        ]
    )
    np.testing.assert_array_equal(grid.quantize(values), quantize_linear(values, grid))


def test_quantize_along_an_axis_is_that_of_onnxruntime_bit_for_bit() -> None:
    weight = np.random.default_rng(1).standard_normal((7, 5, 3, 3)).astype(np.float32)
    weight *= np.logspace(-6, 3, 7, dtype=np.float32).reshape(-1, 1, 1, 1)
    for rule in (WeightRule(), WeightRule(pair_safe=True), WeightRule(per_channel=False)):
        grid = weight_grid(weight, 0, rule)
        np.testing.assert_array_equal(grid.quantize(weight), quantize_linear(weight, grid))


def test_int32_keeps_more_digits_than_float32_has() -> None:
    grid = Grid(np.array(2.0**-30, np.float32), np.array(0, np.int32))
    value = np.array([1 - 2.0**-24, -1], np.float32)
    assert grid.quantize(value).tolist() == [2**30 - 2**6, -(2**30)]
    assert grid.quantize(np.array([9.0, -9.0], np.float32)).tolist() == [2**31 - 1, -(2**31)]


@quick
@given(weights, st.integers(0, 1), st.booleans())
def test_weight_grid_is_symmetric_with_a_scale_per_channel(
    weight: Array, axis: int, pair_safe: bool
) -> None:
    grid = weight_grid(weight, axis, WeightRule(pair_safe=pair_safe))
    assert grid.axis == axis
    assert grid.dtype == np.int8
    assert grid.scale.shape == grid.zero_point.shape == (weight.shape[axis],)
    assert not grid.zero_point.any()
    integers = grid.quantize(weight)
    assert np.abs(integers.astype(int)).max() <= 127
    np.testing.assert_array_equal(grid.quantize(-weight), -integers)
    rows = np.moveaxis(np.abs(real(grid, integers) - weight), axis, 0)
    assert (rows.reshape(len(rows), -1).max(axis=1) <= 0.5001 * grid.scale).all()


@quick
@given(weights)
def test_one_scale_for_the_tensor(weight: Array) -> None:
    grid = weight_grid(weight, 0, WeightRule(per_channel=False))
    assert grid.axis is None
    assert grid.scale.shape == ()
    assert np.abs(real(grid, grid.quantize(weight)) - weight).max() <= 0.5001 * float(grid.scale)


def largest_pair(integers: Array) -> int:
    """Return the most steps that two weights of one channel and one sign sum to, by trying all."""
    rows = integers.astype(int).reshape(len(integers), -1)
    worst = 0
    for row in rows:
        for i in range(len(row)):
            same = row[i + 1 :][row[i + 1 :] * row[i] > 0]
            worst = max(worst, int(np.abs(same + row[i]).max(initial=0)))
    return worst


@quick
@given(weights, st.booleans())
def test_no_pair_of_weights_is_beyond_128_steps(weight: Array, per_channel: bool) -> None:
    grid = weight_grid(weight, 0, WeightRule(per_channel, pair_safe=True))
    assert largest_pair(grid.quantize(weight)) <= 128


def test_no_pair_is_beyond_128_steps_at_the_border_of_rounding() -> None:
    # Pairs of n + 1/2 and 127 - n + 1/2 steps, and a little more or less: where rounding lifts
    # both, the pair has 129. One channel each, beside a pair of the other sign.
    halves = np.arange(0.5, 127.5)
    for nudge in (0, 2**-24, -(2**-24), 2**-22, -(2**-22), 1e-4):
        for scale in (1.0, 0.013, 1 / 3):
            first, second = halves * scale, (128 - halves) * (1 + nudge) * scale
            rows = np.stack([first, second, -first / 2, -second / 2], axis=1).astype(np.float32)
            integers = weight_grid(rows, 0, WeightRule(pair_safe=True)).quantize(rows)
            assert largest_pair(integers) <= 128


def test_pair_safety_does_not_saturate_16_bits_and_its_lack_does() -> None:
    weight = np.array([[1.0, 0.99, -0.5, -0.98]], np.float32)
    for pair_safe in (True, False):
        integers = weight_grid(weight, 0, WeightRule(pair_safe=pair_safe)).quantize(weight)
        assert (255 * largest_pair(integers) < 2**15) == pair_safe


def test_pair_safety_costs_nothing_where_one_weight_stands_out() -> None:
    weight = np.array([[1.0, 0.005, -0.3, -0.2]], np.float32)
    free, safe = (weight_grid(weight, 0, WeightRule(pair_safe=p)) for p in (False, True))
    assert safe.scale == free.scale


@pytest.mark.parametrize("rule", [WeightRule(), WeightRule(pair_safe=True), WeightRule(False)])
@pytest.mark.parametrize(
    "row",
    [[0, 0, 0], [1e-38] * 3, [1e-45, 0, -1e-45], [0.7] * 3, [-0.7] * 3, [3e38] * 3, [1e-30, 2, 2]],
    ids=str,
)
def test_strange_channels_have_a_usable_scale(rule: WeightRule, row: list[float]) -> None:
    weight = np.array([row, [1.0, -2.0, 0.5]], np.float32)
    grid = weight_grid(weight, 0, rule)
    assert (grid.scale >= TINY).all()
    assert np.isfinite(grid.scale).all()
    error = np.abs(real(grid, grid.quantize(weight)) - weight)
    assert (error <= 0.5001 * np.broadcast_to(grid.scale, 2).reshape(2, 1)).all()


def test_a_row_of_one_weight_uses_all_steps() -> None:
    weight = np.array([[0.5], [-0.25], [0.0]], np.float32)
    integers = weight_grid(weight, 0, WeightRule(pair_safe=True)).quantize(weight)
    assert integers.tolist() == [[127], [-127], [0]]


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_least_step_is_kept_channel_by_channel(per_channel: bool) -> None:
    weight = np.array([[0.0, 0.0], [1.27, -1.27]], np.float32)
    grid = weight_grid(weight, 0, WeightRule(per_channel), np.array([0.25, 1e-9]))
    expected = [0.25, 0.01] if per_channel else 0.25
    np.testing.assert_allclose(grid.scale, expected, rtol=1e-6)
