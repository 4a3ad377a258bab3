"""Which of the artifacts that were made go into the bundle, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.islands import Island
from converters.recipe import Recipe
from device_profiles.errors import GateError, RequestError
from device_profiles.sections import Budget
from edge_sdk.workflows.bench_figures import Ratio
from edge_sdk.workflows.cells import worst_snr
from edge_sdk.workflows.limits import NO_BUDGET, exceeds
from edge_sdk.workflows.weight import Weight, faster, slower
from runtime.evaluate import Terms

# What `--precision auto` lets an artifact lose when no budget is stated: with ground truth what
# the terms of the evaluation allow, points of agreement without, signal to noise in dB where
# nothing is decoded (10 dB: the error's power is a tenth of the signal's). Conventions, not
# measurements: state a budget of your own where it matters.
DEFAULT_DISAGREEMENT = 5.0
DEFAULT_SNR_DB = 10.0


@dataclass(frozen=True)
class Candidate:
    """One artifact: its recipe, its size in bytes, how it compares with the reference, in which
    terms; what it weighs on the device, and its islands of float."""

    recipe: Recipe
    size: int
    comparison: Mapping[str, Any]
    terms: Terms = field(default_factory=Terms)
    weight: Weight = field(default_factory=lambda: Weight.unknown("nobody asked"))
    islands: tuple[Island, ...] = ()

    @property
    def rung(self) -> tuple[str, str]:
        """The engine and the provider that it is for."""
        return self.recipe.engine, self.recipe.provider

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
    """What was tried, as it was tried; `refused` gives reasons, by position.

    `order` are the positions of the others, as they go into the bundle: the best first. `slower`
    says, by position, than which precision on its rung an artifact is slower, and how much.
    """

    candidates: tuple[Candidate, ...]
    refused: Mapping[int, str]
    max_drop: float | None
    order: tuple[int, ...]
    slower: Mapping[int, tuple[str, Ratio]] = field(default_factory=dict)

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """The candidates that go into the bundle, best first."""
        return tuple(self.candidates[i] for i in self.order)

    @property
    def reordered(self) -> bool:
        """Whether the ladder has another order than the profile's, because of the weights."""
        return list(self.order) != sorted(self.order)

    def why(self, position: int) -> str | None:
        """Return why a candidate is refused, with the figures; None where it is kept."""
        reason = self.refused.get(position)
        if reason is None or position not in self.slower:
            return reason
        return f"{reason}, {self.times(position)}"

    def times(self, position: int) -> str:
        """Return how much slower a candidate is than another one."""
        ratio = self.slower[position][1]
        return f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"

    def to_json(self) -> dict[str, Any]:
        """Return what was tried and what became of it, without what differs from run to run."""
        tried = [
            {
                **candidate.recipe.to_json(),
                "size": candidate.size,
                "weighed": None if candidate.weight.ms is None else candidate.weight.how,
                "refused": self.refused.get(i),
            }
            for i, candidate in enumerate(self.candidates)
        ]
        return {"max_drop": self.max_drop, "tried": tried}


def choose(
    candidates: Sequence[Candidate],
    max_drop: float | None,
    precision: str,
    budget: Budget | None = None,
) -> Verdict:
    """Keep on each rung what is fastest within the budgets, and float32 as its fallback.

    One is slower than another where its weight shows it beyond every doubt; of what is equally
    fast, fewer bits win. `budget` is the profile's. A precision asked for by name is kept however
    slow it is, and judged by `max_drop` alone. Raises RequestError when a budget is given that
    cannot be measured here, and GateError when what was asked for by name, or everything, breaks
    it.
    """
    measured = [c for c in candidates if not c.broken]
    if max_drop is not None and any(c.drop is None and c.disagreement is None for c in measured):
        raise RequestError(NO_BUDGET)
    judged = precision == "auto" or max_drop is not None
    refused: dict[int, str] = {}
    for index, candidate in enumerate(candidates):
        fault = candidate.broken or _beyond(candidate, budget or Budget())
        if fault is None and judged:
            fault = candidate.fault(max_drop)
        if fault is not None:
            refused[index] = fault
    left = [index for index in range(len(candidates)) if index not in refused]
    behind = dict(_slower(candidates, left))
    refused |= _not_needed(candidates, left, behind if precision == "auto" else {})
    order = [index for index in left if index not in refused]
    if precision == "auto":
        order = _fastest_first(candidates, order)
    verdict = Verdict(tuple(candidates), refused, max_drop, tuple(order), behind)
    _gate(verdict, precision)
    return verdict


def _beyond(candidate: Candidate, budget: Budget) -> str | None:
    """Return what of the device's budget an artifact breaks, or None.

    Its latency is judged where it is known of such a device, not by a model's guess.
    """
    if budget.size_mb is not None and candidate.size > budget.size_mb * 2**20:
        return f"has {candidate.size / 2**20:.2f} MiB, the profile's budget is {budget.size_mb:g}"
    weight, limit = candidate.weight, budget.latency_ms
    if limit is not None and weight.trusted and weight.ms is not None and weight.low > limit:
        return f"takes longer than the profile's budget of {limit:g} ms"
    return None


def _slower(
    candidates: Sequence[Candidate], left: Sequence[int]
) -> Iterator[tuple[int, tuple[str, Ratio]]]:
    """Yield what is slower than another one of its rung, and than which one: float32 if it is."""
    for index in left:
        mine = candidates[index]
        rivals = [candidates[i] for i in left if candidates[i].rung == mine.rung and i != index]
        for rival in sorted(rivals, key=lambda c: c.recipe.precision != "fp32"):
            ratio = mine.weight.against(rival.weight)
            if ratio is not None and slower(ratio):
                yield index, (rival.recipe.precision, ratio)
                break


def _not_needed(
    candidates: Sequence[Candidate],
    left: Sequence[int],
    behind: Mapping[int, tuple[str, Ratio]],
) -> dict[int, str]:
    """Return what of the candidates that are `left` its rung has no need of; float32 stays."""
    refused: dict[int, str] = {}
    taken: dict[tuple[str, str], Candidate] = {}
    for index in left:
        candidate = candidates[index]
        best = taken.get(candidate.rung)
        if candidate.recipe.precision == "fp32":
            continue
        if best is not None:
            refused[index] = f"not needed: {_better(best, candidate)}"
        elif index in behind:
            rival = behind[index][0]
            trusted = candidate.weight.trusted
            known = f"slower than {rival} here"
            refused[index] = known if trusted else f"modelled to be slower than {rival}"
        else:
            taken[candidate.rung] = candidate
    return refused


def _better(best: Candidate, other: Candidate) -> str:
    ratio = other.weight.against(best.weight)
    if ratio is None:
        return "fewer bits do"
    return f"{best.recipe.precision} is smaller and {'faster' if slower(ratio) else 'no slower'}"


def _fastest_first(candidates: Sequence[Candidate], order: Sequence[int]) -> list[int]:
    """Return the positions, each before those that it is shown to be faster than.

    What is equally fast, or was not weighed, stays in the profile's order.
    """
    ladder: list[int] = []
    for index in order:
        mine, place = candidates[index].weight, len(ladder)
        while place and faster(mine.against(candidates[ladder[place - 1]].weight)):
            place -= 1
        ladder.insert(place, index)
    return ladder


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
