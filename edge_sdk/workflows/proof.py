"""The golden set of a bundle, replayed on a target: which rungs are proven there."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from device_profiles.errors import EngineError, MissingError, RequestError
from edge_sdk.report import Gate
from edge_sdk.targets import Target
from edge_sdk.targets._crew import Crew, Member
from edge_sdk.targets._engine import RemoteEngine
from runtime.bundle import Bundle
from runtime.engines import EngineOptions, traits
from runtime.golden import Replay, glance
from runtime.progress import step

LEAST = 2
"""Of how many frames a proof is at the least: one may be like any other by chance."""

Opened = Callable[[Member], RemoteEngine]


@dataclass(frozen=True)
class Proof:
    """What became of one rung on a target.

    `replay` is of the first `frames`. It is None where it did not come to that: then `fault` says
    what went wrong, or `absent` why it could not be tried, which says nothing against the rung.
    """

    rung: int
    label: str
    replay: Replay | None = None
    frames: int = 0
    fault: str = ""
    absent: str = ""

    @property
    def gate(self) -> Gate | None:
        """The proof as a gate of a report; None where there was nothing to try."""
        if self.absent:
            return None
        passed = self.replay is not None and self.replay.passed
        return Gate(
            f"golden set, {self.label}", passed, self.replay.reason if self.replay else self.fault
        )


def notes_of(bundle: Bundle, target: Target) -> tuple[str, ...]:
    """Return what there is to say of a target beside results, and that a bundle is not for it."""
    made, there = str(bundle.manifest.profile["name"]), target.profile
    if there is None or there.name == made:
        return tuple(target.notes)
    return (f"the bundle was made for {made}, not for {there.name}", *target.notes)


def rungs_of(bundle: Bundle, precisions: Collection[str] = ()) -> list[int]:
    """Return the first rung of every file, best first: rungs of one file compute the same.

    `precisions` are those that are asked for (none: all); RequestError where the bundle lacks one.
    """
    artifacts = bundle.manifest.artifacts
    known = {artifact.precision for artifact in artifacts}
    for precision in precisions:
        if precision not in known:
            raise RequestError(
                f"{bundle.path} has no artifact of precision {precision}; it has "
                f"{', '.join(sorted(known))}"
            )
    files = [artifact.file.path for artifact in artifacts]
    return [
        rung
        for rung, path in enumerate(files)
        if path not in files[:rung] and (not precisions or artifacts[rung].precision in precisions)
    ]


def opened_there(bundle: Bundle, rung: int) -> Opened:
    """Return what opens a rung on a member of a crew, on the provider that it was made for."""
    artifact = bundle.manifest.artifacts[rung]
    options = EngineOptions(artifact.provider, threads=1)
    return lambda member: member.open(
        rung, artifact.engine, lambda: bundle.read(artifact.file), options
    )


def prove(
    bundle: Bundle,
    crew: Crew,
    rungs: Sequence[int],
    patience_s: float | None = None,
    drivers: bool = True,
) -> list[Proof]:
    """Replay the golden set on those rungs there, as many at a time as make sense.

    With `patience_s`, of each as many frames as that lets expect, at least LEAST.

    A rung on a driver is absent on an emulated target, which has none, and where `drivers` are of
    another machine; so is one whose engine is not installed. Whatever else goes wrong is its
    fault: a crash, a hang, other numbers.
    """
    step(f"replaying the golden set on {crew.target.uri}")
    work = {rung: partial(_prove, bundle, rung, patience_s) for rung in rungs}
    drivers = drivers and not crew.target.emulated
    absent = {rung: _no_driver(bundle, rung, drivers) for rung in work}
    started = {rung: crew.submit(work[rung]) for rung in work if not absent[rung]}
    return [
        started[rung].result()
        if rung in started
        else Proof(rung, bundle.manifest.artifacts[rung].label, absent=absent[rung])
        for rung in work
    ]


def _no_driver(bundle: Bundle, rung: int, drivers: bool) -> str:
    artifact = bundle.manifest.artifacts[rung]
    try:
        plain = artifact.provider in traits(artifact.engine).in_process
    except (RequestError, ImportError) as error:  # of an engine that another package adds
        return " ".join(str(error).split())
    if not plain and not drivers:
        return f"a CPU that stands in for the device has no driver of {artifact.provider}"
    return ""


def _prove(bundle: Bundle, rung: int, patience_s: float | None, member: Member) -> Proof:
    label = bundle.manifest.artifacts[rung].label
    golden, tolerances = bundle.golden(), bundle.manifest.golden.tolerances[rung]
    count = len(golden.frames)
    try:
        engine = opened_there(bundle, rung)(member)
        if patience_s is not None:
            start = time.monotonic()
            engine.run([golden.frames[:1]])
            expected = patience_s / max(time.monotonic() - start, 1e-6)
            count = min(count, max(LEAST, int(expected)))
        found = glance(engine, golden, rung, tolerances, count)
    except MissingError as error:
        return Proof(rung, label, absent=str(error))
    except EngineError as error:
        return Proof(rung, label, fault=str(error))
    return Proof(rung, label, found, count)
