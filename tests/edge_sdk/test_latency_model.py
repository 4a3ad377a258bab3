"""The model of latency: what it recovers from counts with known costs, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from device_profiles.errors import RequestError
from device_profiles.profile import load
from device_profiles.sections import Cost, Hardware
from edge_sdk.emulation.counts import Counts
from edge_sdk.workflows.latency_cores import core_of, hertz_of
from edge_sdk.workflows.latency_model import (
    COVERED,
    GROUPS,
    NAMES,
    PRIOR,
    Floats,
    Subject,
    fit,
    terms,
)

PI = load("raspberry-pi-4b")
PI_5 = load("raspberry-pi-5")
TRUE = np.array([0.7, 1.4, 0.9, 2.0, 0.6])
RANDOM = np.random.default_rng(7)


def synthetic(count: int, noise: float, random: np.random.Generator = RANDOM) -> tuple:
    """Terms of `count` networks, and what they take by TRUE with an error of `noise`."""
    rows = 10 * random.dirichlet(np.ones(len(NAMES)), count) * random.lognormal(0, 1, (count, 1))
    took = rows @ TRUE * np.exp(noise * random.standard_normal(count))
    return rows, took, [f"net {i}" for i in range(count)]


def coefficients(rows: Floats, took: Floats, networks: list[str]) -> Floats:
    return np.array(fit(rows, took, networks).coefficients)


def test_known_coefficients_are_recovered() -> None:
    found = coefficients(*synthetic(200, 0.0))
    assert found == pytest.approx(TRUE, rel=0.03)


def test_more_points_come_closer() -> None:
    few, many = (np.abs(np.log(coefficients(*synthetic(n, 0.1)) / TRUE)).mean() for n in (6, 200))
    assert many < few


def test_one_point_tells_the_common_factor_and_nothing_else() -> None:
    row = np.array([[4.0, 0.0, 2.0, 1.0, 1.0]])
    found = fit(row, np.array([16.0]), ["net"])
    assert found.coefficients == pytest.approx([2.0] * 5)
    assert found.points == 1


def test_no_coefficient_is_negative() -> None:
    rows, _, networks = synthetic(40, 0.0)
    took = rows @ np.array([1.0, 1.0, 1.0, 0.0, -0.2])  # no such device
    took = np.maximum(took, 0.01)
    found = coefficients(rows, took, networks)
    assert (found >= 0).all()
    assert found[4] == 0


@pytest.mark.parametrize("count", [1, 2, 4, 8, 30])
def test_limits_hold_what_they_say(count: int) -> None:
    random, inside = np.random.default_rng(count), []
    for _ in range(150):
        rows, took, networks = synthetic(count + 1, 0.2, random)
        estimate = fit(rows[1:], took[1:], networks[1:]).estimate(rows[0])
        inside.append(estimate.low <= took[0] <= estimate.high)
    assert np.mean(inside) > COVERED - 0.07


def test_limits_narrow_where_the_model_fits_and_widen_where_it_does_not() -> None:
    exact, rough = (fit(*synthetic(30, noise)).spread for noise in (0.01, 0.6))
    assert exact < fit(*synthetic(2, 0.01)).spread < rough


def test_artifacts_of_one_network_are_one_witness() -> None:
    rows, took, networks = synthetic(6, 0.1)
    assert fit(rows, took, ["net"] * 6).spread > fit(rows, took, networks).spread


def test_without_points_the_limits_are_wider_than_with_one() -> None:
    row = np.ones(5)
    prior = PRIOR.estimate(row)
    assert prior.low < prior.ms < prior.high
    assert prior.high / prior.low > 3
    assert PRIOR.spread > fit(*synthetic(8, 0.1)).spread


def test_terms_are_published_cycles_over_the_clock() -> None:
    counts = Counts({"vector_fma": 3_000_000, "scalar": 600_000}, {})
    floats, integers, moves, control, memory = terms(PI, Subject(counts, 8_000_000))
    # A Cortex-A72 of 1500 MHz has one multiply-accumulate and two scalars a cycle.
    assert floats == pytest.approx(2.0)
    assert control == pytest.approx(0.2)
    assert (integers, moves) == (0, 0)
    assert memory == pytest.approx(2.0)  # 4 GB/s


def test_a_wide_access_counts_as_several() -> None:
    one = Subject(Counts({"vector_load": 1000}, {"vector_load": 16_000}), 0)
    pair = Subject(Counts({"vector_load": 1000}, {"vector_load": 32_000}), 0)
    assert terms(PI, pair)[2] == pytest.approx(2 * terms(PI, one)[2])


def test_every_class_has_a_group_and_a_cost_on_every_core() -> None:
    classes = [name for names in GROUPS.values() for name in names]
    assert len(classes) == len(set(classes)) == 17
    for arch in ("aarch64", "armv7l", "x86_64"):
        assert set(core_of(Hardware(arch, 1)).cycles) == set(classes)


def test_cores_are_told_apart_by_their_part() -> None:
    assert core_of(PI.hardware) is not core_of(PI_5.hardware)
    assert core_of(PI.hardware).source != core_of(PI_5.hardware).source


def test_the_clock_is_the_clusters_or_that_of_the_peak() -> None:
    assert hertz_of(PI.hardware, None) == 1.5e9
    bare = replace(PI.hardware, clusters=())
    assert hertz_of(bare, 8.0) == pytest.approx(1e9)  # 8 operations a cycle
    assert hertz_of(bare, None) is None


def test_without_a_clock_there_is_no_estimate() -> None:
    unknown = replace(PI, hardware=replace(PI.hardware, clusters=()), cost=Cost())
    with pytest.raises(RequestError, match="max_mhz"):
        terms(unknown, Subject(Counts(), 0))


def test_what_a_fit_says_in_json_is_finite() -> None:
    told = fit(*synthetic(3, 0.1)).to_json()
    assert set(told["coefficients"]) == set(NAMES)
    assert math.isfinite(told["spread"])
