"""Latencies in bounded memory: percentiles of any number of measurements, within 1 percent."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Bucket i holds (FLOOR * GROWTH**(i-1), FLOOR * GROWTH**i] and answers with its geometric middle,
# which is at most sqrt(GROWTH) - 1 = 0.75% away from any value in it (Masson, Rim and Lee,
# "DDSketch", VLDB 2019, section 2.1).
_GROWTH = 1.015
_FLOOR_S = 1e-6
_CEILING_S = 1e5
_PER_LOG = 1 / math.log(_GROWTH)
_BUCKETS = math.ceil(math.log(_CEILING_S / _FLOOR_S) * _PER_LOG) + 1


class LatencyRecorder:
    """A histogram of durations in seconds with logarithmic buckets, for use from any thread.

    Memory is fixed (28 kB). Percentiles are within 0.75% of the true value from 1 microsecond to
    a day; count, mean, min and max are exact.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets = array("Q", bytes(8 * _BUCKETS))
        self._sum = 0.0
        self._lap_counts = np.zeros(_BUCKETS, np.int64)
        self._lap_sum = 0.0
        self.count = 0
        self.min = 0.0
        self.max = 0.0

    def add(self, seconds: float) -> None:
        """Record one duration; a negative one (a clock that was set back) counts as 0."""
        seconds = max(0.0, seconds)
        above = seconds / _FLOOR_S
        bucket = min(math.ceil(math.log(above) * _PER_LOG), _BUCKETS - 1) if above > 1 else 0
        with self._lock:
            self._buckets[bucket] += 1
            self._sum += seconds
            self.min = min(self.min, seconds) if self.count else seconds
            self.max = max(self.max, seconds)
            self.count += 1

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Record how long the body of a `with` takes; a body that raises is not recorded."""
        start = time.perf_counter()
        yield
        self.add(time.perf_counter() - start)

    @property
    def mean(self) -> float:
        """Mean in seconds, 0 when nothing was recorded."""
        return self._sum / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return a percentile (0 to 100, nearest rank) in seconds, 0 when nothing was recorded."""
        with self._lock:
            counts = np.array(self._buckets, np.int64)
            return _percentiles(counts, (percent,), (self.min, self.max))[0]

    def to_json(self) -> dict[str, float]:
        """Return count, mean, p50, p90, p99 and max, in milliseconds."""
        with self._lock:
            counts = np.array(self._buckets, np.int64)
            return _figures(counts, self._sum, (self.min, self.max))

    def lap(self) -> dict[str, float]:
        """Return the figures of what was recorded since the last lap; for one caller alone."""
        with self._lock:
            counts = np.array(self._buckets, np.int64)
            new, total = counts - self._lap_counts, self._sum - self._lap_sum
            self._lap_counts, self._lap_sum = counts, self._sum
            least, most = self.min, self.max
        filled = np.flatnonzero(new)
        if filled.size:
            # The extremes of a lap are known to a bucket alone.
            most = min(most, _FLOOR_S * math.pow(_GROWTH, float(filled[-1])))
        return _figures(new, total, (least, most))


def _percentiles(
    counts: NDArray[np.int64], percents: Sequence[float], extremes: tuple[float, float]
) -> list[float]:
    """Return percentiles in seconds of what the buckets hold, which lies between `extremes`."""
    total = int(counts.sum())
    if not total:
        return [0.0] * len(percents)
    least, most = extremes
    ranks = np.array([max(1, math.ceil(total * percent / 100)) for percent in percents])
    buckets = np.searchsorted(counts.cumsum(), ranks)
    middles = _FLOOR_S * np.power(_GROWTH, buckets - 0.5)
    return [
        most if rank >= total else min(max(float(middle), least), most)
        for rank, middle in zip(ranks, middles, strict=True)
    ]


def _figures(
    counts: NDArray[np.int64], seconds: float, extremes: tuple[float, float]
) -> dict[str, float]:
    total = int(counts.sum())
    p50, p90, p99, most = _percentiles(counts, (50, 90, 99, 100), extremes)
    figures = {
        "mean_ms": seconds / total if total else 0.0,
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "max_ms": most,
    }
    return {"count": total, **{name: round(1e3 * value, 4) for name, value in figures.items()}}


@dataclass(frozen=True)
class StageTimes:
    """Durations of the stages of a pipeline; `age` is from the capture of a frame to its result.

    `capture` includes waiting for a live source's next frame.
    """

    capture: LatencyRecorder = field(default_factory=LatencyRecorder)
    preprocess: LatencyRecorder = field(default_factory=LatencyRecorder)
    infer: LatencyRecorder = field(default_factory=LatencyRecorder)
    decode: LatencyRecorder = field(default_factory=LatencyRecorder)
    sink: LatencyRecorder = field(default_factory=LatencyRecorder)
    age: LatencyRecorder = field(default_factory=LatencyRecorder)

    def to_json(self) -> dict[str, Any]:
        """Return the figures of every stage in which something was measured."""
        return {name: stage.to_json() for name, stage in vars(self).items() if stage.count}

    def lap(self) -> dict[str, Any]:
        """Return the figures since the last lap of every stage in which something was measured."""
        laps = {name: stage.lap() for name, stage in vars(self).items()}
        return {name: figures for name, figures in laps.items() if figures["count"]}
