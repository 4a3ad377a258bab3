"""Weight: how long an artifact takes on its device, how that is known, and what outweighs what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.recipe import Recipe
from converters.work import Work
from device_profiles.profile import Profile
from edge_sdk.workflows.bench_figures import Ratio

MARGIN = 0.05
"""By how much one must be slower, with its whole interval, before anything is decided by it: a
decision has to come out the same when it is made again."""


@dataclass(frozen=True)
class Weight:
    """Milliseconds of one inference with the limits between which they lie; `ms` is None where
    nobody knows, and `how` then says why, else how they are known.

    `trusted` are those that were measured on a machine of the device's kind, or calibrated on it.
    `rounds` are the runs where several took turns: they are compared round by round.
    """

    ms: float | None
    low: float
    high: float
    how: str
    trusted: bool = False
    rounds: tuple[float, ...] = ()

    @classmethod
    def unknown(cls, why: str) -> Weight:
        """Return the weight of what was not weighed."""
        return cls(None, 0.0, float("inf"), f"not weighed: {why}")

    def against(self, other: Weight | None) -> Ratio | None:
        """Return how long this takes relative to `other`; None where one of them is unknown."""
        if other is None or self.ms is None or other.ms is None:
            return None
        if self.rounds and len(self.rounds) == len(other.rounds):
            return Ratio.paired(np.array(self.rounds), np.array(other.rounds))
        return Ratio(self.ms / other.ms, self.low / other.high, self.high / other.low)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, without the single runs."""
        if self.ms is None:
            return {"how": self.how}
        figures = {"ms": self.ms, "interval": [self.low, self.high], "runs": len(self.rounds)}
        return {"how": self.how, **figures, "trusted": self.trusted}


def slower(ratio: Ratio | None) -> bool:
    """Tell whether a ratio shows a slower one, by more than `MARGIN`."""
    return ratio is not None and ratio.low > 1 + MARGIN


def faster(ratio: Ratio | None) -> bool:
    """Tell whether a ratio shows a faster one, by more than `MARGIN`."""
    return ratio is not None and ratio.high < 1 / (1 + MARGIN)


@dataclass(frozen=True)
class Contender:
    """One artifact to weigh: its bytes, what it computes, the nodes that are islands of float in
    it, and inputs to run it on, uint8 (N, H, W, C)."""

    recipe: Recipe
    data: bytes
    work: Sequence[Work]
    islands: frozenset[str]
    frames: NDArray[np.uint8]


class Weigher(Protocol):
    """A way to weigh. It says for each contender, in order, what it takes on the device."""

    def __call__(self, profile: Profile, contenders: Sequence[Contender]) -> list[Weight]:
        """Return one weight per contender; unknown ones say why."""
