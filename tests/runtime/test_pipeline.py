"""The pipeline: order, drops, ages, errors, endings; never how many milliseconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from device_profiles.errors import EngineError, OutputError, RequestError, SourceError
from runtime import pipeline as pipeline_module
from runtime.frame import Frame
from runtime.pipeline import Pipeline, PipelineOptions
from runtime.sinks import SinkContext, StopRun
from runtime.sinks.memory import Memory
from tests.runtime.pipeline_cases import MeanEngine, Model, Scene, Slow, seen

NOISE = "synthetic:noise?width=32&height=24&frames={}"


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


# --- order, completeness, figures


@pytest.mark.parametrize("slow", ["nothing", "engine", "sink", "source"])
def test_a_file_source_loses_nothing_and_keeps_its_order(slow: str) -> None:
    seconds = {slow: 0.003}
    engine = MeanEngine(seconds.get("engine", 0.0))
    sink = Slow(seconds.get("sink", 0.0))
    source = Scene(60, seconds=seconds.get("source", 0.0))
    summary = Pipeline(Model(engine), source, [sink]).run()
    assert seen(sink) == [record.index for record in sink.records] == list(range(60))
    assert (summary.frames, summary.results, summary.ended) == (60, 60, "end")
    assert summary.dropped == {"newer": 0, "stopped": 0}
    assert sink.closed
    assert source.closed.is_set()


def test_the_summary_says_what_ran_and_how_long() -> None:
    source = Scene(20)
    summary = Pipeline(Model(MeanEngine(0.002)), source, [Slow(0.002)]).run()
    figures = json.loads(json.dumps(summary.to_json()))
    assert figures["engine"] == {"name": "mean", "version": "1.0", "provider": "cpu"}
    assert figures["source"] == "scene"
    assert set(figures["stages"]) == {"capture", "preprocess", "infer", "decode", "sink", "age"}
    assert {stage["count"] for stage in figures["stages"].values()} == {20}
    assert figures["stages"]["infer"]["p50_ms"] >= 2
    # A result cannot be younger than its own inference, nor the run shorter than its parts.
    assert figures["stages"]["age"]["p50_ms"] >= figures["stages"]["infer"]["p50_ms"] * 0.99
    assert summary.seconds >= 20 * 0.002
    assert summary.fps == pytest.approx(20 / summary.seconds, rel=1e-3)


def test_latency_given_to_sinks_is_from_capture() -> None:
    sink = Memory()
    pipeline = Pipeline(Model(MeanEngine(0.005)), Scene(10), [sink])
    pipeline.run()
    latencies = [record.latency_ms for record in sink.records]
    assert min(latencies) >= 5
    assert max(latencies) == pytest.approx(pipeline.times.age.max * 1e3)


def test_stages_overlap() -> None:
    summary = Pipeline(Model(MeanEngine(0.01)), Scene(20, seconds=0.01), [Slow(0.01)]).run()
    # One after the other it would take 30 ms a frame; together the slowest stage sets the pace.
    assert summary.seconds < 20 * 0.03 * 0.85


def test_iterating_yields_what_the_sinks_got() -> None:
    sink = Memory()
    pairs = list(Pipeline(Model(), Scene(15), [sink]))
    assert [frame.index for frame, _ in pairs] == list(range(15))
    assert [result for _, result in pairs] == sink.results


def test_a_slow_reader_holds_a_file_source_back() -> None:
    source = Scene(200)
    for frame, _ in Pipeline(Model(), source, options=PipelineOptions(queue=2)):
        time.sleep(0.002)
        # In flight are at most: four queues of two, and one in the hands of each stage and ours.
        assert source._index - frame.index <= 13
        if frame.index == 40:
            break


@pytest.mark.parametrize("live", [False, True])
def test_max_frames_counts_results(live: bool) -> None:
    sink = Memory()
    options = PipelineOptions(max_frames=7)
    summary = Pipeline(Model(), Scene(500, live, seconds=0.001), [sink], options).run()
    assert (summary.results, len(sink.results)) == (7, 7)
    assert summary.ended == ("max_frames")
    assert summary.frames == 7 + sum(summary.dropped.values())
    assert live or summary.frames == 7


def test_fewer_frames_than_max_frames_is_a_normal_end() -> None:
    summary = Pipeline(Model(), Scene(5), options=PipelineOptions(max_frames=9)).run()
    assert (summary.results, summary.ended) == (5, "end")


# --- live sources


def test_a_live_source_drops_what_is_old_and_says_so() -> None:
    sink = Memory()
    summary = Pipeline(Model(MeanEngine(0.03)), Scene(150, True, 0.002), [sink]).run()
    indexes = [record.index for record in sink.records]
    assert indexes == sorted(set(indexes))
    assert summary.frames == 150
    assert summary.dropped["newer"] > 50
    assert summary.results + sum(summary.dropped.values()) == 150


@pytest.mark.parametrize("slow", ["engine", "sink", "reader"])
def test_the_age_of_live_results_does_not_grow(slow: str) -> None:
    work = 0.03
    seconds = {slow: work}
    pipeline = Pipeline(
        Model(MeanEngine(seconds.get("engine", 0.0))),
        Scene(400, True, 0.002),
        [Slow(seconds.get("sink", 0.0))],
    )
    ages = []
    for frame, _ in pipeline:
        ages.append((time.monotonic_ns() - frame.captured_ns) / 1e9)
        time.sleep(seconds.get("reader", 0.0))
    assert len(ages) >= 8
    # One period waiting for its turn, one of work, and no more later than at first; a queue would
    # add a period for every one that passed.
    median = sorted(ages)[len(ages) // 2]
    assert median < 4 * work


# --- errors


def fails(
    engine: MeanEngine, source: Scene, sinks: list[Memory]
) -> tuple[type[Exception], list[int]]:
    with pytest.raises((EngineError, SourceError, OutputError)) as caught:
        Pipeline(Model(engine), source, sinks).run()
    assert source.closed.is_set()
    assert all(sink.closed for sink in sinks)
    return caught.type, seen(sinks[0])


@pytest.mark.parametrize("live", [False, True])
def test_a_source_that_fails_still_delivers_what_it_gave(live: bool) -> None:
    source = Scene(50, live, seconds=0.005 if live else 0)
    source.fails_at = 12
    kind, delivered = fails(MeanEngine(), source, [Memory()])
    assert kind is SourceError
    assert delivered[-1] == 11
    assert live or delivered == list(range(12))


def test_an_engine_that_fails_still_delivers_what_it_gave() -> None:
    kind, delivered = fails(MeanEngine(fails_at=12), Scene(10_000), [Memory()])
    assert (kind, delivered) == (EngineError, list(range(12)))


def test_a_sink_that_fails_stops_all_and_the_others_are_closed() -> None:
    broken = Slow(at=12, raises=OutputError("the disk is full"))
    kind, delivered = fails(MeanEngine(), Scene(10_000), [Memory(), broken])
    # The others get what was in flight as well, but nothing is captured any more.
    assert kind is OutputError
    assert delivered == list(range(len(delivered)))
    assert 13 <= len(delivered) < 60
    assert seen(broken) == list(range(12))


def test_a_result_that_cannot_be_decoded_is_an_error_of_the_caller() -> None:
    model = Model(task="classify", labels=("only", "two"))
    with pytest.raises(RequestError, match="1 classes, but there are 2 labels"):
        Pipeline(model, Scene(5)).run()


def test_a_failure_while_iterating_comes_after_the_good_results() -> None:
    source, got = Scene(50), []
    source.fails_at = 9
    with pytest.raises(SourceError, match="cable"):
        for frame, _ in Pipeline(Model(), source):
            got.append(frame.index)
    assert got == list(range(9))


class BadClose(Memory):
    def close(self) -> None:
        super().close()
        raise OutputError("the last bytes did not fit")


def test_an_error_on_closing_a_sink_is_raised_and_the_others_are_closed() -> None:
    sinks = [Memory(), BadClose(), Memory()]
    with pytest.raises(OutputError, match="last bytes"):
        Pipeline(Model(), Scene(5), sinks).run()
    assert all(sink.closed for sink in sinks)


def test_an_error_on_closing_after_a_break_is_raised_by_the_with() -> None:
    def leave() -> None:
        with Pipeline(Model(), Scene(500), [BadClose()]) as pipeline:
            for _ in pipeline:
                break

    with pytest.raises(OutputError, match="last bytes"):
        leave()


@pytest.mark.parametrize(
    ("source", "sinks", "error"),
    [
        ("nowhere.mp4", ["memory:"], SourceError),
        (NOISE.format(5), ["/nowhere/out.mp4"], OutputError),
        (NOISE.format(5), ["memory:", "out.xyz"], OutputError),
    ],
)
def test_what_does_not_open_fails_before_work_starts(
    source: str, sinks: list[str], error: type[Exception]
) -> None:
    model = Model()
    with pytest.raises(error):
        Pipeline(model, source, sinks)
    assert model.engine.runs == 0


def test_a_sink_that_does_not_open_closes_the_source_and_the_other_sinks() -> None:
    source, sink = Scene(), Memory()
    with pytest.raises(OutputError):
        Pipeline(Model(), source, [sink, "/nowhere/out.mp4"])
    assert sink.closed
    assert source.closed.is_set()


@pytest.mark.parametrize("field_name", ["max_frames", "queue"])
def test_options_that_make_no_sense_are_refused(field_name: str) -> None:
    with pytest.raises(RequestError, match=f"{field_name} must be at least 1"):
        PipelineOptions(**{field_name: 0})


# --- endings


def test_leaving_the_loop_closes_everything() -> None:
    source, sink = Scene(100_000), Memory()
    pipeline = Pipeline(Model(), source, [sink])
    for frame, _ in pipeline:
        if frame.index == 20:
            break
    assert sink.closed
    assert source.closed.is_set()
    summary = pipeline.summary()
    assert summary.ended == "stopped"
    assert 21 <= summary.results <= summary.frames < 1000


def test_an_error_in_the_loop_is_the_callers_own() -> None:
    source = Scene(100_000)

    def fail() -> None:
        with Pipeline(Model(), source) as pipeline:
            for _ in pipeline:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert source.closed.is_set()


def test_a_pipeline_that_never_ran_is_closed_too() -> None:
    source, sink = Scene(), Memory()
    with Pipeline(Model(), source, [sink]):
        pass
    assert sink.closed
    assert source.closed.is_set()


def test_a_pipeline_runs_once() -> None:
    pipeline = Pipeline(Model(), Scene(3))
    pipeline.run()
    with pytest.raises(RequestError, match="runs once"):
        pipeline.run()


@pytest.mark.parametrize("live", [False, True])
def test_stop_finishes_what_was_captured(live: bool) -> None:
    sink = Memory()
    pipeline = Pipeline(Model(MeanEngine(0.002)), Scene(100_000, live, 0.001), [sink])
    timer = threading.Timer(0.15, pipeline.stop)
    timer.start()
    summary = pipeline.run()
    timer.join()
    assert summary.ended == "stopped"
    assert 0 < summary.results == len(sink.results)
    # At most the frame that was just read, which the closed channel refused.
    assert summary.dropped["stopped"] <= 1


def test_a_sink_may_end_the_run_and_every_sink_gets_the_last_result() -> None:
    source, first, last = Scene(100_000), Memory(), Memory()
    summary = Pipeline(Model(), source, [first, Slow(at=9, raises=StopRun()), last]).run()
    assert seen(first) == seen(last) == list(range(summary.results))
    assert 10 <= summary.results < 60
    assert summary.ended == "stopped"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly_and_its_handler_is_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    sink = Memory()
    pipeline = Pipeline(Model(), Scene(100_000, seconds=0.001), [sink])
    timer = threading.Timer(0.15, lambda: os.kill(os.getpid(), number))
    timer.start()
    summary = pipeline.run()
    timer.join()
    assert summary.ended == "stopped"
    assert seen(sink) == [index % 256 for index in range(summary.results)]
    assert sink.closed
    assert signal.getsignal(number) is before


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.runtime.pipeline_cases import Model
from runtime.pipeline import Pipeline
print("ready", flush=True)
summary = Pipeline(Model(), "synthetic:noise?live=1&frames=0", sys.argv[2:]).run()
print(summary.results)
"""


