"""Workflow: how fast, how heavy, how soon ready is a bundle or a file on this machine?"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_profiles.errors import BundleError, EngineError, MissingError, RequestError
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.workflows.limits import check_threads
from runtime.bundle import Bundle, opened
from runtime.engines import Array, Engine, EngineOptions
from runtime.engines._check import sample_inputs
from runtime.host import host
from runtime.manifest import Artifact
from runtime.model_file import file_label, is_model_file, open_plain, read_model_file
from runtime.progress import step, track
from runtime.worker import open_tried

# Runs before the first counted one: caches, allocators and clocks settle.
WARMUP = 10


@dataclass(frozen=True)
class BenchOptions:
    """`runs` counted inferences per rung, interleaved over the rungs; `threads` 0: the engine's.

    `provider` is for a model file; a bundle's rungs have their own.
    """

    runs: int = 200
    threads: int = 0
    provider: str = "cpu"

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


@dataclass(frozen=True)
class _Entrant:
    """One artifact to time: how it is opened, what it is given in turn, and its cold start."""

    label: str
    size: int
    open: Callable[[], Engine]
    inputs: Callable[[Engine], Sequence[Sequence[Array]]]
    probe: tuple[str, str]


def bench(bundle: str | Path | Bundle, options: BenchOptions | None = None) -> Report:
    """Time every rung of a bundle that this machine can open, interleaved in one run.

    `bundle` may be a .tflite file, which is timed as it is, on noise of its input's own kind.
    Cold start and memory come from a process of their own per rung. A rung that does not open is
    a failed gate with its reason; EngineError when none does.
    """
    options = options or BenchOptions()
    if is_model_file(bundle):
        return _bench(*_file(Path(str(bundle)), options), options)
    with opened(bundle) as found:
        return _bench(*_rungs(found, options), options)


def _rungs(bundle: Bundle, options: BenchOptions) -> tuple[dict[str, Any], list[_Entrant]]:
    frames = [[frame[None]] for frame in bundle.golden().frames]

    def entrant(rung: int, artifact: Artifact) -> _Entrant:
        asked = EngineOptions(provider=artifact.provider, threads=options.threads)
        return _Entrant(
            artifact.label,
            artifact.file.size,
            lambda: bundle.open_engine(rung, asked, open_tried),
            lambda _: frames,
            (str(bundle.path.resolve()), str(rung)),
        )

    facts = {
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "profile": bundle.manifest.profile["name"],
    }
    return facts, [entrant(*pair) for pair in enumerate(bundle.manifest.artifacts)]


def _file(path: Path, options: BenchOptions) -> tuple[dict[str, Any], list[_Entrant]]:
    data, file = read_model_file(path)
    entrant = _Entrant(
        file_label(file, options.provider),
        len(data),
        lambda: open_plain(path, options.provider, options.threads, tried=False),
        lambda engine: [sample_inputs(engine.inputs)],
        (str(path.resolve()), options.provider),
    )
    return {"file": {"sha256": hashlib.sha256(data).hexdigest(), "name": path.stem}}, [entrant]


def _bench(facts: dict[str, Any], entrants: list[_Entrant], options: BenchOptions) -> Report:
    engines, gates = _open(entrants)
    if not engines:
        raise EngineError(f"{entrants[0].probe[0]}: no rung opens here: {gates[0].detail}")
    latencies = _interleaved(entrants, engines, options.runs)
    timings = [_timing(entrants[rung], rung, latencies[rung]) for rung in engines]
    for engine in engines.values():
        engine.close()
    facts |= {
        "machine": _machine(),
        "runs": options.runs,
        "threads": options.threads,
        "artifacts": [timing.to_json() for timing in timings],
    }
    return _report(facts, timings, gates)


def _open(entrants: list[_Entrant]) -> tuple[dict[int, Engine], list[Gate]]:
    engines: dict[int, Engine] = {}
    gates = []
    for rung, entrant in enumerate(entrants):
        try:
            engines[rung] = entrant.open()
        except BundleError:
            raise
        except (EngineError, MissingError, RequestError) as error:  # Request: no such engine here
            gates.append(Gate(entrant.label, False, str(error)))
        else:
            gates.append(Gate(entrant.label, True, "opened on the provider asked for"))
    return engines, gates


def _interleaved(
    entrants: list[_Entrant], engines: dict[int, Engine], runs: int
) -> dict[int, list[float]]:
    """Return latencies in ms per rung; the rungs take turns, so that drift hits all alike."""
    inputs = {rung: entrants[rung].inputs(engine) for rung, engine in engines.items()}
    latencies: dict[int, list[float]] = {rung: [] for rung in engines}
    for index in track(range(WARMUP + runs), "timing"):
        for rung, engine in engines.items():
            given = inputs[rung][index % len(inputs[rung])]
            start = time.perf_counter()
            engine.run(given)
            if index >= WARMUP:
                latencies[rung].append(1e3 * (time.perf_counter() - start))
    return latencies


def _timing(entrant: _Entrant, rung: int, latencies: Sequence[float]) -> Timing:
    step(f"cold start of rung {rung + 1}")
    cold = _probe(entrant)
    low, high = median_interval(latencies)
    p50, p90, p99 = np.percentile(latencies, [50, 90, 99])
    return Timing(
        label=entrant.label,
        size=entrant.size,
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


def _probe(entrant: _Entrant) -> dict[str, float]:
    command = [sys.executable, "-m", "runtime.probe", *entrant.probe]
    # Python looks for the module in the working folder first, where another `runtime` may lie.
    home = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{entrant.probe[0]}: the cold start of {entrant.label} failed: {last}")
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
    model = facts.get("bundle") or facts["file"]
    if "file" in facts:
        notes.append("timed on noise of the input's own kind; making that of a frame is not in it")
    if len(timings) > 1:
        notes.append("the rungs were timed in turns within one run: their ratios are sound")
    return Report(
        title=f"{model['name']} on {facts['machine']['arch']}",
        summary=f"{timings[0].label}: {timings[0].p50:.2f} ms median of {facts['runs']} runs.",
        tables=(Table("Latency, cold start and memory", columns, rows),),
        charts=(Bars("Median latency", "ms", bars, "whiskers: 95 % confidence of the median"),),
        gates=tuple(gates),
        facts=facts,
        notes=tuple(notes),
    )
