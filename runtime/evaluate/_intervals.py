"""Confidence intervals: of proportions, single and paired, and of any figure over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with the limits of its confidence interval, all in the same unit."""

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit, `factor` (positive) of them to one of this."""
        low, high = self.low * factor, self.high * factor
        return Interval(self.value * factor, low, high, self.confidence)

    def to_json(self) -> dict[str, float]:
        """Return the interval as JSON-ready values."""
        return asdict(self)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of a proportion, 0..1 (Wilson 1927, JASA 22:209-212).

    Raises DataError when there is nothing to judge by (n is 0).
    """
    if n < 1:
        raise DataError("an accuracy needs at least one sample; the data set gave none")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n the limits are 0 and 1 exactly; rounding must not move them past the estimate.
    return Interval(
        share,
        min(centre - half, share) if successes else 0.0,
        max(centre + half, share) if successes < n else 1.0,
        confidence,
    )


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> Interval:
    """Return the difference of two proportions on the same samples, a minus b, -1..1.

    The counts are of samples that both, only one, or neither got right. Hybrid score interval
    with continuity-corrected correlation, 95% (Newcombe 1998, Statistics in Medicine
    17:2635-2650, method 10). Raises DataError when all counts are 0.
    """
    n = both + only_a + only_b + neither
    a, b = wilson(both + only_a, n), wilson(both + only_b, n)
    product = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    covariance: float = both * neither - only_a * only_b
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    phi = covariance / math.sqrt(product) if product else 0.0
    difference = (only_a - only_b) / n
    down = _combined(a.value - a.low, b.high - b.value, phi)
    up = _combined(a.high - a.value, b.value - b.low, phi)
    return Interval(difference, difference - down, difference + up)


def _combined(of_a: float, of_b: float, phi: float) -> float:
    return math.sqrt(max(of_a**2 - 2 * phi * of_a * of_b + of_b**2, 0.0))


def bootstrap(
    n: int, figures: Callable[[Weights], Sequence[float]], times: int = 1000
) -> list[Interval]:
    """Return each of `figures` over `n` images with its percentile interval, 95% (Efron 1979,
    Annals of Statistics 7:1-26).

    `figures(weights)` computes them where image i occurs weights[i] times, (n,) float64: once for
    weights of 1, then `times` for images drawn with replacement, always the same ones. Figures
    that belong together, such as those of two models and their difference, are thus paired. A NaN,
    where a figure has no value, is left out; if it has none at all, the interval is NaN.
    """
    rng = np.random.default_rng(0)
    draws = (np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(times))
    rows = np.array([figures(draw.astype(np.float64)) for draw in draws])
    found = []
    for value, column in zip(figures(np.ones(n)), rows.T, strict=True):
        kept = column[np.isfinite(column)]
        low, high = np.percentile(kept, [2.5, 97.5]) if len(kept) else (math.nan, math.nan)
        found.append(Interval(float(value), float(low), float(high)))
    return found
