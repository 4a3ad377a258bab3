"""Which of the artifacts that were made go into the bundle, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.recipe import Recipe
from device_profiles.errors import GateError, RequestError
from edge_sdk.workflows.cells import worst_snr
from edge_sdk.workflows.limits import NO_BUDGET, exceeds
from runtime.evaluate import Terms

# What `--precision auto` lets an artifact lose when no budget is stated: with ground truth what
# the terms of the evaluation allow, points of agreement without, signal to noise in dB where
# nothing is decoded (10 dB: the error's power is a tenth of the signal's). Conventions, not
# measurements: state a budget of your own where it matters.
DEFAULT_DISAGREEMENT = 5.0
DEFAULT_SNR_DB = 10.0


@dataclass(frozen=True)
class Candidate:
    """One artifact: its recipe, its size in bytes, and how it compares with the reference, in
    which terms."""

    recipe: Recipe
    size: int
    comparison: Mapping[str, Any]
    terms: Terms = field(default_factory=Terms)

    @property
    def broken(self) -> str | None:
        """Why there is nothing to compare (not to be made, outputs not finite), or None."""
        fault = self.comparison.get("fault")
        return None if fault is None else f"fails: {fault}"

    @property
    def drop(self) -> float | None:
        """What was lost against the reference, in the terms' unit; None without ground truth."""
        drop = self.comparison.get("drop")
        return None if drop is None else float(drop["value"])

    @property
    def disagreement(self) -> float | None:
        """Points answered otherwise than by the reference; None where nothing is answered."""
        agreement = self.comparison.get("agreement")
        return None if agreement is None else 100.0 * (1.0 - float(agreement["value"]))

    @property
    def snr_db(self) -> float | None:
        """Signal-to-noise ratio of the outputs in dB, the worst one's; None when exact."""
        return worst_snr(self.comparison)

    def fault(self, budget: float | None) -> str | None:
        """Return why this candidate breaks `budget` (None: the defaults above), or None."""
        if self.drop is not None:
            allowed = self.terms.allowed if budget is None else budget
            return _over("loses", self.drop, allowed, self.terms.lost)
        if self.disagreement is not None:
            limit = DEFAULT_DISAGREEMENT if budget is None else budget
            return _over("answers otherwise on", self.disagreement, limit, "points")
        if self.snr_db is not None and self.snr_db < DEFAULT_SNR_DB:
            return f"has a signal-to-noise ratio of {self.snr_db:.1f} dB, below {DEFAULT_SNR_DB:g}"
        return None


def _over(verb: str, lost: float, limit: float, unit: str) -> str | None:
    return f"{verb} {lost:.2f} {unit}, the budget is {limit:g}" if exceeds(lost, limit) else None


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
    `max_drop` alone. Raises RequestError when a budget is given that cannot be measured here, and
    GateError when what was asked for by name, or everything, breaks it.
    """
    measured = [c for c in candidates if not c.broken]
    if max_drop is not None and any(c.drop is None and c.disagreement is None for c in measured):
        raise RequestError(NO_BUDGET)
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
