"""The pipeline: frames in, results out, every stage in a thread of its own.

    capture ──frames──> prepare + infer ──inferred──> decode + sinks ──results──> the caller

A live source keeps only its newest frame, and no stage takes a frame before there is room for its
result, so that results are of now. A file source waits for its turn and loses nothing. When a
stage fails, what lies before it is stopped, what lies after it is finished, and the caller gets
the error.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Protocol

from device_profiles.errors import RequestError
from runtime.channel import Channel
from runtime.contract import InputContract
from runtime.engines.base import Array, Engine
from runtime.frame import Frame
from runtime.preprocess import prepare
from runtime.progress import track
from runtime.sinks import Sink, SinkContext, Stamp, StopRun, open_sink
from runtime.sources import Source, open_source
from runtime.tasks import Result, TaskContext, decoder
from runtime.telemetry import StageTimes

PATIENCE_S = 3.0
"""How long a source that blocks in `read` is waited for at the end. It cannot be interrupted:
after that its thread is left behind, which closes the source when `read` returns."""


class Runner(Protocol):
    """A model ready to run: what a pipeline needs to know of a bundle."""

    @property
    def contract(self) -> InputContract:
        """How a frame becomes the model's input."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the classes; may be empty."""

    @property
    def task(self) -> str:
        """Name of the task that decodes the outputs."""

    @property
    def decoder(self) -> Mapping[str, Any]:
        """How the task reads the outputs; empty where there is nothing to choose."""

    @property
    def engine(self) -> Engine:
        """The loaded artifact; it takes uint8 (1, height, width, channels). Stays open."""


@dataclass(frozen=True)
class PipelineOptions:
    """How to run: `max_frames` results at most (None: all), `queue` frames between two stages
    for sources that are not live."""

    max_frames: int | None = None
    queue: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 1:
                raise RequestError(f"pipeline option {name} must be at least 1, not {value}")


@dataclass(frozen=True)
class RunSummary:
    """What a run was: `frames` captured = `results` + what was `dropped`, by reason.

    Reasons: `newer` (a live source had a newer frame), `stopped` (the run ended or failed before
    its turn). `seconds` is from start to last result, `fps` results per second. `ended` is `end`,
    `max_frames`, `stopped` or `failed`. `engine` says what really ran.
    """

    source: str
    frames: int
    results: int
    dropped: dict[str, int]
    seconds: float
    fps: float
    ended: str
    stages: dict[str, Any]
    engine: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return dict(vars(self))


@dataclass
class _State:
    """What the threads note as they go; each field is written by one of them."""

    captured: int = 0
    delivered: int = 0
    start: float = field(default_factory=time.monotonic)
    last: float = 0.0
    ended: str = "end"
    error: BaseException | None = None


