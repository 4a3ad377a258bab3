"""Workflow: how long may an inference take on a device that is not here?

Estimates are made of instructions counted on the emulated device, never of its clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError, ProfileError, RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.counts import Counts
from edge_sdk.report import Bar, Bars, Report, Table
from edge_sdk.workflows.latency_cores import core_of
from edge_sdk.workflows.latency_model import COVERED, PRIOR, Estimate, Fit, Subject, terms
from edge_sdk.workflows.latency_points import (
    Calibration,
    another_kind,
    calibration_file,
    read_calibration,
)


@dataclass(frozen=True)
class Basis:
    """What an estimate for a device rests on: `label` says it in short, `notes` what to know of it.

    `calibrated` is whether points of such a device are behind it; `engines` are those of the
    points, with their versions.
    """

    profile: Profile
    fit: Fit
    label: str
    calibrated: bool = False
    engines: frozenset[tuple[str, str]] = frozenset()
    notes: tuple[str, ...] = ()

    def estimate(self, counts: Counts, size: int) -> Estimate:
        """Return what an artifact of `size` bytes takes by one thread; RequestError as `terms`."""
        return self.fit.estimate(terms(self.profile, Subject(counts, size)))

    def doubt(self, engine: str, version: str) -> str:
        """Return what is doubtful of an estimate for an engine; nothing where nothing is."""
        if not self.calibrated or (engine, version) in self.engines:
            return ""
        same = sorted(known for name, known in self.engines if name == engine)
        if not same:
            return f"calibrated with {_listed(self.engines)}, not with {engine}"
        return f"calibrated with {engine} {', '.join(same)}, this is {version}"


def basis(profile: Profile) -> Basis:
    """Return what estimates for a device rest on: its calibration, else what was published.

    A calibration that is damaged, or of another kind of machine, is passed over, and said so.
    """
    try:
        known = read_calibration(profile)
        why = _unfit(known, profile)
    except ProfileError as error:
        known, why = None, str(error)
    if known is None or why:
        notes = () if not why else (f"the calibration is not used: {why}",)
        source = core_of(profile.hardware).source
        return Basis(profile, PRIOR, f"uncalibrated: published figures of {source}", notes=notes)
    label = f"calibrated on {known.name}, {len(known.points)} points"
    engines = frozenset(known.engines)
    return Basis(profile, known.fit(profile), label, calibrated=True, engines=engines)


def _unfit(known: Calibration | None, profile: Profile) -> str:
    if known is None:
        return ""
    if known.profile != profile.name:
        return f"{calibration_file(profile)} is of {known.profile}"
    return another_kind(known.machine, profile)


def words(estimate: Estimate) -> str:
    """Return `12.4 (8.1 to 19)`."""
    return f"{estimate.ms:.3g} ({estimate.low:.2g} to {estimate.high:.2g})"


def estimate(bundle: str | Path, target_uri: str) -> Report:
    """Estimate what every rung of a bundle takes on the device that a target emulates.

    One thread. Raises what `cost` raises, and RequestError where the profile does not tell enough.
    """
    from edge_sdk.targets.emulated import open_target
    from edge_sdk.workflows.cost import CostOptions, cost

    scheme, _, rest = target_uri.partition(":")
    if scheme != "emulated":
        raise RequestError(
            f"{target_uri} is no emulated device; estimate on such as emulated:raspberry-pi-4b, "
            "or measure: leave --estimate out"
        )
    profile = open_target(rest).profile
    ground = basis(profile)
    ground.estimate(Counts(), 0)  # whether one can be made, before minutes of counting
    counted = cost(bundle, target_uri, CostOptions(runs=1))
    return _report(counted, ground)


def estimate_of(ground: Basis, rung: Mapping[str, Any]) -> Estimate:
    """Return the estimate for a rung, given as in the facts of a cost."""
    inference = rung["inference"]
    counts = Counts(inference["instructions"], inference["bytes"])
    return ground.estimate(counts, rung["size_bytes"])


def estimated(ground: Basis, rung: Mapping[str, Any]) -> str | None:
    """Return the estimate for a rung in words; None where the profile does not tell enough."""
    try:
        return words(estimate_of(ground, rung))
    except RequestError:
        return None


def _report(counted: Report, ground: Basis) -> Report:
    rungs = counted.facts["artifacts"]
    if not rungs:
        raise EngineError("nothing was counted")
    found = [estimate_of(ground, rung) for rung in rungs]
    doubts = [ground.doubt(rung["engine"], rung["version"]) for rung in rungs]
    rows = tuple(
        (r["artifact"], round(e.ms, 3), round(e.low, 3), round(e.high, 3), doubt or None)
        for r, e, doubt in zip(rungs, found, doubts, strict=True)
    )
    table = Table(
        "Estimated latency, one thread",
        ("artifact", "ms", "from", "to", "doubt"),
        rows,
        f"{ground.label}; the limits are meant to hold {COVERED:.0%} of true latencies",
    )
    bars = Bars(
        "Estimated latency",
        "ms",
        tuple(
            Bar(r["artifact"], e.ms, e.low, e.high, i == 0)
            for i, (r, e) in enumerate(zip(rungs, found, strict=True))
        ),
        "whiskers: the limits of the estimate",
    )
    facts = [
        {"artifact": r["artifact"], "ms": e.ms, "interval": [e.low, e.high], "doubt": doubt or None}
        for r, e, doubt in zip(rungs, found, doubts, strict=True)
    ]
    told = {
        "threads": 1,
        "covered": COVERED,
        "calibrated": ground.calibrated,
        "basis": ground.label,
        "fit": ground.fit.to_json(),
        "artifacts": facts,
    }
    notes = [
        "an estimate from counted instructions, not a measurement; nothing is claimed for more "
        "threads than one",
        *ground.notes,
    ]
    if not ground.calibrated:
        notes.append("calibrate on the device: edge-sdk bench BUNDLE --on ssh://... --calibrate")
    first = found[0]
    return replace(
        counted,
        summary=f"{rungs[0]['artifact']}: {first.ms:.3g} ms ({first.low:.2g} to {first.high:.2g}, "
        f"{ground.label}).",
        tables=(table, *counted.tables),
        charts=(bars, *counted.charts),
        facts={**counted.facts, "estimate": told},
        notes=(*notes, *counted.notes),
    )


def _listed(engines: frozenset[tuple[str, str]]) -> str:
    return ", ".join(" ".join(each) for each in sorted(engines))
