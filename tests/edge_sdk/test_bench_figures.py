"""Figures of timings: intervals that hold, ratios that do not cry wolf, and doubts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edge_sdk.workflows.bench_figures import (
    Floats,
    Latency,
    Ratio,
    marks_of,
    marks_of_machine,
    median_interval,
    others_cores,
)

RNG = np.random.default_rng(0)


def test_median_interval_holds_the_median_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(0)
    limits = [median_interval(list(rng.exponential(size=51))) for _ in range(2000)]
    held = sum(low <= np.log(2) <= high for low, high in limits)
    # 2000 trials of a coverage of 0.95: a standard deviation is 10. Order statistics are discrete
    # and cover a little more.
    assert 0.94 < held / 2000 < 0.98


def runs(level: float = 10.0, noise: float = 0.01, count: int = 200) -> Floats:
    return level * (1 + noise * np.random.default_rng(count).exponential(size=count))


def test_percentiles() -> None:
    latency = Latency.of(np.arange(1.0, 102.0))
    assert (latency.p50, latency.p90, latency.p99) == (51, 91, 100)
    assert (latency.low, latency.high) == (41.0, 61.0)
    assert latency.spread == pytest.approx(50 / 51)


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(0.5, "faster"), (2.0, "slower"), (1.0, "no difference shown"), (0.99, "no difference shown")],
)
def test_verdicts(factor: float, verdict: str) -> None:
    """One percent is what two copies of one file differ by: nothing is said of it."""
    rng = np.random.default_rng(1)
    first = 10 + rng.normal(0, 0.1, 200)
    other = factor * first + rng.normal(0, 0.05, 200)
    ratio = Ratio.paired(other, first)
    assert ratio.verdict == verdict
    assert ratio.low <= factor <= ratio.high


def test_noise_in_bursts_is_no_difference() -> None:
    """Another job slows some stretches down, in which each is hit by chance: the rounds of one
    burst are not so many witnesses."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        bursts = np.repeat(rng.exponential(0.3, (20, 2)), 10, axis=0)
        took = 10 * (1 + bursts) + rng.normal(0, 0.1, (200, 2))
        found.append(Ratio.paired(took[:, 0], took[:, 1]).verdict != "no difference shown")
    assert sum(found) / 200 < 0.1


def test_two_runs_apart_are_compared_between_the_farthest_ends() -> None:
    now = Latency(10.0, 9.0, 11.0, 12.0, 13.0, 0.1)
    then = Latency(20.0, 18.0, 25.0, 30.0, 31.0, 0.1)
    ratio = Ratio.apart(now, then)
    assert (ratio.value, ratio.low, ratio.high) == (0.5, 9 / 25, 11 / 18)
    assert ratio.words == "0.50 (0.36 to 0.61)"
    assert Ratio.apart(now, now).verdict == "no difference shown"


def kinds(took: Floats) -> list[str]:
    return [mark.kind for mark in marks_of(took)]


def test_what_is_doubtful_of_runs() -> None:
    assert kinds(runs()) == []
    assert kinds(runs(noise=1.0)) == ["noisy"]
    assert kinds(runs() * np.linspace(1.15, 1.0, 200)) == ["not settled"]
    slower = marks_of(runs() * np.linspace(1.0, 1.15, 200))
    assert "slower than its first" in str(slower[0])
    assert kinds(runs(count=10)) == []


def looks(*changes: dict[str, Any], **same: Any) -> Sequence[dict[str, Any]]:
    base = {"at_s": 0.0, "own_s": 0.0, "busy_s": 100.0, "load_average": 0.1}
    ends = {"at_s": 10.0, "own_s": 9.0, "busy_s": 109.5}
    every = [base, base, {**base, **ends}]
    return [
        {**look, **same, **change}
        for look, change in zip(every, changes or ({}, {}, {}), strict=True)
    ]


def test_a_quiet_machine_is_not_doubted() -> None:
    assert marks_of_machine(looks(), 4) == []
    assert others_cores(looks()) == pytest.approx(0.05)
    # One of four cores is another's, and three are left for ours.
    assert marks_of_machine(looks({}, {}, {"busy_s": 120.0}), 4) == []
    assert marks_of_machine([{}, {}, {}], None) == []


@pytest.mark.parametrize(
    ("changes", "same", "kind", "why"),
    [
        (({}, {}, {"busy_s": 140.0}), {}, "noisy", "took 3.1 of 4 cores"),
        ((), {"load_average": 7.0}, "noisy", "load average was 7.0 on 4 cores"),
        (({}, {"throttle_reasons": "under-voltage"}, {}), {}, "throttled", "under-voltage"),
        (({}, {}, {"temperature_c": 79.0}), {"limit_c": 80.0}, "hot", "79 °C"),
    ],
)
def test_what_is_doubtful_of_a_machine(
    changes: tuple[dict[str, Any], ...], same: dict[str, Any], kind: str, why: str
) -> None:
    (mark,) = marks_of_machine(looks(*changes, **same), 4)
    assert mark.kind == kind
    assert why in mark.why