def test_a_terminated_process_leaves_complete_outputs(tmp_path: Path) -> None:
    outputs = [tmp_path / "out.mp4", tmp_path / "out.jsonl"]
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[2]), *map(str, outputs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        while not outputs[1].exists() or outputs[1].read_text().count("\n") < 5:
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        results = int(process.stdout.read())
    assert process.returncode == 0
    lines = [json.loads(line) for line in outputs[1].read_text().splitlines()]
    assert len(lines) == results
    assert cv2.VideoCapture(str(outputs[0])).read()[0]
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "out.mp4"]


class Frozen(Scene):
    """A camera whose read hangs until it is let go."""

    def __init__(self) -> None:
        super().__init__(100, live=True)
        self.let_go = threading.Event()

    def read(self) -> Frame | None:
        if self._index == 3:
            self.let_go.wait(30)
            return None
        time.sleep(0.02)
        return super().read()


def test_a_frozen_camera_cannot_hold_the_run_and_is_closed_by_its_own_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline_module, "PATIENCE_S", 0.2)
    source, sink = Frozen(), Memory()
    pipeline = Pipeline(Model(), source, [sink])
    threading.Timer(0.3, pipeline.stop).start()
    summary = pipeline.run()
    assert (summary.results, sink.closed) == (3, True)
    # Closing what another thread reads crashes capture libraries; it is left to that thread.
    assert not source.closed.is_set()
    source.let_go.set()
    assert source.closed.wait(10)
    assert source.closed_by == "capture"
    pipeline._captures[0].join()


# --- sinks opened by URI


def test_sinks_learn_the_rate_and_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[SinkContext] = []
    opened: Callable[..., Memory] = lambda _uri, context: contexts.append(context) or Memory()  # type: ignore[func-returns-value]  # noqa: E731
    monkeypatch.setattr(pipeline_module, "open_sink", opened)
    Pipeline(Model(), NOISE.format(2), ["memory:"]).run()
    (context,) = contexts
    assert (context.fps, context.live) == (30.0, False)
    assert context.facts == {"task": "raw", "engine": "mean", "provider": "cpu"}


def test_a_scene_becomes_a_video_and_a_log(tmp_path: Path) -> None:
    uris = [str(tmp_path / "out.mp4"), str(tmp_path / "out.jsonl")]
    summary = Pipeline(Model(), "synthetic:shapes?frames=25&width=160&height=120", uris).run()
    assert summary.results == 25
    lines = [json.loads(line) for line in Path(uris[1]).read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(25))
    assert lines[0]["truth"][0][0] == "disc"
    assert cv2.VideoCapture(uris[0]).get(cv2.CAP_PROP_FRAME_COUNT) == 25
