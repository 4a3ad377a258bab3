"""Several sources and sinks, what an onlooker is told of a run, and what slows it down."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import RequestError, SourceError
from runtime.frame import Frame
from runtime.manifest import TensorSpec
from runtime.pipeline import Pipeline, PipelineOptions
from runtime.sinks.memory import Memory
from runtime.sources import Policy
from runtime.status import RunStatus, SourceState, SourceStatus
from tests.runtime.pipeline_cases import MeanEngine, Model, Scene, Slow, seen


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def of(sink: Memory, uri: str) -> list[int]:
    return [record.index for record in sink.records if record.source == uri]


# --- several sources


def test_files_of_several_sources_all_get_their_results_in_order() -> None:
    sink = Memory()
    sources = [Scene(20, uri="a"), Scene(35, uri="b"), Scene(5, uri="c")]
    summary = Pipeline(Model(), sources, [sink]).run()
    for source, count in (("a", 20), ("b", 35), ("c", 5)):
        assert of(sink, source) == list(range(count))
    assert (summary.results, summary.frames, summary.ended) == (60, 60, "end")
    assert [(s["uri"], s["frames"], s["results"]) for s in summary.sources] == [
        ("a", 20, 20),
        ("b", 35, 35),
        ("c", 5, 5),
    ]
    assert all(source.closed.is_set() for source in sources)


def test_a_slow_camera_beside_a_fast_one_gets_its_turn() -> None:
    sink = Memory()
    fast, slow = Scene(400, True, 0.002, "fast"), Scene(20, True, 0.04, "slow")
    summary = Pipeline(Model(MeanEngine(0.015)), [fast, slow], [sink]).run()
    # The engine is free 25 times as often as the slow camera has a frame: none of these is lost.
    assert len(of(sink, "slow")) >= 18
    assert summary.dropped["newer"] > 100
    assert summary.frames == summary.results + sum(summary.dropped.values())


@dataclass
class BatchEngine(MeanEngine):
    """Takes any number of frames at once, and notes how many."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec("image", "uint8", (-1, 8, 8, 3)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("mean", "float32", (-1, 1)),)
    sizes: list[int] = field(default_factory=list)

    def run(self, inputs: Any) -> list[Any]:
        (batch,) = inputs
        self.sizes.append(len(batch))
        time.sleep(0.01)
        return [batch[..., :1].mean(axis=(1, 2), dtype=np.float32)]


def test_sources_share_a_batch_where_the_artifact_takes_several_frames() -> None:
    engine, sink = BatchEngine(), Memory()
    Pipeline(Model(engine), [Scene(30, uri=name) for name in "abc"], [sink]).run()
    assert max(engine.sizes) == 3
    assert sum(engine.sizes) == 90
    for name in "abc":
        assert of(sink, name) == list(range(30))
    assert seen(sink) == [record.index for record in sink.records]


def test_one_source_that_fails_ends_the_run_and_what_was_captured_is_delivered() -> None:
    broken, other, sink = Scene(50, uri="broken"), Scene(100_000, uri="other"), Memory()
    broken.fails_at = 5
    with pytest.raises(SourceError, match="cable"):
        Pipeline(Model(), [broken, other], [sink]).run()
    assert of(sink, "broken") == [0, 1, 2, 3, 4]
    assert broken.closed.is_set()
    assert other.closed.is_set()


def test_no_source_is_refused() -> None:
    with pytest.raises(RequestError, match="needs a source"):
        Pipeline(Model(), [])


# --- policies


@pytest.mark.parametrize("depth", [1, 3])
def test_a_file_may_be_told_to_drop(depth: int) -> None:
    source, sink = Scene(300, seconds=0.001), Memory()
    source.policy = Policy(drops=True, depth=depth)
    summary = Pipeline(Model(MeanEngine(0.02)), source, [sink]).run()
    assert summary.dropped["newer"] > 100
    assert summary.frames == 300 == summary.results + sum(summary.dropped.values())
    assert of(sink, "scene")[-1] == 299


def test_a_camera_may_be_told_to_wait() -> None:
    source, sink = Scene(60, True), Memory()
    source.policy = Policy(drops=False, depth=0)
    summary = Pipeline(Model(MeanEngine(0.002)), source, [sink]).run()
    assert of(sink, "scene") == list(range(60))
    assert summary.dropped == {"newer": 0, "stopped": 0}


class Gappy(Scene):
    """A live source that tells by gaps in its indices what it lost itself."""

    def read(self) -> Frame | None:
        frame = super().read()
        return frame and Frame(frame.image, frame.index * 3, frame.captured_ns)


def test_frames_that_a_source_lost_are_counted_as_dropped() -> None:
    summary = Pipeline(Model(), Gappy(20, True, 0.005)).run()
    assert summary.frames == 19 * 3 + 1
    assert summary.frames == summary.results + sum(summary.dropped.values())
    assert summary.dropped["newer"] >= 19 * 2


# --- sinks


def test_a_slow_sink_does_not_slow_a_live_run_and_its_losses_are_told() -> None:
    quick, slow = Memory(), Slow(0.05)
    summary = Pipeline(Model(), Scene(150, True, 0.004), [quick, slow]).run()
    assert len(quick.records) == summary.results > 100
    (first, second) = summary.sinks
    assert (first["skipped"], first["written"]) == (0, summary.results)
    assert second["skipped"] > 50
    assert second["written"] + second["skipped"] == summary.results
    assert slow.records[-1].index == quick.records[-1].index


