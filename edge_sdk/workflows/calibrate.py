"""Workflow: time artifacts on a device, count them on its emulated double, and keep both.

Every later estimate for the device rests on these points (`latency`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from device_profiles.errors import EngineError, MissingError, RequestError
from device_profiles.profile import Profile, load
from edge_sdk.emulation.counts import count
from edge_sdk.report import Gate, Report, Table
from edge_sdk.targets import Target, open_target
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import Session
from edge_sdk.workflows.bench_entrants import Entrant, rungs
from edge_sdk.workflows.bench_figures import marks_of, marks_of_machine
from edge_sdk.workflows.bench_measure import give, look
from edge_sdk.workflows.latency import words
from edge_sdk.workflows.latency_model import PRIOR, Fit, Subject, terms
from edge_sdk.workflows.latency_points import (
    Calibration,
    Point,
    another_kind,
    calibration_file,
    read_calibration,
    require_same_machine,
    write_calibration,
)
from runtime.bundle import Bundle, opened
from runtime.engines import traits
from runtime.progress import step

THREADS = 1
ROUNDS = 60
"""Counted rounds of all artifacts in turns, of which the median is kept."""

Given = str | Path | Bundle


@dataclass(frozen=True)
class Rung:
    """A rung of a bundle, and where it is in it."""

    bundle: Bundle
    number: int
    entrant: Entrant

    @property
    def label(self) -> str:
        """Its bundle's name and its own."""
        return f"{self.bundle.manifest.name}: {self.entrant.artifact}"


def calibrate(bundles: Given | Sequence[Given], on: str | None = None) -> Report:
    """Calibrate the estimates for the device that bundles were made for, by that device at `on`.

    What accelerators run is left out. Points of the same machine are kept, those of the same
    artifacts replaced. RequestError for an emulated target, bundles of several profiles, and a
    machine that is not of the profile's kind or not the one of the points that are there.
    """
    given = [bundles] if isinstance(bundles, (str, Path, Bundle)) else list(bundles)
    with ExitStack() as kept:
        target = kept.enter_context(closing(open_target(on or "local")))
        if target.emulated:
            raise RequestError(f"{target.uri} is emulated; calibrate on the device itself")
        found = [
            Rung(bundle, number, entrant)
            for each in given
            for bundle in [kept.enter_context(opened(each))]
            for number, entrant in enumerate(rungs(bundle))
        ]
        profile = _profile(found)
        twin = kept.enter_context(closing(open_target(f"emulated:{profile.name}")))
        return _calibrated(profile, found, target, twin)


def _profile(found: Sequence[Rung]) -> Profile:
    names = {str(rung.bundle.manifest.profile["name"]) for rung in found}
    if len(names) != 1:
        raise RequestError(
            f"bundles of {len(names)} profiles ({', '.join(sorted(names))}) cannot calibrate one; "
            "give bundles of one profile"
        )
    return load(names.pop())


def _calibrated(profile: Profile, found: list[Rung], target: Target, twin: Target) -> Report:
    known, path = read_calibration(profile), calibration_file(profile)
    on_cpu = [r for r in found if _artifact(r).provider in traits(_artifact(r).engine).in_process]
    if not on_cpu:
        raise RequestError("every rung is an accelerator's; give a bundle with one of the CPU")
    with Session(target) as session:
        machine = session.about()
        if why := another_kind(machine, profile):
            raise RequestError(
                f"{target.uri} is no {profile.name}: {why}; convert for a profile of this machine: "
                "edge-sdk profiles --detect"
            )
        if known is not None:
            require_same_machine(known, machine, path)
        engines, faults = _opened(session, on_cpu)
        took, doubts = _timed(session, engines, machine["cores"])
    points, gates = [], [Gate(rung.label, False, why) for rung, why in faults.items()]
    for (rung, engine), ms in zip(engines.items(), took, strict=True):
        point, counted = _point(rung, engine, ms, twin)
        points.append(point)
        same = counted == engine.version
        detail = "" if same else f": timed with {engine.version}, counted with {counted}"
        gates.append(Gate(rung.label, True, f"timed and counted{detail}"))
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before = known or Calibration(profile.name, machine, made, ())
    after = Calibration(profile.name, machine, made, before.points).with_points(points)
    write_calibration(after, profile)
    return _report(profile, after, gates, doubts)


