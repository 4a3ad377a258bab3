"""A model of latency: milliseconds from counted instructions, by few coefficients.

An instruction's published cost is what it takes where nothing waits. A coefficient per group of
classes says how many times that it takes really; with memory's there are five. Where nothing was
measured, all are `USUAL`. Measured points pull them towards what fits (non-negative least squares
of relative errors, with a ridge towards one common factor), more the more points there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.counts import Counts
from edge_sdk.workflows.latency_cores import core_of, hertz_of

Floats = NDArray[np.float64]

GROUPS = {
    "floats": ("vector_float", "vector_fma", "vector_half"),
    "integers": ("vector_int", "vector_multiply", "vector_dot", "vector_matmul"),
    "moves": ("vector_load", "vector_store", "vector_move"),
    "control": ("scalar", "branch", "load", "store", "float", "crypto", "other"),
}
"""The classes that share a coefficient."""

NAMES = (*GROUPS, "memory")

USUAL = 1.3
"""The coefficient of all where nothing was measured."""

SPREAD = 0.35
"""Standard deviation of the logarithm of an estimate's error, where nothing was measured."""

RIDGE = 0.05
_BELIEF = 3.0
"""How many points the spread that was seen elsewhere counts for, beside a device's own."""

MEMORY_GB_S = 4.0
"""What is taken for the bandwidth of one core where a profile does not tell."""

COVERED = 0.9
"""What share of true latencies the limits of an estimate are meant to hold."""


@dataclass(frozen=True)
class Subject:
    """What is known of an artifact before it runs on the device: instructions of one inference by
    one thread, and the bytes of its file, which are about those of its weights."""

    counts: Counts
    size: int


@dataclass(frozen=True)
class Estimate:
    """Milliseconds, and the limits that hold the truth in `COVERED` of cases."""

    ms: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Coefficients in the order of `NAMES`; `spread` is the standard deviation of the logarithm of
    the error for another network, with `freedom` degrees; `points` it was fitted on."""

    coefficients: tuple[float, ...]
    spread: float
    freedom: float
    points: int

    def estimate(self, terms: Floats) -> Estimate:
        """Return what something with these terms takes."""
        ms = float(terms @ np.array(self.coefficients))
        factor = math.exp(self.spread * _student(self.freedom))
        return Estimate(ms, ms / factor, ms * factor)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        known = dict(zip(NAMES, self.coefficients, strict=True))
        return {"coefficients": known, "spread": self.spread, "points": self.points}


PRIOR = Fit((USUAL,) * len(NAMES), SPREAD, math.inf, 0)
"""What is believed of a device on which nothing was measured."""


def terms(profile: Profile, subject: Subject) -> Floats:
    """Return the milliseconds of each of `NAMES`, at what was published.

    RequestError where the profile does not tell the clock of its cores.
    """
    hardware = profile.hardware
    hertz = hertz_of(hardware, profile.cost.fp32_gflops_core)
    if hertz is None:
        raise RequestError(
            f"{profile.name} tells neither max_mhz of a cluster nor fp32_gflops_core; a latency "
            "needs one of them: put it into a profile of your own, or bench on the device"
        )
    core, counts = core_of(hardware), subject.counts
    found = []
    for classes in GROUPS.values():
        cycles = sum(core.cycles[name] * _accesses(counts, name, core.width) for name in classes)
        found.append(1e3 * cycles / hertz)
    bandwidth = profile.cost.memory_gb_s or MEMORY_GB_S
    return np.array([*found, 1e3 * _beyond(profile, subject) / (1e9 * bandwidth)])


def _accesses(counts: Counts, name: str, width: int) -> float:
    """Return the instructions of a class; of those that move more than `width`, its multiples."""
    number = counts.instructions.get(name, 0)
    moved = counts.bytes.get(name, 0) if name in ("vector_load", "vector_store") else 0
    return max(number, moved / width)


def _beyond(profile: Profile, subject: Subject) -> float:
    """Return the bytes that come from memory each time: weights that no cache keeps."""
    caches = [c.l3_kb or c.l2_kb or 0 for c in profile.hardware.clusters[:1]]
    kept = 1024 * caches[0] if caches else 0
    return max(subject.size - kept, 0)


def fit(points: Floats, took: Floats, networks: Sequence[str]) -> Fit:
    """Return what fits the terms of measured points, (n, 5), that took so many ms, (n,).

    The spread is that of points whose network was left out, together with `SPREAD`.
    """
    residuals = []
    for network in dict.fromkeys(networks):
        out = np.array([name == network for name in networks])
        known = _solve(points[~out], took[~out]) if (~out).any() else None
        if known is not None:
            residuals += list(np.log(took[out] / (points[out] @ known)))
    number = len(residuals)
    variance = (_BELIEF * SPREAD**2 + float(np.square(residuals).sum())) / (_BELIEF + number)
    spread = math.sqrt(variance * (1 + 1 / len(took)))
    coefficients = tuple(map(float, _solve(points, took)))
    return Fit(coefficients, spread, _BELIEF + number, len(took))


def _solve(points: Floats, took: Floats) -> Floats:
    """Return non-negative coefficients: a common factor, and what the points say beyond it."""
    plain = points.sum(axis=1)
    factor = float(np.exp(np.median(np.log(took / plain))))
    rows = factor * points / took[:, None]
    ridge = RIDGE * np.eye(points.shape[1])
    return factor * _non_negative(rows.T @ rows + ridge, rows.sum(axis=0) + RIDGE)


def _non_negative(matrix: Floats, target: Floats, rounds: int = 2000) -> Floats:
    """Minimise x'Ax/2 - b'x over x >= 0 by coordinate descent; A is positive definite."""
    x = np.ones(len(target))
    for _ in range(rounds):
        before = x.copy()
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + (target[i] - matrix[i] @ x) / matrix[i, i])
        if np.abs(x - before).max() < 1e-10:
            break
    return x


def _student(freedom: float) -> float:
    """Return how many standard deviations hold `COVERED` of Student's t, both sides together.

    Cornish-Fisher's expansion of its quantile (Abramowitz and Stegun 26.7.5), good to 1 % from 3
    degrees of freedom.
    """
    z = 1.6448536269514722  # of the normal distribution, at 0.95
    if math.isinf(freedom):
        return z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
