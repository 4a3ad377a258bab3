"""Workflow: a bundle, or a model file, on cameras, videos or images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_sdk.report import Report, Table
from edge_sdk.workflows.limits import check_threads
from runtime.board import Board
from runtime.bundle import Bundle
from runtime.demand import parse_demand
from runtime.governor import Governor, GovernorOptions
from runtime.ladder import Drop, Ladder, LadderOptions, Refusal
from runtime.model_file import FileOptions, is_model_file, open_model_file
from runtime.monitor import Observer
from runtime.pipeline import Pipeline, PipelineOptions, RunSummary
from runtime.runner import Runner, open_runner
from runtime.service import Service
from runtime.sinks import Sink
from runtime.sources import Source, check_source
from runtime.stats import StatsFile
from runtime.status import RunStatus


@dataclass(frozen=True)
class RunOptions:
    """`threads` of the engine (0: its choice); `max_frames` results at most (None: all).

    `provider` is `auto` (the bundle's own order), `prefer:X` or `require:X`; of a model file, the
    one that it is run on. `track` follows things from frame to frame. `governor` lowers the rate
    of frames where the board gets too hot or its supply is too weak; None leaves it alone. `stats`
    is a file that holds the state of the run. `file` is what is said of a model file; of a bundle
    nothing but the decoder can be said.
    """

    threads: int = 0
    max_frames: int | None = None
    provider: str = "auto"
    track: bool = False
    governor: GovernorOptions | None = None
    stats: Path | None = None
    file: FileOptions = field(default_factory=FileOptions)

    def __post_init__(self) -> None:
        check_threads(self.threads)


def open_pipeline(
    bundle: str | Path | Bundle,
    source: str | Source | Sequence[str | Source],
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
) -> Pipeline:
    """Return a pipeline of the bundle's first rung that reproduces its golden outputs here.

    Iterate over it for `(frame, result)`, or call `run()`. `bundle` may be a .tflite file, which
    has nothing to reproduce. Raises BundleError, ModelError, SourceError, OutputError or, when no
    rung is healthy, EngineError.
    """
    options = options or RunOptions()
    _check_sources(source)
    limits = _limits(options)
    return Pipeline(_ready(bundle, options).runner, source, sinks, limits)


def _check_sources(source: str | Source | Sequence[str | Source]) -> None:
    """Raise SourceError for a wrong address, before seconds are spent on proving an engine."""
    for one in source if isinstance(source, (list, tuple)) else [source]:
        if isinstance(one, str):
            check_source(one)


@dataclass(frozen=True)
class _Ready:
    """A model ready to run: what it is, how it runs, and what there is to say about it."""

    name: str
    label: str
    runner: Runner
    ladder: Ladder | None = None
    notes: tuple[str, ...] = ()


def _ready(model: str | Path | Bundle, options: RunOptions) -> _Ready:
    demand = parse_demand(options.provider)
    if is_model_file(model):
        said = replace(options.file, provider=demand.provider or options.file.provider)
        file = open_model_file(str(model), said)
        runner = file.runner(options.threads)
        return _Ready(file.name, file.artifact(runner.engine).label, runner, notes=file.notes)
    options.file.refuse(model)
    ladder_options = LadderOptions(demand=demand, threads=options.threads)
    found = open_runner(model, ladder_options, options.file.decoder)
    return _Ready(found.name, found.engine.label, found, found.engine)


def _limits(options: RunOptions, observers: Sequence[Observer] = ()) -> PipelineOptions:
    return PipelineOptions(
        max_frames=options.max_frames,
        track=options.track,
        board=Board().read,
        governor=None if options.governor is None else Governor(options.governor),
        observers=tuple(observers),
        own_engine=True,
    )


@dataclass(frozen=True)
class Done:
    """A finished run: the model's name, the rung at its end, the rungs refused before and those
    dropped in it; for a model file `notes` say what is known of it and from where."""

    name: str
    rung: str
    summary: RunSummary
    refusals: tuple[Refusal, ...] = ()
    drops: tuple[Drop, ...] = ()
    notes: tuple[str, ...] = ()


def run_bundle(
    bundle: str | Path | Bundle,
    source: str | Source | Sequence[str | Source],
    sinks: Sequence[str | Sink] = (),
    options: RunOptions | None = None,
    observers: Sequence[Observer] = (),
) -> Done:
    """Run a bundle over whole sources and return what happened; raises as `open_pipeline`.

    `observers` are told the state of the run once a second; so is systemd, where it started us.
    """
    options = options or RunOptions()
    _check_sources(source)
    stats = StatsFile(options.stats) if options.stats else None
    service = Service.from_environment()
    watching: list[Observer] = [*observers, _Progress(service), *([stats] if stats else [])]
    limits = _limits(options, watching)
    ready = _ready(bundle, options)
    with Pipeline(ready.runner, source, sinks, limits) as pipeline:
        summary = pipeline.run()
        service.stopping()
    if stats:
        stats.finish(summary.to_json())
    ladder = ready.ladder
    if ladder is None:
        return Done(ready.name, ready.label, summary, notes=ready.notes)
    return Done(ready.name, ladder.label, summary, ladder.refusals, ladder.drops, ready.notes)


class _Progress:
    """Tells the service manager of results: a run without new ones is not alive."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._results = 0

    def __call__(self, status: RunStatus) -> None:
        if status.results > self._results:
            self._results = status.results
            self._service.progress()
        states = ", ".join(f"{source.uri} {source.state.value}" for source in status.sources)
        self._service.status(f"{status.results} results, {status.fps:.1f} per second; {states}")


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
            "drops": [vars(drop) for drop in done.drops],
        },
        notes=(
            *done.notes,
            *(f"not on {r.label}: {r.reason}" for r in done.refusals),
            *(f"dropped {d.label} in mid-run: {d.reason}" for d in done.drops),
            *_skipped(summary),
        ),
    )


def _skipped(summary: RunSummary) -> list[str]:
    """Say which sinks had no time for every result."""
    return [
        f"{sink['sink']} had no time for {sink['skipped']} of the results"
        for sink in summary.sinks
        if sink["skipped"]
    ]