def _artifact(rung: Rung) -> Any:
    return rung.bundle.manifest.artifacts[rung.number]


def _opened(
    session: Session, found: Sequence[Rung]
) -> tuple[dict[Rung, RemoteEngine], dict[Rung, str]]:
    """Open all in one process there; of equal files one is enough."""
    engines: dict[Rung, RemoteEngine] = {}
    faults: dict[Rung, str] = {}
    seen = set()
    for rung in found:
        key = (_artifact(rung).file.sha256, _artifact(rung).engine)
        if key in seen:
            continue
        seen.add(key)
        try:
            engine = rung.entrant.open(session, THREADS)
        except (EngineError, MissingError) as error:
            if session.closed:
                raise
            faults[rung] = str(error)
        else:
            give(session, engine, rung.entrant)
            engines[rung] = engine
    if not engines:
        raise EngineError(f"no rung opens on {session.target.uri}: {next(iter(faults.values()))}")
    return engines, faults


def _timed(
    session: Session, engines: Mapping[Rung, RemoteEngine], cores: int | None
) -> tuple[list[float], list[str]]:
    """Return the median of the CPU time of each, ms: what one thread takes on an idle machine; and
    what makes it doubtful."""
    step(f"timing {len(engines)} artifacts on {session.target.uri}")
    numbers = [engine.number for engine in engines.values()]
    looks = [look(session)]
    session.ask({"do": "warm_up", "numbers": numbers}, doing="warmed up")
    looks.append(look(session))
    request = {"do": "time", "numbers": numbers, "first": 0, "rounds": ROUNDS, "cpu": True}
    _, (found,) = session.ask(request, doing="ran")
    looks.append(look(session))
    took = found.astype(np.float64)
    doubts = [f"DOUBTFUL, all: {mark}" for mark in marks_of_machine(looks, cores)]
    for rung, column in zip(engines, took.T, strict=True):
        doubts += [f"DOUBTFUL, {rung.label}: {mark}" for mark in marks_of(column)]
    return [float(ms) for ms in np.median(took, axis=0)], doubts


def _point(rung: Rung, engine: RemoteEngine, ms: float, twin: Target) -> tuple[Point, str]:
    """Count a rung; return its point, and the version of the engine that was counted."""
    step(f"counting {rung.label} on {twin.uri}")
    artifact = _artifact(rung)
    counted = count(twin, rung.bundle.path, rung.number, runs=1)
    point = Point(
        artifact=artifact.file.sha256,
        network=rung.bundle.manifest.name,
        precision=artifact.precision,
        engine=engine.name,
        version=engine.version,
        subject=Subject(counted.inference, artifact.file.size),
        ms=ms,
    )
    return point, counted.version


def _report(
    profile: Profile, known: Calibration, gates: Sequence[Gate], doubts: Sequence[str]
) -> Report:
    fit = known.fit(profile)
    rows = []
    for point in known.points:
        row = terms(profile, point.subject)
        before, after = PRIOR.estimate(row), fit.estimate(row)
        label = f"{point.network}: {point.precision} {point.engine} {point.version}"
        rows.append((label, round(point.ms, 3), words(before), words(after)))
    coefficients = tuple(
        (name, round(value, 2)) for name, value in fit.to_json()["coefficients"].items()
    )
    path = calibration_file(profile)
    return Report(
        title=f"Calibration of {profile.name}",
        summary=f"{len(known.points)} points of {known.name}; estimates are off by "
        f"{_percent(fit)} (standard deviation, other networks).",
        tables=(
            Table(
                "Points, one thread",
                ("artifact", "measured, ms", "uncalibrated", "calibrated"),
                tuple(rows),
                "the calibrated ones were fitted to what is measured here",
            ),
            Table("Fit", ("cost", "times the published one"), coefficients),
        ),
        charts=(),
        gates=tuple(gates),
        facts={"kind": "calibration", "file": str(path), **known.to_json(profile)},
        notes=(
            f"kept in {path}",
            *doubts,
            "more networks make estimates better: calibrate with bundles of others",
        ),
    )


def _percent(fit: Fit) -> str:
    return f"{100 * (np.exp(fit.spread) - 1):.0f} %"