class Pipeline:
    """Runs a model on every frame of a source; iterate over it, or call `run`.

    Iterating yields `(frame, result)` in order, each after it went to the sinks. A pipeline runs
    once, owns its source and sinks (given open or as URIs) and closes them; the runner stays open.

        with Pipeline(bundle, "camera:0", ["out.mp4"]) as pipeline:
            for frame, result in pipeline:
                ...

    Errors of any stage are raised where the caller iterates or calls `run`. Opening raises
    SourceError, OutputError, MissingError or RequestError before work starts.
    """

    def __init__(
        self,
        runner: Runner,
        source: Source | str,
        sinks: Sequence[Sink | str] = (),
        options: PipelineOptions | None = None,
    ) -> None:
        self._options = options or PipelineOptions()
        self._runner = runner
        self._engine = runner.engine
        self._decode = decoder(runner.task, runner.decoder)
        self._labels = tuple(runner.labels)
        self._output_names = tuple(spec.name for spec in self._engine.outputs)
        self._source = open_source(source) if isinstance(source, str) else source
        self._sinks: list[Sink] = []
        self.times = StageTimes()
        self._state = _State()
        live = self._source.live
        queue = 1 if live else self._options.queue
        self._frames: Channel[Frame] = Channel(queue, newest=live)
        self._inferred: Channel[tuple[Frame, list[Array]]] = Channel(queue)
        self._results: Channel[tuple[Frame, Result]] = Channel(queue)
        self._capture = threading.Thread(target=self._run_capture, name="capture", daemon=True)
        self._workers = [
            threading.Thread(target=self._run_inference, name="inference", daemon=True),
            threading.Thread(target=self._run_delivery, name="delivery", daemon=True),
        ]
        self._started = False
        self._open_sinks(sinks)

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
            self._raise_error()

    def __iter__(self) -> Iterator[tuple[Frame, Result]]:
        """Start, and yield frames with their results in order; leaving the loop closes all."""
        if self._started:
            raise RequestError("a pipeline runs once; make another one for another run")
        self._started = True
        self._state.start = time.monotonic()
        for thread in (self._capture, *self._workers):
            thread.start()
        try:
            while (item := self._results.get()) is not None:
                yield item
        except BaseException:
            self._state.ended = "stopped"
            raise
        finally:
            self._shut()
        self._raise_error()

    def run(self) -> RunSummary:
        """Run to the end and return the summary; Ctrl-C and SIGTERM end it cleanly.

        What was captured by then is still finished and written; a second Ctrl-C does not wait.
        """
        limits = (self._source.count, self._options.max_frames)
        total = min((limit for limit in limits if limit is not None), default=None)
        with _on_signal(self.stop):
            for _ in track(self, "frames", total):
                pass
        return self.summary()

    def stop(self) -> None:
        """End the run cleanly, from any thread: frames already captured are still finished."""
        self._state.ended = "stopped"
        self._frames.finish()

    def close(self) -> None:
        """Stop at once, close the source and the sinks, and raise what went wrong, if unraised."""
        self._shut()
        self._raise_error()

    def summary(self) -> RunSummary:
        """Return what the run was so far."""
        state, engine = self._state, self._engine
        newer = self._frames.dropped
        seconds = max(0.0, state.last - state.start)
        return RunSummary(
            source=self._source.uri,
            frames=state.captured,
            results=state.delivered,
            dropped={"newer": newer, "stopped": state.captured - newer - state.delivered},
            seconds=round(seconds, 6),
            fps=round(state.delivered / seconds, 3) if seconds else 0.0,
            ended=state.ended,
            stages=self.times.to_json(),
            engine={
                "name": engine.name,
                "version": engine.version,
                "provider": engine.provider,
            },
        )

    def _open_sinks(self, sinks: Sequence[Sink | str]) -> None:
        engine = self._engine
        facts = {"task": self._runner.task, "engine": engine.name, "provider": engine.provider}
        context = SinkContext(self._source.fps, self._source.live, facts)
        try:
            for sink in sinks:
                self._sinks.append(open_sink(sink, context) if isinstance(sink, str) else sink)
        except BaseException:
            self._shut()
            raise

    def _run_capture(self) -> None:
        with self._stage(None, self._frames):
            try:
                self._read_frames()
            finally:
                self._source.close()

    def _read_frames(self) -> None:
        # A live source may have to give more frames than results are wanted.
        most = None if self._source.live else self._options.max_frames
        while self._state.captured != most:
            start = time.perf_counter()
            frame = self._source.read()
            if frame is None:
                return
            self.times.capture.add(time.perf_counter() - start)
            self._state.captured += 1
            if not self._frames.put(frame):
                return

    def _run_inference(self) -> None:
        with self._stage(self._frames, self._inferred):
            taken = 0
            while self._results.wait_for_room() and self._inferred.wait_for_room():
                frame = self._frames.get()
                if frame is None:
                    return
                with self.times.preprocess.timing():
                    batch = prepare(frame.image, self._runner.contract)[None]
                with self.times.infer.timing():
                    outputs = self._engine.run([batch])
                taken += 1
                if not self._inferred.put((frame, outputs)):
                    return
                if taken == self._options.max_frames:
                    self._state.ended = "max_frames"
                    return

    def _run_delivery(self) -> None:
        with self._stage(self._inferred, self._results):
            try:
                while (item := self._inferred.get()) is not None:
                    if not self._deliver(*item):
                        return
            finally:
                self._close_sinks()

    def _deliver(self, frame: Frame, outputs: list[Array]) -> bool:
        """Decode one frame and pass it on; False when the run is to end."""
        height, width = frame.image.shape[:2]
        contract, names = self._runner.contract, self._output_names
        with self.times.decode.timing():
            context = TaskContext(self._labels, contract, height, width, names)
            result = self._decode(outputs, context)
        age_ns = time.monotonic_ns() - frame.captured_ns
        self.times.age.add(age_ns / 1e9)
        engine = self._engine
        stamp = Stamp(age_ns / 1e6, f"{engine.name}/{engine.provider}")
        wanted = self._write(frame, result, stamp)
        self._state.delivered += 1
        self._state.last = time.monotonic()
        return self._results.put((frame, result)) and wanted

    def _write(self, frame: Frame, result: Result, stamp: Stamp) -> bool:
        """Pass one result to every sink; False when one of them ends the run."""
        wanted = True
        for sink in self._sinks:
            with self.times.sink.timing():
                try:
                    sink.write(frame, result, stamp)
                except StopRun:
                    self._state.ended = "stopped"
                    wanted = False
        return wanted

    @contextmanager
    def _stage(self, before: Channel[Any] | None, after: Channel[Any]) -> Iterator[None]:
        """Run a thread's work: keep its error for the caller, and end the channels around it."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._note(error)
        finally:
            if before:
                before.abort()
            after.finish()

    def _note(self, error: BaseException) -> None:
        if self._state.error is None:
            self._state.error = error
            self._state.ended = "failed"

    def _raise_error(self) -> None:
        error, self._state.error = self._state.error, None
        if error is not None:
            raise error

    def _close_sinks(self) -> None:
        while self._sinks:
            try:
                self._sinks.pop().close()
            except Exception as error:  # noqa: BLE001 - every sink must be closed; raised later
                self._note(error)

    def _shut(self) -> None:
        """End everything that still runs; what is in flight is thrown away."""
        if not self._started:
            self._started = True
            self._source.close()
            self._close_sinks()
            return
        for channel in (self._frames, self._inferred, self._results):
            channel.abort()
        for thread in self._workers:
            thread.join()
        self._capture.join(PATIENCE_S)


@contextmanager
def _on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first SIGINT or SIGTERM; the next one does what it always did.

    Signals that are ignored stay so, and outside the main thread nothing can be done about them.
    """
    previous: dict[int, Any] = {}

    def restore() -> None:
        while previous:
            signal.signal(*previous.popitem())

    def handle(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
