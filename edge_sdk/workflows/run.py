"""Workflow: a bundle on a camera, a video or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_sdk.report import Report, Table
from edge_sdk.workflows.limits import check_threads
from runtime.bundle import Bundle, opened
from runtime.contract import InputContract
from runtime.engines import Engine, EngineOptions
from runtime.ladder import Choice, Refusal, choose_rung
from runtime.pipeline import Pipeline, PipelineOptions, RunSummary
from runtime.sinks import Sink
from runtime.sources import Source


@dataclass(frozen=True)
class Ready:
    """A bundle on the rung that is proven here; what a pipeline runs."""

    contract: InputContract
    labels: tuple[str, ...]
    task: str
    engine: Engine


@dataclass(frozen=True)
class RunOptions:
    """`threads` of the engine (0: its choice); `max_frames` results at most (None: all)."""

    threads: int = 0
    max_frames: int | None = None

    def __post_init__(self) -> None:
        check_threads(self.threads)


def open_pipeline(
    bundle: str | Path | Bundle,
    source: str | Source,
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
) -> Pipeline:
    """Return a pipeline of the bundle's first rung that reproduces its golden outputs here.

    Iterate over it for `(frame, result)`, or call `run()`. Raises BundleError, SourceError,
    OutputError or, when no rung is healthy, EngineError.
    """
    options = options or RunOptions()
    with opened(bundle) as found:
        choice = choose_rung(found, EngineOptions(threads=options.threads))
        return pipeline_of(found, choice, source, sinks, PipelineOptions(options.max_frames))


def pipeline_of(
    bundle: Bundle,
    choice: Choice,
    source: str | Source,
    sinks: Sequence[str | Sink],
    options: PipelineOptions,
) -> Pipeline:
    """Return a pipeline on a rung that was chosen already."""
    manifest = bundle.manifest
    ready = Ready(manifest.input, bundle.labels, manifest.task, choice.engine)
    return Pipeline(ready, source, sinks, options)


@dataclass(frozen=True)
class Done:
    """A finished run: its summary, the bundle's name, the rung, and the rungs refused before."""

    name: str
    rung: str
    summary: RunSummary
    refusals: tuple[Refusal, ...]


def run_bundle(
    bundle: str | Path | Bundle,
    source: str | Source,
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
) -> Done:
    """Run a bundle over a whole source and return what happened; raises as `open_pipeline`."""
    options = options or RunOptions()
    with opened(bundle) as found:
        choice = choose_rung(found, EngineOptions(threads=options.threads))
        pipeline = pipeline_of(found, choice, source, sinks, PipelineOptions(options.max_frames))
        manifest = found.manifest
    with pipeline:
        summary = pipeline.run()
    choice.engine.close()
    return Done(manifest.name, manifest.artifacts[choice.rung].label, summary, choice.refusals)


def run_report(done: Done) -> Report:
    """Return a finished run as a report."""
    summary = done.summary
    rows = tuple(
        (name, times["p50_ms"], times["p90_ms"], times["p99_ms"])
        for name, times in summary.stages.items()
    )
    dropped = ", ".join(f"{count} {why}" for why, count in summary.dropped.items() if count)
    return Report(
        title=f"{done.name} on {summary.source}",
        summary=(
            f"{summary.results} results of {summary.frames} frames ({dropped or 'none dropped'}) "
            f"in {summary.seconds:.1f} s, {summary.fps:.1f} per second, on {done.rung}."
        ),
        tables=(Table("Milliseconds per frame", ("stage", "p50", "p90", "p99"), rows),),
        charts=(),
        gates=(),
        facts={
            **summary.to_json(),
            "rung": done.rung,
            "refused": [vars(refusal) for refusal in done.refusals],
        },
        notes=tuple(f"not on {r.label}: {r.reason}" for r in done.refusals),
    )
