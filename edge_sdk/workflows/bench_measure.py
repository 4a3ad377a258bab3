"""The measuring of a bench, all of it in processes of the target: cold starts, runs in turns,
streams side by side."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_profiles.errors import CrashError, EngineError
from edge_sdk.targets import Target
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import PATIENCE_S, Session
from edge_sdk.workflows.bench_entrants import Entrant
from edge_sdk.workflows.bench_figures import Floats
from runtime.deaths import signal_of, signal_words
from runtime.progress import track

STARTS = 3
"""Cold starts of each, of which the median is told."""

CHUNK_S = 1.0
"""How long the target times before it tells: meanwhile nothing is said over the wire."""

_CHUNK_ROUNDS = 10
FLOW_S = 0.3
"""How long streams run side by side, three times over."""

FLOWS = 3
_FEW_CORES = 4


@dataclass(frozen=True)
class Start:
    """Cold starts, ms from the start of the process to the first result, and of these medians of
    the loading and of the first inference; the peak of resident memory in MiB."""

    cold_ms: tuple[float, ...]
    load_ms: float
    first_ms: float
    memory_mb: float

    @property
    def cold(self) -> float:
        """The median."""
        return statistics.median(self.cold_ms)


@dataclass(frozen=True)
class Flow:
    """Frames per second of `streams` engines side by side, each with so many `threads`: the median
    of three, the least and the most."""

    streams: int
    threads: int
    fps: float
    low: float
    high: float


@dataclass(frozen=True)
class Timed:
    """Milliseconds, (rounds, artifacts); the warm-up before, which is not in it; and what the
    machine looked like before, and at every second of the counted runs."""

    took: Floats
    warm_rounds: int
    warm_s: float
    looks: tuple[Mapping[str, Any], ...]


def start_once(target: Target, entrant: Entrant, threads: int) -> Mapping[str, float]:
    """Return what `runtime.probe` measures in a new process there; EngineError when it fails.

    It is also the trial of the artifact, which may crash, or hang, without harm.
    """
    path = target.send(entrant.model.path)
    process = target.start(["-m", "runtime.probe", path, entrant.which, str(threads)])
    # Kept from `communicate`, which would close it: a target may end the process with it.
    stdin, process.stdin = process.stdin, None
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"{entrant.artifact} gave no result within {PATIENCE_S:.3g} s of its start; see that "
            "the target is not overloaded and that the model fits it"
        ) from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        if stdin is not None:
            stdin.close()
    said = (err.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    number = signal_of(process.returncode)
    if number is not None:
        raise CrashError(f"{entrant.artifact} crashed with {signal_words(number)} ({said})", number)
    if process.returncode:
        raise EngineError(said)
    try:
        found: Mapping[str, float] = json.loads(out)
    except ValueError as error:
        raise EngineError(
            f"{target.uri} printed something else than figures; see that its Python starts "
            "without printing"
        ) from error
    return found


def started(probes: Sequence[Mapping[str, float]]) -> Start:
    """Return what several cold starts come to."""

    def middle(key: str) -> float:
        return statistics.median(probe[key] for probe in probes)

    return Start(
        cold_ms=tuple(probe["start_to_first_result_ms"] for probe in probes),
        load_ms=middle("open_and_load_ms"),
        first_ms=middle("first_inference_ms"),
        memory_mb=middle("peak_memory_mb"),
    )


def look(session: Session) -> Mapping[str, Any]:
    """Return the condition of the machine now, as `runtime.condition` sees it."""
    return session.ask({"do": "look"}, doing="looked at itself")[0]


def give(session: Session, engine: RemoteEngine, entrant: Entrant) -> None:
    """Send there what the engine is given when it is timed."""
    arrays = [array for each in entrant.inputs(engine) for array in each]
    session.ask({"do": "give", "number": engine.number}, arrays)


def time_in_turns(session: Session, engines: Sequence[RemoteEngine], runs: int) -> Timed:
    """Warm up, then time `runs` rounds of all engines in turns; they were given their inputs."""
    numbers = [engine.number for engine in engines]
    warm, _ = session.ask({"do": "warm_up", "numbers": numbers}, doing="warmed up")
    chunk = max(round(CHUNK_S * warm["rounds"] / warm["seconds"]), _CHUNK_ROUNDS)
    took, looks, done = [], [look(session)], 0
    for _ in track(range(-(-runs // chunk)), "timing"):
        rounds = min(chunk, runs - done)
        request = {"do": "time", "numbers": numbers, "first": done, "rounds": rounds}
        _, (part,) = session.ask(request, doing="ran")
        took.append(part.astype(np.float64))
        looks.append(look(session))
        done += rounds
    return Timed(np.concatenate(took), warm["rounds"], warm["seconds"], tuple(looks))


def flows(
    session: Session, entrants: Sequence[Entrant], cores: int
) -> Iterator[tuple[Entrant, Flow]]:
    """Yield the throughput of each: of one stream by threads, then of streams of one thread each.

    EngineError, which ends it, where the machine has no room for so many engines.
    """
    counts = _counts(cores)
    shapes = [(1, threads) for threads in counts] + [(streams, 1) for streams in counts[1:]]
    jobs = [(entrant, *shape) for entrant in entrants for shape in shapes]
    for entrant, streams, threads in track(jobs, "throughput"):
        engines = [entrant.open(session, threads) for _ in range(streams)]
        for engine in engines:
            give(session, engine, entrant)
        numbers = [engine.number for engine in engines]
        request = {"do": "side_by_side", "numbers": numbers, "seconds": FLOW_S}
        rates = [session.ask(request, doing="ran side by side")[0]["fps"] for _ in range(FLOWS)]
        for engine in engines:
            engine.close()
        yield entrant, Flow(streams, threads, statistics.median(rates), min(rates), max(rates))


def _counts(cores: int) -> list[int]:
    """Return 1 to `cores`; of many cores, the powers of two and all."""
    if cores <= _FEW_CORES:
        return list(range(1, cores + 1))
    return sorted({2**power for power in range(cores.bit_length()) if 2**power < cores} | {cores})
