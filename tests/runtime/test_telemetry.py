"""Latency percentiles: error, memory, threads."""

from __future__ import annotations

import json
import math
import threading

import numpy as np
import pytest

from runtime.telemetry import LatencyRecorder, StageTimes

WITHIN = 0.01  # the recorder promises less than 1 percent


@pytest.mark.parametrize("percent", [0, 1, 50, 90, 99, 99.9, 100])
@pytest.mark.parametrize("spread", [0.1, 1.5])
def test_percentiles_are_within_one_percent_of_the_exact_ones(
    percent: float, spread: float
) -> None:
    values = np.random.default_rng(3).lognormal(math.log(0.02), spread, 5000)
    recorder = LatencyRecorder()
    for value in values:
        recorder.add(float(value))
    exact = np.sort(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
    assert recorder.percentile(percent) == pytest.approx(exact, rel=WITHIN)
    assert recorder.count == 5000
    assert recorder.mean == pytest.approx(values.mean())
    assert (recorder.min, recorder.max) == (values.min(), values.max())


@pytest.mark.parametrize(("seconds", "answer"), [(-1.0, 0.0), (0.0, 0.0), (1e-9, 1e-9), (1e9, 1e9)])
def test_values_outside_the_buckets_are_kept_as_extremes(seconds: float, answer: float) -> None:
    recorder = LatencyRecorder()
    for _ in range(3):
        recorder.add(seconds)
    assert recorder.percentile(50) == answer


def test_a_lap_holds_what_came_since_the_last_one() -> None:
    recorder = LatencyRecorder()
    for value in (0.010, 0.020, 5.0):
        recorder.add(value)
    first = recorder.lap()
    assert (first["count"], first["max_ms"]) == (3, 5000)
    for value in (0.100, 0.200, 0.300):
        recorder.add(value)
    second = recorder.lap()
    assert second["count"] == 3
    assert second["p50_ms"] == pytest.approx(200, rel=WITHIN)
    assert second["mean_ms"] == pytest.approx(200, rel=WITHIN)
    assert second["max_ms"] == pytest.approx(300, rel=2 * WITHIN)
    assert set(recorder.lap().values()) == {0}
    assert recorder.to_json()["count"] == 6


def test_laps_of_stages_leave_out_those_that_rested() -> None:
    times = StageTimes()
    times.infer.add(0.25)
    assert list(times.lap()) == ["infer"]
    assert times.lap() == {}


def test_nothing_recorded_is_all_zero() -> None:
    assert set(LatencyRecorder().to_json().values()) == {0}


def test_memory_does_not_grow_with_the_number_of_values() -> None:
    recorder = LatencyRecorder()
    before = len(recorder._buckets)
    for value in range(1, 20_000):
        recorder.add(value * 1e-4)
    assert len(recorder._buckets) == before
    assert before * recorder._buckets.itemsize < 16_000


def test_no_value_is_lost_when_many_threads_record() -> None:
    recorder = LatencyRecorder()
    threads = [
        threading.Thread(target=lambda: [recorder.add(0.001) for _ in range(2000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.count == sum(recorder._buckets) == 8000


def test_timing_records_a_body_and_not_one_that_raises() -> None:
    recorder = LatencyRecorder()
    with recorder.timing():
        pass
    with pytest.raises(KeyError), recorder.timing():
        raise KeyError
    assert recorder.count == 1


def test_stages_without_measurements_are_left_out_of_json() -> None:
    times = StageTimes()
    times.infer.add(0.25)
    figures = json.loads(json.dumps(times.to_json()))
    assert list(figures) == ["infer"]
    assert figures["infer"]["p50_ms"] == figures["infer"]["max_ms"] == 250
