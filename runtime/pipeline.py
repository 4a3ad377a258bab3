"""The pipeline: frames in, results out, every stage in a thread of its own.

    capture ─┐
    capture ─┴─intake──> prepare ──> infer ──> decode ──> the caller
                                                 ├──> sink
                                                 └──> sink

A live source keeps only its newest frame, and no stage takes a frame before the next one waits for
it, so that results are of now. A file source waits for its turn and loses nothing, and its frames
are prepared ahead. When a stage fails, what lies before it is stopped, what lies after it is
finished, and the caller gets the error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from device_profiles.errors import RequestError
from runtime.bundle import Bundle
from runtime.channel import Channel
from runtime.engines.base import Array
from runtime.feed import Feeder, infer
from runtime.frame import Frame
from runtime.intake import Intake
from runtime.monitor import Monitor
from runtime.outlet import Hooks, Outlet
from runtime.preprocess import Pixels
from runtime.progress import track
from runtime.run_state import PipelineOptions, RunState, RunSummary
from runtime.runner import Runner, open_runner
from runtime.signals import on_signal
from runtime.sinks import Sink, SinkContext, Stamp, open_sink
from runtime.sources import Policy, Source, open_source, redacted
from runtime.status import RunStatus
from runtime.tasks import Result, TaskContext, decoder, follower
from runtime.telemetry import StageTimes

__all__ = ["Pipeline", "PipelineOptions", "RunSummary"]

PATIENCE_S = 3.0
"""How long a source that blocks in `read` is waited for at the end. It cannot be interrupted:
after that its thread is left behind, which closes the source when `read` returns."""

MAX_BATCH = 8
"""Frames that go through the engine at once, at most, where its artifact takes several."""

Prepared = tuple[int, Frame, Pixels]
"""The number of a source, its frame, and what is given to the engine for it."""

Inferred = tuple[int, Frame, list[Array], str]
"""The number of a source, its frame, the outputs for it, and what they were made on."""


class _Ends(Protocol):
    """What can be ended: a channel, an intake, or one source's part of it."""

    def finish(self) -> None:
        """Take no more; what is there is still handed out."""

    def abort(self) -> None:
        """Take no more, and throw away what is there."""


