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

USUAL = 0.9
"""The coefficient of all where nothing was measured. On one x86 core it was 0.5 to 1.4, most often
0.75: classes overlap there. Cores that keep the order of instructions overlap less."""

SPREAD = 0.4
"""Standard deviation of the logarithm of an estimate's error where nothing was measured. It was 0.2
on one x86 core; twice that, since nothing is known of how far other cores are from what is
published of them."""

WITHIN = 0.2
"""The same, of other networks on a machine that some were measured on (docs/latency.md)."""

RIDGE = 0.1
_BELIEF = 3.0
"""How many networks `WITHIN` counts for, beside those of the device itself."""

MEMORY_GB_S = 4.0
"""What one core gets of the bandwidth at the most, near enough: published ones are of all."""

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
    bandwidth = min(profile.cost.memory_gb_s or MEMORY_GB_S, MEMORY_GB_S)
    return np.array([*found, 1e3 * subject.size / (1e9 * bandwidth)])


def _accesses(counts: Counts, name: str, width: int) -> float:
    """Return the instructions of a class; of those that move more than `width`, its multiples."""
    number = counts.instructions.get(name, 0)
    moved = counts.bytes.get(name, 0) if name in ("vector_load", "vector_store") else 0
    return max(number, moved / width)


def fit(points: Floats, took: Floats, networks: Sequence[str]) -> Fit:
    """Return what fits the terms of measured points, (n, 5), that took so many ms, (n,).

    The spread is that of points whose network was left out, together with `WITHIN`.
    """
    distinct = list(dict.fromkeys(networks))
    residuals: list[float] = []
    for network in distinct if len(distinct) > 1 else ():
        out = np.array([name == network for name in networks])
        guess = points[out] @ _solve(points[~out], took[~out])
        residuals += map(float, np.log(took[out] / guess))
    seen = float(np.mean(np.square(residuals))) if residuals else 0.0
    counted = len(distinct) if residuals else 0
    variance = (_BELIEF * WITHIN**2 + counted * seen) / (_BELIEF + counted)
    spread = math.sqrt(variance * (1 + 1 / len(distinct)))
    coefficients = tuple(map(float, _solve(points, took)))
    return Fit(coefficients, spread, _BELIEF + counted, len(took))


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