# --- what an onlooker is told


def test_the_status_adds_up_while_it_runs() -> None:
    pipeline = Pipeline(Model(MeanEngine(0.01)), Scene(300, True, 0.004), [Memory()])
    statuses: list[RunStatus] = []
    for _ in pipeline:
        statuses.append(pipeline.status())
        if len(statuses) == 30:
            break
    last = statuses[-1]
    assert last.results in {30, 31}
    assert last.frames >= last.results + last.dropped["newer"]
    assert last.dropped["newer"] > 10
    (source,) = last.sources
    assert (source.uri, source.state) == ("scene", SourceState.LIVE)
    assert last.engine == {"name": "mean", "version": "1.0", "provider": "cpu"}
    assert last.total["infer"]["p50_ms"] >= 10
    json.dumps(last.to_json())


def test_observers_are_told_at_the_first_result_each_second_and_at_the_end() -> None:
    told: list[RunStatus] = []

    def broken(_status: RunStatus) -> None:
        raise ValueError("an onlooker's own fault")

    options = PipelineOptions(observers=(broken, told.append))
    summary = Pipeline(Model(), Scene(50, seconds=0.03), options=options).run()
    first, second = told[:2]
    assert 1 <= first.results <= 5
    assert told[-1].results == summary.results == 50
    assert second.fps == pytest.approx(second.results / second.seconds, rel=0.2)
    assert second.recent["infer"]["count"] == second.results
    assert summary.ended == "end"


@dataclass
class Tells(MeanEngine):
    """An engine that has more to say of itself."""

    def status(self) -> dict[str, Any]:
        return {"rung": "int8 on mean/cpu", "provider": "cpu", "drops": []}


def test_what_an_engine_says_of_itself_is_in_status_and_summary() -> None:
    pipeline = Pipeline(Model(Tells()), Scene(3))
    assert pipeline.status().engine["rung"] == "int8 on mean/cpu"
    assert pipeline.run().engine["drops"] == []


class Away(Scene):
    """A camera that knows its own state, and of which `read` can be interrupted."""

    def __init__(self) -> None:
        super().__init__(10, True, 0.001)
        self.gone = threading.Event()

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            self.gone.wait(30)
        return frame

    def interrupt(self) -> None:
        self.gone.set()

    def status(self) -> SourceStatus:
        return SourceStatus("away", SourceState.LOST, 0, 3.5, 10, 2, "the cable is out")


def test_a_source_that_waits_for_its_camera_ends_at_once_when_the_run_is_stopped() -> None:
    source, sink = Away(), Memory()
    pipeline = Pipeline(Model(), source, [sink])
    timer = threading.Timer(0.3, pipeline.stop)
    timer.start()
    start = time.monotonic()
    summary = pipeline.run()
    timer.join()
    assert time.monotonic() - start < 2.5  # the patience for a source that cannot be interrupted
    assert source.closed.is_set()
    assert summary.sources[0]["state"] == "LOST"
    assert summary.sources[0]["reconnects"] == 2
    assert pipeline.status().sources[0].reason == "the cable is out"


# --- the board


@dataclass(frozen=True)
class Warm:
    temperature_c: float = 61.5

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class Brake:
    """A governor that allows five frames per second."""

    interval_s: float = 0.2
    reason: str = "61 °C"
    told: list[tuple[Any, float]] = field(default_factory=list)

    def observe(self, health: Any, fps: float, now: float) -> None:
        self.told.append((health, fps))


def test_a_governor_lowers_the_rate_and_not_the_freshness() -> None:
    brake = Brake()
    options = PipelineOptions(max_frames=10, board=Warm, governor=brake)
    pipeline = Pipeline(Model(MeanEngine(0.005)), Scene(5000, True, 0.005), options=options)
    summary = pipeline.run()
    assert summary.fps <= 6.5  # 10 results in 8 intervals: the second makes up for the first
    assert summary.dropped["newer"] > 50
    # An age holds one frame's wait and the work, not the pause.
    assert pipeline.times.age.percentile(50) < 0.1
    assert brake.told
    assert brake.told[0][0] == Warm()
    assert 0 < brake.told[0][1] <= 7
    limit = {"limit_fps": 5.0, "limit_reason": "61 °C"}
    assert summary.board == {"temperature_c": 61.5, **limit}


def test_a_pause_of_the_governor_does_not_delay_the_end() -> None:
    options = PipelineOptions(governor=Brake(60.0))
    pipeline = Pipeline(Model(), Scene(5000, True, 0.005), options=options)
    timer = threading.Timer(0.3, pipeline.stop)
    timer.start()
    start = time.monotonic()
    assert pipeline.run().ended == "stopped"
    timer.join()
    assert time.monotonic() - start < 30


# --- a bundle as the model


def test_a_bundle_is_opened_and_its_engine_closed(null_bundle: Path) -> None:
    source = "synthetic:noise?width=8&height=6&frames=4"
    pipeline = Pipeline(null_bundle, source)
    assert len(list(pipeline)) == 4
    with pytest.raises(Exception, match="closed"):
        pipeline._engine.run([np.zeros((1, 6, 8, 3), np.uint8)])


def test_of_a_bundle_the_engine_is_closed_when_a_source_does_not_open(null_bundle: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        Pipeline(null_bundle, "nowhere.mp4")
