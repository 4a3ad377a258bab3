"""Weigh by measuring: all artifacts take turns in one process of this machine.

What was measured is kept in the user's cache by everything that it depends on: to convert again
costs no time and decides the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from device_profiles.errors import EdgeError, EngineError, MissingError
from device_profiles.profile import Profile
from edge_sdk.emulation.cache import folder
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import Session
from edge_sdk.targets.local import LocalTarget
from edge_sdk.workflows.bench_figures import median_interval
from edge_sdk.workflows.weight import Contender, Weight
from runtime.engines import EngineOptions, traits
from runtime.host import Host, cores, fingerprint, installed
from runtime.progress import step

SPENT_S = 2.0
"""How long the counted runs of all take together, unless these are fewer than `LEAST`."""

LEAST, MOST = 15, 101
"""Rounds: of 15 the interval of the median leaves out the extremes, more than 101 gain little."""

FRAMES = 4
HOW = "measured on this machine, which is of the device's kind"

Rounds = Mapping[str, Sequence[float]]


def another_kind(profile: Profile, here: Host) -> str:
    """Return in what this machine differs from the device; nothing where it is of its kind.

    The very same instruction sets: with more of them an engine picks other kernels. Where the
    profile knows its cores, these have to be the same as well.
    """
    wanted = profile.hardware
    if here.arch != wanted.arch:
        return f"this machine is {here.arch}, the device {wanted.arch}"
    differing = here.features ^ set(wanted.features)
    if differing:
        more = "has" if here.features >= differing else "differs from the device in"
        return f"this machine {more} {', '.join(sorted(differing))}"
    parts = {f"{c.implementer}/{c.part}" for c in wanted.clusters if c.implementer and c.part}
    found = {core.rpartition(" x")[0] for core in cores().split(", ")}
    if parts and parts != found:
        return (
            f"this machine's cores are {', '.join(sorted(found))}, not {', '.join(sorted(parts))}"
        )
    return ""


def measure(profile: Profile, contenders: Sequence[Contender], anew: bool = False) -> list[Weight]:
    """Return the median of each with its 95 % confidence limits, by as many threads as the device
    has big cores, or this machine cores. One thread's is its CPU time, however busy others are."""
    threads = min(profile.hardware.big_cores, len(os.sched_getaffinity(0)))
    names = [_name(contender) for contender in contenders]
    here = {
        name: contender
        for name, contender in zip(names, contenders, strict=True)
        if contender.recipe.provider in traits(contender.recipe.engine).in_process
    }
    place = folder("weights", _key(here, threads) + ".json")
    known = None if anew else _read(place, here)
    faults: dict[str, str] = {}
    if known is None:
        step(f"weighing {len(here)} artifacts")
        known, faults = _measured(here, threads)
        if not faults:  # a fault may be gone the next time
            _keep(place, known)
    return [_weight(name, here, known, faults) for name in names]


def _weight(
    name: str, here: Mapping[str, Contender], known: Rounds, faults: dict[str, str]
) -> Weight:
    if name not in here:
        return Weight.unknown("an accelerator is not to be found in a profile's CPU")
    if name not in known:
        return Weight.unknown(faults.get(name, "it did not run here"))
    rounds = tuple(known[name])
    low, high = median_interval(rounds)
    return Weight(float(np.median(rounds)), low, high, HOW, trusted=True, rounds=rounds)


def _measured(
    contenders: Mapping[str, Contender], threads: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the milliseconds of every round by artifact, and why some have none."""
    faults: dict[str, str] = {}
    while left := {name: c for name, c in contenders.items() if name not in faults}:
        name = ""
        with Session(LocalTarget()) as session:
            try:
                engines = {}
                for name, contender in left.items():
                    engines[name] = _open(session, contender, threads)
                name = ""
                return _rounds(session, engines, threads == 1), faults
            except (EngineError, MissingError) as error:
                # Its process may have died of it: the others begin again.
                faults |= dict.fromkeys([name] if name else left, str(error))
    return {}, faults


def _open(session: Session, contender: Contender, threads: int) -> RemoteEngine:
    recipe = contender.recipe
    options = EngineOptions(provider=recipe.provider, threads=threads)
    engine = session.open(recipe.engine, contender.data, options)
    inputs = [contender.frames[i : i + 1] for i in range(min(FRAMES, len(contender.frames)))]
    session.ask({"do": "give", "number": engine.number}, inputs)
    return engine


def _rounds(
    session: Session, engines: Mapping[str, RemoteEngine], cpu: bool
) -> dict[str, list[float]]:
    numbers = [engine.number for engine in engines.values()]
    warm, _ = session.ask({"do": "warm_up", "numbers": numbers}, doing="warmed up")
    count = int(np.clip(SPENT_S * warm["rounds"] / warm["seconds"], LEAST, MOST))
    request = {"do": "time", "numbers": numbers, "first": 0, "rounds": count, "cpu": cpu}
    _, (took,) = session.ask(request, doing="ran")
    return {name: took[:, column].tolist() for column, name in enumerate(engines)}


def _name(contender: Contender) -> str:
    recipe = contender.recipe
    digest = hashlib.sha256(contender.data).hexdigest()
    return f"{recipe.engine}/{recipe.provider}/{digest}"


def _key(contenders: Mapping[str, Contender], threads: int) -> str:
    """Return a digest of everything that the times depend on."""
    engines = sorted({contender.recipe.engine for contender in contenders.values()})
    there = {engine: installed(traits(engine).packages) for engine in engines}
    facts = [sorted(contenders), threads, there, cores(), fingerprint()]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path, wanted: Mapping[str, Contender]) -> dict[str, list[float]] | None:
    """Return what was kept; None where there is nothing, or nothing that makes sense."""
    try:
        found = json.loads(path.read_text())
        rounds = {name: [float(ms) for ms in found[name]] for name in wanted}
    except (OSError, ValueError, TypeError, LookupError):
        return None
    lengths = {len(each) for each in rounds.values()}
    sound = len(lengths) == 1 and min(lengths) >= LEAST
    return rounds if sound and all(ms > 0 for each in rounds.values() for ms in each) else None


def _keep(path: Path, rounds: Rounds) -> None:
    """Write beside and rename. Where the cache cannot be written, the next time costs its time."""
    draft = path.parent / f".{secrets.token_hex(8)}.tmp"
    with contextlib.suppress(OSError, EdgeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(json.dumps(rounds))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