class Pipeline:
    """Runs a model on every frame of its sources; iterate over it, or call `run`.

    `model` is a bundle (a path or an open one), or a runner, which stays open. `sources` and
    `sinks` are URIs or open ones, which the pipeline closes. Iterating yields `(frame, result)`,
    in the order of the frames of each source. A pipeline runs once.

        with Pipeline("net.edge", "camera:0", ["out.mp4"]) as pipeline:
            for frame, result in pipeline:
                ...

    Errors of any stage are raised where the caller iterates or calls `run`. Opening raises
    SourceError, OutputError, BundleError, EngineError, MissingError or RequestError before work
    starts.
    """

    def __init__(
        self,
        model: Runner | Bundle | str | Path,
        sources: Source | str | Sequence[Source | str],
        sinks: Sequence[Sink | str] = (),
        options: PipelineOptions | None = None,
    ) -> None:
        self._options = options or PipelineOptions()
        self._started = False
        self._sources: list[Source] = []
        self._outlets: list[Outlet] = []
        self._own_engine = self._options.own_engine
        self._runner: Runner
        if isinstance(model, (Bundle, str, Path)):
            self._own_engine, self._runner = True, open_runner(model)
        else:
            self._runner = model
        self._engine = self._runner.engine
        try:
            self._decode = decoder(self._runner.task, self._runner.decoder)
            for source in _each(sources):
                self._sources.append(open_source(source) if isinstance(source, str) else source)
            if not self._sources:
                raise RequestError("a pipeline needs a source; name one")
            self.times = StageTimes()
            self._plan()
            self._open_sinks(sinks)
        except BaseException:
            self._shut()
            raise

    def _plan(self) -> None:
        """Make the channels between the stages, the threads, and the state of the run."""
        queue = self._options.queue
        policies = [_policy(source, queue) for source in self._sources]
        self._live = any(policy.drops for policy in policies)
        ahead = 1 if self._live else queue
        self._intake: Intake[Frame] = Intake(policies)
        self._prepared: Channel[list[Prepared]] = Channel(ahead)
        self._inferred: Channel[Inferred] = Channel(ahead)
        self._results: Channel[tuple[Frame, Result]] = Channel(ahead)
        shape = self._engine.inputs[0].shape
        self._batch = min(len(policies), MAX_BATCH) if shape[:1] == (-1,) else 1
        self._labels = tuple(self._runner.labels)
        self._names = tuple(spec.name for spec in self._engine.outputs)
        task = self._runner.task
        self._follow = [follower(task) for _ in policies] if self._options.track else []
        self._state = RunState(self._sources, self._engine, self.times, self._options)
        self._captures = [
            threading.Thread(target=self._run_capture, args=(i,), name="capture", daemon=True)
            for i in range(len(policies))
        ]
        self._workers = [
            threading.Thread(target=stage, name=name, daemon=True)
            for name, stage in (
                ("prepare", self._run_prepare),
                ("inference", self._run_inference),
                ("delivery", self._run_delivery),
            )
        ]
        self._monitor = Monitor(self._make_status, self._options.observers)

    def __enter__(self) -> Pipeline:
        """Return the pipeline itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; an error of the body comes before one of the pipeline."""
        self._shut()
        if kind is None:
            self._state.raise_error()

    def __iter__(self) -> Iterator[tuple[Frame, Result]]:
        """Start, and yield frames with their results in order; leaving the loop closes all."""
        if self._started:
            raise RequestError("a pipeline runs once; make another one for another run")
        self._started = True
        self._state.start = time.monotonic()
        for outlet in self._outlets:
            outlet.start()
        for thread in (*self._captures, *self._workers):
            thread.start()
        self._monitor.start()
        try:
            while (item := self._results.get()) is not None:
                yield item
                del item  # its buffers are used again once nobody holds them
        except BaseException:
            self._state.ended = "stopped"
            raise
        finally:
            self._shut()
        self._state.raise_error()

    def run(self) -> RunSummary:
        """Run to the end and return the summary; Ctrl-C and SIGTERM end it cleanly.

        What was captured by then is still finished and written; a second Ctrl-C does not wait.
        """
        counts = [source.count for source in self._sources]
        known = [count for count in counts if count is not None]
        limits = (sum(known) if len(known) == len(counts) else None, self._options.max_frames)
        total = min((limit for limit in limits if limit is not None), default=None)
        with on_signal(self.stop):
            for _ in track(self, "frames", total):
                pass
        return self.summary()

    def stop(self) -> None:
        """End the run cleanly, from any thread: frames already captured are still finished."""
        self._state.ended = "stopped"
        self._state.stop()
        self._intake.finish()
        self._interrupt_sources()

    def close(self) -> None:
        """Stop at once, close the sources and sinks, and raise what went wrong, if unraised."""
        self._shut()
        self._state.raise_error()

    def status(self) -> RunStatus:
        """Return what the run is now; rates and times are those of the last second."""
        return self._state.status(self._outlets, self._intake.dropped)

    def summary(self) -> RunSummary:
        """Return what the run was so far."""
        return self._state.summary(self._outlets, self._intake.dropped)

    def _make_status(self) -> RunStatus:
        return self._state.tick(self._outlets, self._intake.dropped)

    def _open_sinks(self, sinks: Sequence[Sink | str]) -> None:
        engine, name = self._engine, getattr(self._runner, "name", "")
        facts = {"task": self._runner.task, "engine": engine.name, "provider": engine.provider}
        facts |= {"name": name} if name else {}
        context = SinkContext(self._sources[0].fps, self._live, facts, self.status)
        hooks = Hooks(self.stop, self._fail)
        queue = None if self._live else self._options.queue
        for sink in sinks:
            name = redacted(sink) if isinstance(sink, str) else type(sink).__name__.lower()
            opened = open_sink(sink, context) if isinstance(sink, str) else sink
            self._outlets.append(Outlet(name, opened, hooks, self.times.sink, queue))

    # --- the stages

    def _run_capture(self, number: int) -> None:
        source = self._sources[number]
        with self._stage(None, self._intake.part(number)):
            try:
                self._read_frames(number, source)
            finally:
                source.close()

    def _read_frames(self, number: int, source: Source) -> None:
        # A live source may have to give more frames than results are wanted.
        most = None if source.live else self._options.max_frames
        tally = self._state.tallies[number]
        while most is None or tally.frames < most:
            start = time.perf_counter()
            frame = source.read()
            if frame is None:
                return
            self.times.capture.add(time.perf_counter() - start)
            tally.count(frame.index)
            if not self._intake.put(number, replace(frame, source=source.uri)):
                return
            del frame

    def _run_prepare(self) -> None:
        with self._stage(self._intake, self._prepared):
            feeders = [Feeder(self._runner.contract) for _ in self._sources]
            while self._is_wanted():
                taken = self._intake.take(self._batch)
                if not taken:
                    return
                self._state.took(len(taken))
                with self.times.preprocess.timing():
                    ready = [(n, frame, feeders[n].prepare(frame.image)) for n, frame in taken]
                if not self._prepared.put(ready):
                    return
                del taken, ready

    def _is_wanted(self) -> bool:
        """Wait until a frame is to be taken; False at the end.

        Of a live source none is taken before the engine waits for it, and never sooner after the
        last one than the governor allows.
        """
        self._state.wait_for_turn()
        return self._prepared.wait_for_reader() if self._live else self._prepared.wait_for_room()

    def _run_inference(self) -> None:
        with self._stage(self._prepared, self._inferred):
            taken = 0
            while self._results.wait_for_room() and self._inferred.wait_for_room():
                ready = self._prepared.get()
                if ready is None:
                    return
                with self.times.infer.timing():
                    answers = infer(self._engine, [pictures for _, _, pictures in ready])
                ran = f"{self._engine.name}/{self._engine.provider}"
                for (number, frame, _), outputs in zip(ready, answers, strict=True):
                    taken += 1
                    if not self._inferred.put((number, frame, outputs, ran)):
                        return
                    if taken == self._options.max_frames:
                        self._state.ended = "max_frames"
                        return
                del ready, answers, frame, outputs

    def _run_delivery(self) -> None:
        with self._stage(self._inferred, self._results):
            try:
                while (item := self._inferred.get()) is not None:
                    if not self._deliver(item):
                        return
                    del item
            finally:
                self._close_outlets()

    def _deliver(self, inferred: Inferred) -> bool:
        """Decode one frame and pass it on; False when the run is to end."""
        number, frame, outputs, ran = inferred
        (height, width), contract = frame.image.shape[:2], self._runner.contract
        context = TaskContext(self._labels, contract, height, width, self._names, frame.image)
        with self.times.decode.timing():
            result = self._decode(outputs, context)
            if self._follow:
                result = self._follow[number](result, _film_ns(self._sources[number], frame))
        age_ns = time.monotonic_ns() - frame.captured_ns
        self.times.age.add(age_ns / 1e9)
        stamp = Stamp(age_ns / 1e6, ran)
        self._state.delivered(number)
        if self._state.results == 1:  # who waits for the first is told at once
            self._monitor.hurry()
        taken = [outlet.put(frame, result, stamp) for outlet in self._outlets]
        return self._results.put((frame, result)) and all(taken)

    @contextmanager
    def _stage(self, before: _Ends | None, after: _Ends) -> Iterator[None]:
        """Run a thread's work: keep its error for the caller, and end what lies around it."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(error)
        finally:
            if before:
                before.abort()
            after.finish()

    def _fail(self, error: BaseException) -> None:
        """Keep an error for the caller, and let the run end: no further frame is captured."""
        self._state.note(error)
        self._state.stop()
        self._intake.finish()

    # --- the end

    def _close_outlets(self) -> None:
        for outlet in self._outlets:
            outlet.finish()

    def _interrupt_sources(self) -> None:
        for source in self._sources:
            interrupt = getattr(source, "interrupt", None)
            if interrupt is not None:
                interrupt()

    def _shut(self) -> None:
        """End everything that still runs; what is in flight is thrown away."""
        if not self._started:
            self._started = True
            for source in self._sources:
                source.close()
            self._close_outlets()
        else:
            self._state.stop()
            for channel in (self._intake, self._prepared, self._inferred, self._results):
                channel.abort()
            self._interrupt_sources()
            for thread in self._workers:
                thread.join()
            patience = time.monotonic() + PATIENCE_S
            for thread in self._captures:
                thread.join(max(0.0, patience - time.monotonic()))
            self._monitor.stop()
        if self._own_engine:
            self._engine.close()


def _each(sources: Source | str | Sequence[Source | str]) -> Sequence[Source | str]:
    if isinstance(sources, Sequence) and not isinstance(sources, str):
        return sources
    return [sources]


def _film_ns(source: Source, frame: Frame) -> int:
    """Return when the frame was taken: a film that is read faster than it was filmed has its own
    time."""
    if source.live or not source.fps:
        return frame.captured_ns
    return round(frame.index * 1e9 / source.fps)


def _policy(source: Source, queue: int) -> Policy:
    """Return what the user chose for the source, or what its kind is for."""
    chosen = getattr(source, "policy", None) or Policy(source.live, 1 if source.live else queue)
    return chosen if chosen.depth else replace(chosen, depth=queue)
