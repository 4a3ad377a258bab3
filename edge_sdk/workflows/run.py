"""Workflow: a bundle, or a model file, on a camera, a video or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_sdk.report import Report, Table
from edge_sdk.workflows.limits import check_threads
from runtime.bundle import Bundle, Runner, opened
from runtime.engines import EngineOptions
from runtime.ladder import Refusal, choose_rung
from runtime.model_file import FileOptions, is_model_file, open_model_file
from runtime.pipeline import Pipeline, PipelineOptions, RunSummary
from runtime.sinks import Sink
from runtime.sources import Source


@dataclass(frozen=True)
class RunOptions:
    """`threads` of the engine (0: its choice); `max_frames` results at most (None: all).

    `file` is what is said of a model file; of a bundle nothing can be said.
    """

    threads: int = 0
    max_frames: int | None = None
    file: FileOptions = field(default_factory=FileOptions)

    def __post_init__(self) -> None:
        check_threads(self.threads)


def open_pipeline(
    bundle: str | Path | Bundle,
    source: str | Source,
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
) -> Pipeline:
    """Return a pipeline of the bundle's first rung that reproduces its golden outputs here.

    Iterate over it for `(frame, result)`, or call `run()`. `bundle` may be a .tflite file, which
    has nothing to reproduce. Raises BundleError, ModelError, SourceError, OutputError or, when no
    rung is healthy, EngineError.
    """
    options = options or RunOptions()
    limits = PipelineOptions(options.max_frames)
    return Pipeline(_ready(bundle, options).runner, source, sinks, limits)


@dataclass(frozen=True)
class _Ready:
    """A model ready to run: what it is, the rung, and what there is to say about the two."""

    name: str
    rung: str
    runner: Runner
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


def _ready(model: str | Path | Bundle, options: RunOptions) -> _Ready:
    if is_model_file(model):
        file = open_model_file(str(model), options.file)
        runner = file.runner(options.threads)
        return _Ready(file.name, file.artifact(runner.engine).label, runner, notes=file.notes)
    options.file.refuse(model)
    with opened(model) as bundle:
        choice = choose_rung(bundle, EngineOptions(threads=options.threads))
        manifest = bundle.manifest
        runner = Runner(
            manifest.input, bundle.labels, manifest.task, choice.engine, manifest.decoder
        )
    return _Ready(manifest.name, manifest.artifacts[choice.rung].label, runner, choice.refusals)


@dataclass(frozen=True)
class Done:
    """A finished run: the model's name, the rung, and the rungs refused before; for a model file
    `notes` say what is known of it and from where."""

    name: str
    rung: str
    summary: RunSummary
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()


def run_bundle(
    bundle: str | Path | Bundle,
    source: str | Source,
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
) -> Done:
    """Run a bundle over a whole source and return what happened; raises as `open_pipeline`."""
    options = options or RunOptions()
    ready = _ready(bundle, options)
    with Pipeline(ready.runner, source, sinks, PipelineOptions(options.max_frames)) as pipeline:
        summary = pipeline.run()
    ready.runner.engine.close()
    return Done(ready.name, ready.rung, summary, ready.refusals, ready.notes)


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
        notes=(*done.notes, *(f"not on {r.label}: {r.reason}" for r in done.refusals)),
    )
