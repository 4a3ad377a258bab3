"""Figures of timings: percentiles, ratios with intervals, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_DIFFERENCE = 0.03
"""Two copies of one file, opened twice in one process, differ by a percent or two: by where their
memory lies, not by what they are. With this and the interval, 3 of 108 such pairs were told apart,
on a machine with four times the load that it has cores for."""

STRETCHES = 20
"""Into how many stretches a run is cut where it is compared."""

SPREAD = 0.15
"""The middle half of the runs, over the median, from which on a run counts as noisy."""

DRIFT = 0.03
"""By how much the last third of a run may differ from the first, beyond their intervals."""

BUSY_CORES = 0.1
FULL = 0.9
"""Others disturb when they take more than `BUSY_CORES`, and the machine is `FULL` with ours."""

LOAD = 1.5
"""The load average per core, before the run, from which on it counts as noisy."""

NEAR_LIMIT_C = 3.0


def median_interval(values: Sequence[float] | Floats) -> tuple[float, float]:
    """Return the 95 % confidence limits of the median from order statistics.

    The ranks n/2 -+ 1.96 sqrt(n)/2 of the binomial's normal approximation (Conover 1999,
    Practical Nonparametric Statistics, section 3.2); it assumes nothing of the distribution.
    """
    ordered = sorted(map(float, values))
    count = len(ordered)
    half = 1.96 * count**0.5 / 2
    low = max(int(count / 2 - half), 0)
    high = min(int(count / 2 + half), count - 1)
    return ordered[low], ordered[high]


@dataclass(frozen=True)
class Latency:
    """Percentiles in ms; `low` and `high` are the 95 % confidence limits of the median, `spread`
    is the middle half of the runs over the median."""

    p50: float
    low: float
    high: float
    p90: float
    p99: float
    spread: float

    @classmethod
    def of(cls, took: Floats) -> Latency:
        """Return those of `took`, ms."""
        low, high = median_interval(took)
        p25, p50, p75, p90, p99 = map(float, np.percentile(took, [25, 50, 75, 90, 99]))
        return cls(p50, low, high, p90, p99, (p75 - p25) / p50)

    @property
    def words(self) -> str:
        """The limits of the median."""
        return f"{self.low:.3g} to {self.high:.3g}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "p50": self.p50,
            "p50_interval": [self.low, self.high],
            "p90": self.p90,
            "p99": self.p99,
            "spread": self.spread,
        }


@dataclass(frozen=True)
class Ratio:
    """How long something takes relative to another, with the 95 % confidence limits."""

    value: float
    low: float
    high: float

    @classmethod
    def paired(cls, took: Floats, other: Floats) -> Ratio:
        """Return the median ratio of neighbours in time, and the limits that the sign test does not
        reject.

        Of the median in each of 20 stretches of the run: what disturbs comes in bursts, and rounds
        of one burst are not so many witnesses.
        """
        stretches = np.array_split(took / other, min(STRETCHES, len(took)))
        ratios = [float(np.median(stretch)) for stretch in stretches]
        return cls(float(np.median(ratios)), *median_interval(ratios))

    @classmethod
    def apart(cls, now: Latency, then: Latency) -> Ratio:
        """Return the ratio of medians of two runs, between the farthest ends of their intervals."""
        return cls(now.p50 / then.p50, now.low / then.high, now.high / then.low)

    @property
    def verdict(self) -> str:
        """`faster`, `slower` or `no difference shown`: beyond the interval and 3 %."""
        if self.high < 1 and self.value < 1 - LEAST_DIFFERENCE:
            return "faster"
        if self.low > 1 and self.value > 1 + LEAST_DIFFERENCE:
            return "slower"
        return "no difference shown"

    @property
    def words(self) -> str:
        """Return `0.52 (0.51 to 0.53)`."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {"ratio": self.value, "interval": [self.low, self.high], "verdict": self.verdict}


@dataclass(frozen=True)
class Mark:
    """What makes figures doubtful: its kind, `noisy`, `not settled`, `throttled` or `hot`, and
    why."""

    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}"


def marks_of(took: Floats) -> list[Mark]:
    """Return what is doubtful of one artifact's runs, ms in the order of time."""
    found = []
    latency = Latency.of(took)
    if latency.spread > SPREAD:
        why = f"the middle half of its runs spans {latency.spread:.0%} of the median"
        found.append(Mark("noisy", why))
    first, _, last = np.array_split(took, 3)
    drift = Ratio.apart(Latency.of(last), Latency.of(first))
    if abs(drift.value - 1) > DRIFT and not drift.low <= 1 <= drift.high:
        how = "slower" if drift.value > 1 else "faster"
        why = f"its last third was {abs(drift.value - 1):.0%} {how} than its first"
        found.append(Mark("not settled", why))
    return found


def marks_of_machine(looks: Sequence[Mapping[str, Any]], cores: int | None) -> list[Mark]:
    """Return what is doubtful of a run by the condition of its machine.

    The first of `looks` (`runtime.condition`) was before all work, the others from the beginning
    to the end of what was timed.
    """
    found = []
    reasons = [look["throttle_reasons"] for look in looks if "throttle_reasons" in look]
    if reasons:
        found.append(Mark("throttled", ", ".join(dict.fromkeys(reasons))))
    hottest = max((look.get("temperature_c", -273.0) for look in looks), default=-273.0)
    limit = looks[0].get("limit_c") if looks else None
    if limit is not None and hottest >= limit - NEAR_LIMIT_C:
        found.append(Mark("hot", f"{hottest:.0f} °C, and the kernel slows it down at {limit:.0f}"))
    others, ours = others_cores(looks[1:]), own_cores(looks[1:])
    if cores and others is not None and others > BUSY_CORES and others + ours > FULL * cores:
        found.append(Mark("noisy", f"other processes took {others:.1f} of {cores} cores"))
    load = looks[0].get("load_average") if looks else None
    if cores and load is not None and load > LOAD * cores:
        found.append(Mark("noisy", f"the load average was {load:.1f} on {cores} cores before"))
    return found


def others_cores(looks: Sequence[Mapping[str, Any]]) -> float | None:
    """Return how many cores other processes took between the first and the last look."""
    busy = _rate(looks, "busy_s")
    return None if busy is None else max(busy - own_cores(looks), 0.0)


def own_cores(looks: Sequence[Mapping[str, Any]]) -> float:
    """Return how many cores the process itself took between the first and the last look."""
    return _rate(looks, "own_s") or 0.0


def _rate(looks: Sequence[Mapping[str, Any]], key: str) -> float | None:
    if len(looks) < 2 or key not in looks[0] or key not in looks[-1]:
        return None
    first, last = looks[0], looks[-1]
    passed = float(last["at_s"]) - float(first["at_s"])
    return (float(last[key]) - float(first[key])) / passed if passed > 0 else None
