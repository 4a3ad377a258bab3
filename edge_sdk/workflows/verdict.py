"""Which of the artifacts that were made go into the bundle, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.recipe import Recipe
from device_profiles.errors import GateError, RequestError
from edge_sdk.workflows.limits import exceeds

# What `--precision auto` lets an artifact lose when no budget is stated: points of top-1 with
# labels, points of agreement without, signal to noise in dB for outputs that are not decoded
# (10 dB: the error's power is a tenth of the signal's). Conventions, not measurements: state a
# budget of your own where it matters.
DEFAULT_DROP = 2.0
DEFAULT_DISAGREEMENT = 5.0
DEFAULT_SNR_DB = 10.0


@dataclass(frozen=True)
class Candidate:
    """One artifact: its recipe, its size in bytes, and how it compares with the reference."""

    recipe: Recipe
    size: int
    comparison: Mapping[str, Any]

    @property
    def broken(self) -> str | None:
        """Why there is nothing to compare (not to be made, outputs not finite), or None."""
        fault = self.comparison.get("fault")
        return None if fault is None else f"fails: {fault}"

    @property
    def drop(self) -> float | None:
        """Points of top-1 lost against the reference; None without labels."""
        drop = self.comparison.get("drop")
        return None if drop is None else float(drop["value"])

    @property
    def disagreement(self) -> float | None:
        """Points of images answered otherwise than by the reference; None for raw outputs."""
        agreement = self.comparison.get("agreement")
        return None if agreement is None else 100.0 * (1.0 - float(agreement["value"]))

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio of the outputs in dB, the worst one's; None when exact."""
        ratios = [o.get("snr_db") for o in self.comparison.get("outputs", [self.comparison])]
        finite = [float(ratio) for ratio in ratios if ratio is not None]
        return min(finite) if finite else None

    def fault(self, budget: float | None) -> str | None:
        """Return why this candidate breaks `budget` (None: the defaults above), or None."""
        if self.drop is not None:
            return _over("loses", self.drop, DEFAULT_DROP if budget is None else budget)
        if self.disagreement is not None:
            limit = DEFAULT_DISAGREEMENT if budget is None else budget
            return _over("answers otherwise on", self.disagreement, limit)
        if self.snr_db is not None and self.snr_db < DEFAULT_SNR_DB:
            return f"has a signal-to-noise ratio of {self.snr_db:.1f} dB, below {DEFAULT_SNR_DB:g}"
        return None


def _over(verb: str, points: float, limit: float) -> str | None:
    return (
        f"{verb} {points:.2f} points, the budget is {limit:g}" if exceeds(points, limit) else None
    )


@dataclass(frozen=True)
class Verdict:
    """The candidates in the order of the ladder; `refused` gives reasons, by position."""

    candidates: tuple[Candidate, ...]
    refused: Mapping[int, str]
    max_drop: float | None

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """The candidates that go into the bundle, best first."""
        return tuple(c for i, c in enumerate(self.candidates) if i not in self.refused)

    def to_json(self) -> dict[str, Any]:
        """Return what was tried and what became of it."""
        tried = [
            {**candidate.recipe.to_json(), "size": candidate.size, "refused": self.refused.get(i)}
            for i, candidate in enumerate(self.candidates)
        ]
        return {"max_drop": self.max_drop, "tried": tried}


def choose(
    candidates: Sequence[Candidate],
    max_drop: float | None,
    precision: str,
    size_mb: float | None = None,
) -> Verdict:
    """Keep on each rung the first candidate within budget, and float32 as its fallback.

    `size_mb` is what the device has room for. A precision asked for by name is judged by
    `max_drop` alone. Raises RequestError when a budget
    is given that this task cannot measure, and GateError when what was asked for by name, or
    everything, breaks it.
    """
    measured = [c for c in candidates if not c.broken]
    if max_drop is not None and measured and all(c.disagreement is None for c in measured):
        raise RequestError(
            "a budget needs a task with an accuracy; leave --max-drop out for raw outputs"
        )
    refused: dict[int, str] = {}
    taken: set[tuple[str, str]] = set()
    for index, candidate in enumerate(candidates):
        recipe = candidate.recipe
        rung = (recipe.engine, recipe.provider)
        judged = precision == "auto" or max_drop is not None
        fault = candidate.broken or _too_large(candidate, size_mb)
        if fault is None and judged:
            fault = candidate.fault(max_drop)
        if fault is not None:
            refused[index] = fault
        elif rung in taken and recipe.precision != "fp32":
            refused[index] = "not needed: fewer bits do"
        else:
            taken.add(rung)
    verdict = Verdict(tuple(candidates), refused, max_drop)
    _gate(verdict, precision)
    return verdict


def _too_large(candidate: Candidate, size_mb: float | None) -> str | None:
    if size_mb is None or candidate.size <= size_mb * 2**20:
        return None
    return f"has {candidate.size / 2**20:.2f} MiB, the profile's budget is {size_mb:g}"


def _gate(verdict: Verdict, precision: str) -> None:
    kept = {candidate.recipe.precision for candidate in verdict.kept}
    if kept and (precision == "auto" or precision in kept):
        return
    faults = [(verdict.candidates[i].recipe.precision, why) for i, why in verdict.refused.items()]
    named = [fault for fault in faults if fault[0] == precision]
    which, why = (named or faults)[0]
    raise GateError(
        f"{which} {why}; nothing was written: give more calibration samples, "
        "a wider --max-drop, or --precision auto"
    )
