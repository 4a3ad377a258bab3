"""A run in the text format of Prometheus, version 0.0.4 (units: seconds, bytes, hertz, celsius)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.status import RunStatus, SourceState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, Any]
_QUANTILES = {"0.5": "p50_ms", "0.9": "p90_ms", "0.99": "p99_ms"}
_UNITS = {
    "_c": ("_celsius", 1.0),
    "_hz": ("_hertz", 1.0),
    "_khz": ("_hertz", 1e3),
    "_mhz": ("_hertz", 1e6),
    "_mw": ("_watts", 1e-3),
    "_w": ("_watts", 1.0),
    "_mv": ("_volts", 1e-3),
    "_v": ("_volts", 1.0),
    "_ms": ("_seconds", 1e-3),
    "_s": ("_seconds", 1.0),
    "_percent": ("_ratio", 1e-2),
    "_kb": ("_bytes", 1e3),
    "_mb": ("_bytes", 1e6),
}


@dataclass(frozen=True)
class _Sample:
    labels: Labels
    value: float
    suffix: str = ""


@dataclass(frozen=True)
class _Family:
    """One metric with all its samples, as they must stand together."""

    name: str
    kind: str
    help: str
    samples: tuple[_Sample, ...]

    def lines(self) -> Iterator[str]:
        name = f"edge_sdk_{self.name}"
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} {self.kind}"
        for sample in self.samples:
            pairs = ",".join(f'{k}="{_escaped(v)}"' for k, v in sample.labels.items())
            yield f"{name}{sample.suffix}{f'{{{pairs}}}' if pairs else ''} {_number(sample.value)}"


def metrics_text(status: RunStatus | None, viewers: int) -> str:
    """Return the whole page; without a status, what the preview itself knows."""
    families = [_single("preview_viewers", "Connections that watch the preview.", viewers)]
    if status is not None:
        families += [*_run(status), *_stages(status), *_sources(status), *_board(status.board)]
    return "".join(f"{line}\n" for family in families if family.samples for line in family.lines())


def _single(name: str, text: str, value: float, kind: str = "gauge") -> _Family:
    return _Family(name, kind, text, (_Sample({}, value),))


def _run(status: RunStatus) -> Iterator[_Family]:
    engine = status.engine
    facts = {name: engine[name] for name in ("name", "version", "provider") if name in engine}
    rung = {"rung": engine.get("label", engine["rung"])} if "rung" in engine else {}
    yield _Family("engine_info", "gauge", "What really runs.", (_Sample({**facts, **rung}, 1),))
    refused, dropped = (len(engine.get(key) or ()) for key in ("refused", "drops"))
    yield _single("engine_refused_rungs", "Rungs that are not used here.", refused)
    yield _single("engine_drops_total", "Rungs that failed in mid-run.", dropped, "counter")
    yield _single("run_seconds", "Time since the start of the run.", status.seconds)
    yield _single("frames_total", "Frames captured.", status.frames, "counter")
    yield _single("results_total", "Results delivered.", status.results, "counter")
    lost = (_Sample({"reason": why}, count) for why, count in status.dropped.items())
    yield _Family("frames_dropped_total", "counter", "Frames without a result.", tuple(lost))
    late = (_Sample({"sink": sink}, count) for sink, count in status.sinks.items())
    yield _Family("sink_skipped_total", "counter", "Results a sink had no time for.", tuple(late))
    yield _single("results_per_second", "Rate of results in the last interval.", status.fps)


def _stages(status: RunStatus) -> Iterator[_Family]:
    """Quantiles of the last interval, counts and sums of the whole run, as summaries have it."""
    stages = [name for name in status.total if name != "age"]
    samples = (s for stage in stages for s in _summary(status, stage, {"stage": stage}))
    yield _Family("stage_seconds", "summary", "Time per frame in a stage.", tuple(samples))
    age = tuple(_summary(status, "age", {}))
    yield _Family("result_age_seconds", "summary", "From capture to result.", age)


def _summary(status: RunStatus, stage: str, labels: Labels) -> Iterator[_Sample]:
    recent, total = status.recent.get(stage, {}), status.total.get(stage)
    if total is None:
        return
    for quantile, key in _QUANTILES.items():
        yield _Sample({**labels, "quantile": quantile}, recent.get(key, math.nan) / 1e3)
    yield _Sample(labels, total["count"] * total["mean_ms"] / 1e3, "_sum")
    yield _Sample(labels, total["count"], "_count")


def _sources(status: RunStatus) -> Iterator[_Family]:
    each = [(source, {"source": source.uri}) for source in status.sources]
    states = (
        _Sample({**label, "state": state.value}, source.state is state)
        for source, label in each
        for state in SourceState
    )
    yield _Family("source_state", "gauge", "1 for the state a source is in.", tuple(states))
    ages = (_Sample(label, s.age_s) for s, label in each if s.age_s is not None)
    yield _Family("source_frame_age_seconds", "gauge", "Age of the newest frame.", tuple(ages))
    frames = (_Sample(label, s.frames) for s, label in each)
    yield _Family("source_frames_total", "counter", "Frames captured.", tuple(frames))
    again = (_Sample(label, s.reconnects) for s, label in each)
    yield _Family("source_reconnects_total", "counter", "Openings after the first.", tuple(again))


def _board(board: Mapping[str, Any]) -> Iterator[_Family]:
    """Whatever is a number or a yes or no, in the base unit that its name ends with."""
    seen = set()
    for key, value in board.items():
        if isinstance(value, (bool, int, float)) and key.isidentifier() and key.isascii():
            stem, _, unit = key.lower().rpartition("_")
            suffix, factor = _UNITS.get(f"_{unit}", ("", 1.0)) if stem else ("", 1.0)
            name = f"board_{stem}{suffix}" if suffix else f"board_{key.lower()}"
            if name not in seen:  # one value may be told in two units
                yield _single(name, "Health of the board.", value * factor)
            seen.add(name)


def _escaped(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\n", "\\n")


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    return repr(round(value, 9)) if isinstance(value, float) else str(int(value))
