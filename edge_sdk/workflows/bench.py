"""Workflow: how fast, how heavy, how soon ready is a bundle on this machine?"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_profiles.errors import BundleError, EngineError, MissingError, RequestError
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.workflows.limits import check_threads
from runtime.bundle import Bundle, opened
from runtime.engines import Engine, EngineOptions
from runtime.host import host
from runtime.progress import step, track

# Runs before the first counted one: caches, allocators and clocks settle.
WARMUP = 10


@dataclass(frozen=True)
class BenchOptions:
    """`runs` counted inferences per rung, interleaved over the rungs; `threads` 0: the engine's."""

    runs: int = 200
    threads: int = 0

    def __post_init__(self) -> None:
        if self.runs < 10:
            raise RequestError(f"{self.runs} runs give no percentiles; ask for at least 10")
        check_threads(self.threads)


@dataclass(frozen=True)
class Timing:
    """One rung on this machine; latencies in milliseconds, memory in MiB.

    `p50_low` and `p50_high` are the 95 % confidence limits of the median (order statistics).
    """

    label: str
    size: int
    p50: float
    p50_low: float
    p50_high: float
    p90: float
    p99: float
    cold_start: float
    peak_memory: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values with their units in the keys."""
        return {
            "artifact": self.label,
            "size_bytes": self.size,
            "latency_ms": {
                "p50": self.p50,
                "p50_interval": [self.p50_low, self.p50_high],
                "p90": self.p90,
                "p99": self.p99,
            },
            "throughput_fps": 1e3 / self.p50,
            "cold_start_ms": self.cold_start,
            "peak_memory_mb": self.peak_memory,
        }


def bench(bundle: str | Path | Bundle, options: BenchOptions | None = None) -> Report:
    """Time every rung of a bundle that this machine can open, interleaved in one run.

    Cold start and memory come from a process of their own per rung. A rung that does not open is
    a failed gate with its reason; EngineError when none does.
    """
    with opened(bundle) as found:
        return _bench(found, options or BenchOptions())


def _bench(bundle: Bundle, options: BenchOptions) -> Report:
    engines, gates = _open(bundle, options)
    if not engines:
        raise EngineError(f"{bundle.path}: no rung opens here: {gates[0].detail}")
    latencies = _interleaved(bundle, engines, options.runs)
    timings = [_timing(bundle, rung, latencies[rung]) for rung in engines]
    for engine in engines.values():
        engine.close()
    facts = {
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "profile": bundle.manifest.profile["name"],
        "machine": _machine(),
        "runs": options.runs,
        "threads": options.threads,
        "artifacts": [timing.to_json() for timing in timings],
    }
    return _report(facts, timings, gates)


def _open(bundle: Bundle, options: BenchOptions) -> tuple[dict[int, Engine], list[Gate]]:
    engines: dict[int, Engine] = {}
    gates = []
    for rung, artifact in enumerate(bundle.manifest.artifacts):
        asked = EngineOptions(provider=artifact.provider, threads=options.threads)
        try:
            engines[rung] = bundle.open_engine(rung, asked)
        except BundleError:
            raise
        except (EngineError, MissingError, RequestError) as error:  # Request: no such engine here
            gates.append(Gate(artifact.label, False, str(error)))
        else:
            gates.append(Gate(artifact.label, True, "opened on the provider asked for"))
    return engines, gates


def _interleaved(bundle: Bundle, engines: dict[int, Engine], runs: int) -> dict[int, list[float]]:
    """Return latencies in ms per rung; the rungs take turns, so that drift hits all alike."""
    frames = bundle.golden().frames
    latencies: dict[int, list[float]] = {rung: [] for rung in engines}
    for index in track(range(WARMUP + runs), "timing"):
        frame = frames[index % len(frames)][None]
        for rung, engine in engines.items():
            start = time.perf_counter()
            engine.run([frame])
            if index >= WARMUP:
                latencies[rung].append(1e3 * (time.perf_counter() - start))
    return latencies


def _timing(bundle: Bundle, rung: int, latencies: Sequence[float]) -> Timing:
    step(f"cold start of rung {rung + 1}")
    artifact = bundle.manifest.artifacts[rung]
    cold = _probe(bundle.path, rung)
    low, high = median_interval(latencies)
    p50, p90, p99 = np.percentile(latencies, [50, 90, 99])
    return Timing(
        label=artifact.label,
        size=artifact.file.size,
        p50=float(p50),
        p50_low=low,
        p50_high=high,
        p90=float(p90),
        p99=float(p99),
        cold_start=cold["start_to_first_result_ms"],
        peak_memory=cold["peak_memory_mb"],
    )


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence limits of the median from order statistics.

    The ranks n/2 -+ 1.96 sqrt(n)/2 of the binomial's normal approximation (Conover 1999,
    Practical Nonparametric Statistics, section 3.2); it assumes nothing of the distribution.
    """
    ordered = sorted(values)
    count = len(ordered)
    half = 1.96 * count**0.5 / 2
    low = max(int(count / 2 - half), 0)
    high = min(int(count / 2 + half), count - 1)
    return ordered[low], ordered[high]


def _probe(path: Path, rung: int) -> dict[str, float]:
    command = [sys.executable, "-m", "runtime.probe", str(path.resolve()), str(rung)]
    # Python looks for the module in the working folder first, where another `runtime` may lie.
    home = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{path}: the cold start of rung {rung} failed: {last}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _machine() -> dict[str, Any]:
    here = host()
    return {
        "arch": here.arch,
        "features": sorted(here.features),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _report(facts: dict[str, Any], timings: list[Timing], gates: list[Gate]) -> Report:
    columns = ("artifact", "p50, ms", "p90, ms", "p99, ms", "frames/s", "cold start, ms",
               "memory, MiB", "MB")  # fmt: skip
    rows = tuple(
        (t.label, round(t.p50, 2), round(t.p90, 2), round(t.p99, 2), round(1e3 / t.p50, 1),
         round(t.cold_start), round(t.peak_memory), round(t.size / 1e6, 2))
        for t in timings
    )  # fmt: skip
    bars = tuple(Bar(t.label, t.p50, t.p50_low, t.p50_high, i == 0) for i, t in enumerate(timings))
    notes = ["these figures are of this machine; they say nothing about another one"]
    if len(timings) > 1:
        notes.append("the rungs were timed in turns within one run: their ratios are sound")
    return Report(
        title=f"{facts['bundle']['name']} on {facts['machine']['arch']}",
        summary=f"{timings[0].label}: {timings[0].p50:.2f} ms median of {facts['runs']} runs.",
        tables=(Table("Latency, cold start and memory", columns, rows),),
        charts=(Bars("Median latency", "ms", bars, "whiskers: 95 % confidence of the median"),),
        gates=tuple(gates),
        facts=facts,
        notes=tuple(notes),
    )
