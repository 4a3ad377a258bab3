"""What a bench found, as values and as the facts of a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from edge_sdk.workflows.bench_card import FORMAT
from edge_sdk.workflows.bench_entrants import Entrant
from edge_sdk.workflows.bench_figures import Latency, Mark, Ratio, others_cores
from edge_sdk.workflows.bench_measure import Flow, Start, Timed
from edge_sdk.workflows.bench_options import BenchOptions


@dataclass(frozen=True)
class Opened:
    """What an artifact really runs on there: `placement` counts nodes by the engine's providers,
    empty where it does not tell."""

    engine: str
    engine_version: str
    provider: str
    placement: Mapping[str, int]


@dataclass(frozen=True)
class Timing:
    """One artifact: its runs in one process, its starts in others, what of it is doubtful, and how
    it compares: with the first of this run (paired), and with a card's."""

    entrant: Entrant
    opened: Opened
    latency: Latency
    start: Start
    marks: tuple[Mark, ...] = ()
    ratio: Ratio | None = None
    flows: tuple[Flow, ...] = ()
    against: Ratio | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values with their units in the keys; memory in MiB."""
        entrant, start = self.entrant, self.start
        found = {
            "artifact": entrant.artifact,
            "model": entrant.model.name,
            **asdict(self.opened),
            "precision": entrant.precision,
            "size_bytes": entrant.size,
            "accuracy": entrant.accuracy,
            "latency_ms": self.latency.to_json(),
            "throughput_fps": 1e3 / self.latency.p50,
            "throughput": [asdict(flow) for flow in self.flows],
            "cold_start_ms": start.cold,
            "cold_starts_ms": list(start.cold_ms),
            "load_ms": start.load_ms,
            "first_inference_ms": start.first_ms,
            "peak_memory_mb": start.memory_mb,
            "marks": list(map(str, self.marks)),
        }
        if self.ratio is not None:
            found["against_the_first"] = self.ratio.to_json()
        if self.against is not None:
            found["against_the_card"] = self.against.to_json()
        return found


@dataclass(frozen=True)
class Found:
    """A whole bench; `looks` are as `marks_of_machine` takes them, `marks` concern all of it."""

    uri: str
    machine: Mapping[str, Any]
    options: BenchOptions
    timed: Timed
    looks: Sequence[Mapping[str, Any]]
    marks: tuple[Mark, ...]
    timings: tuple[Timing, ...]
    notes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what a card holds."""
        models = {id(t.entrant.model): dict(t.entrant.model.facts) for t in self.timings}
        return {
            "format": FORMAT,
            "edge_sdk": version("edge-sdk"),
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "target": self.uri,
            "machine": dict(self.machine),
            "condition": {
                "before": _told(self.looks[0]),
                "after": _told(self.looks[-1]),
                "others_cores": others_cores(self.looks[1:]),
                "marks": list(map(str, self.marks)),
            },
            "runs": self.options.runs,
            "threads": self.options.threads,
            "warm_up": {"rounds": self.timed.warm_rounds, "seconds": self.timed.warm_s},
            "models": list(models.values()),
            "artifacts": [timing.to_json() for timing in self.timings],
        }


def _told(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a look says by itself: what only counts up says nothing alone."""
    counts = ("at_s", "own_s", "busy_s")
    return {key: value for key, value in look.items() if key not in counts}
