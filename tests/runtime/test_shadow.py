"""Two releases on the same frames: what is compared of each kind of answer, and how it is told."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import EngineError, GateError, RequestError, SourceError
from runtime import evaluate
from runtime.answers import answer_all
from runtime.evaluate import Answer, between_models
from runtime.frame import Frame
from runtime.ladder import LadderOptions
from runtime.shadow import Answers, Request, _read, compare
from runtime.tasks.classify import Classification
from runtime.tasks.detect import Detection, Detections
from runtime.tasks.enhance import EnhancedImage
from runtime.tasks.segment import SegmentationMap
from runtime.wire import receive, send

OUTPUTS = [np.array([[3.0, 4.0]], np.float32)]


def agreement(task: str, one: Any, other: Any) -> float | None:
    """Compare two results as two processes do: with what goes over a pipe."""
    evaluation = between_models(task)
    found = []
    for result in (one, other):
        answer = evaluation.answer(result, OUTPUTS)
        pipe = io.BytesIO()
        send(pipe, {"facts": answer.facts}, answer.arrays)
        pipe.seek(0)
        message = receive(pipe.read)
        assert message is not None
        found.append(Answer(message[0]["facts"], tuple(message[1])))
    return evaluation.agreement(*found)


def named(label: str, index: int = 0) -> Classification:
    return Classification(index, label, 0.9, (), softmax=False)


def things(*items: tuple[str, float]) -> Detections:
    """Things of 10 x 10 pixels, so far from the left."""
    return Detections(tuple(Detection(0, n, 0.9, x, 0.0, x + 10, 10.0) for n, x in items))


def map_of(rows: list[list[int]], labels: tuple[str, ...], background: int = 0) -> SegmentationMap:
    return SegmentationMap(np.array(rows, np.uint8), labels, background)


def test_classes_agree_by_name_whatever_their_number() -> None:
    assert agreement("classify", named("cat", 1), named("cat", 7)) == 1.0
    assert agreement("classify", named("cat", 1), named("dog", 1)) == 0.0


def test_boxes_agree_that_are_of_one_class_and_overlap_by_more_than_half() -> None:
    one = things(("car", 0), ("car", 50), ("man", 100))
    assert agreement("detect", one, one) == 1.0
    # Of six boxes, those at 0 and 2 are one thing; those at 50 and 56 overlap too little, and at
    # 100 is something else.
    other = things(("car", 2), ("car", 56), ("car", 100))
    assert agreement("detect", one, other) == pytest.approx(2 / 6)
    assert agreement("detect", one, things()) == 0.0
    assert agreement("detect", things(), things()) is None


def test_pixels_agree_by_name_and_what_is_nothing_to_both_does_not_count() -> None:
    one = map_of([[0, 0, 0, 1, 1]], ("background", "cat", "dog"))
    other = map_of([[2, 2, 1, 0, 1]], ("cat", "dog", "nothing"), background=2)
    # Both see nothing in two pixels. Of the three others they agree on one, the cat.
    assert agreement("segment", one, other) == pytest.approx(1 / 3)
    blind = map_of([[0, 0, 0, 0, 0]], ("background", "cat", "dog"))
    assert agreement("segment", one, blind) == 0.0
    assert agreement("segment", blind, blind) is None
    unseen = map_of([[255, 1, 1, 1, 255]], ("a", "b"), background=-1)
    assert agreement("segment", unseen, unseen) == 1.0
    other = map_of([[255, 1, 1, 0, 1]], ("a", "b"), background=-1)
    assert agreement("segment", unseen, other) == pytest.approx(2 / 4)


def test_pictures_agree_from_30_db_on() -> None:
    base = np.full((20, 20, 3), 100, np.uint8)
    # A difference of d has 20 log10(255 / d) dB: 8 is 30.07 dB, 9 is 29.05.
    for by, wanted in ((0, 1.0), (8, 1.0), (9, 0.0)):
        found = agreement("enhance", EnhancedImage(base, 1), EnhancedImage(base + np.uint8(by), 1))
        assert found == wanted, by
    with pytest.raises(GateError, match="one makes pictures of"):
        agreement("enhance", EnhancedImage(base, 1), EnhancedImage(base[:10], 1))


def test_outputs_of_unknown_meaning_agree_by_the_worst_cosine() -> None:
    raw = between_models("raw")
    one = Answer(arrays=(np.array([1.0, 0.0]), np.array([3.0, 4.0])))
    other = Answer(arrays=(np.array([2.0, 0.0]), np.array([4.0, 3.0])))
    assert raw.agreement(one, one) == pytest.approx(1.0)
    assert raw.agreement(one, other) == pytest.approx(24 / 25)
    with pytest.raises(GateError, match="shapes"):
        raw.agreement(one, Answer(arrays=(np.array([1.0]),)))


def test_an_evaluation_without_agreement_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_evaluation", lambda task: object())
    with pytest.raises(RequestError, match="no agreement"):
        between_models("other")


def test_a_bundle_answers_frame_by_frame(null_bundle: Path) -> None:
    frames, out = io.BytesIO(), io.BytesIO()
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
        send(frames, {}, [image])
    frames.seek(0)
    answer_all(null_bundle, LadderOptions(cached=False), frames, out)
    out.seek(0)
    found = [receive(out.read) for _ in range(5)]
    assert found[0] == ({"task": "classify"}, [])
    for answer in found[1:4]:
        assert answer is not None
        assert answer[0]["facts"]["label"] in ("zero", "one", "two", "tree")
        assert answer[0]["ms"] > 0
    assert found[4] is None


def said(*lines: str) -> list[str]:
    """Return a command that runs these lines of Python in place of a release."""
    return [sys.executable, "-c", "\n".join(("import sys, json, struct, time", *lines))]


MESSAGE = "t = b'%s'; sys.stdout.buffer.write(struct.pack('>I', len(t)) + t); sys.stdout.flush()"
READY = MESSAGE % '{"task": "classify", "arrays": []}'


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([MESSAGE % '{"error": "no memory", "arrays": []}'], "was not ready: no memory"),
        (["sys.exit(3)"], "was not ready: it ended with code 3"),
        (["import os; os.kill(os.getpid(), 11)"], "was not ready: it crashed with SIGSEGV"),
        (["sys.stdout.write('abc')"], "was not ready: it ended with code 0"),
        (["time.sleep(60)"], "was not ready within 0.5 s"),
    ],
)
def test_a_release_that_does_not_get_ready_says_why(lines: list[str], error: str) -> None:
    release = Answers("old", said(*lines))
    try:
        with pytest.raises(EngineError, match=f"the old release {error}"):
            release.task(0.5 if "within" in error else 20.0)
    finally:
        release.close()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("sys.stdin.close()", "did not answer frame 1"),
        ("time.sleep(60)", "did not answer frame 1 within 0.5 s"),  # with its pipe full
    ],
)
def test_a_release_that_does_not_take_a_frame_says_why(line: str, error: str) -> None:
    release = Answers("new", said(READY, line))
    try:
        assert release.task(20.0) == "classify"
        with pytest.raises(EngineError, match=f"the new release {error}"):
            release.answer(np.zeros((1080, 1920, 3), np.uint8), 0.5)
    finally:
        release.close()


class Silent:
    """A camera that gives nothing until it is interrupted."""

    uri = "camera:0"

    def __init__(self) -> None:
        import threading

        self._over = threading.Event()

    def read(self) -> Frame | None:
        self._over.wait(20)
        return None

    def interrupt(self) -> None:
        self._over.set()


def test_a_camera_that_gives_nothing_is_not_waited_for() -> None:
    with pytest.raises(SourceError, match=r"camera:0: no frame came within 0.1 s"):
        _read(Silent(), 0.1)  # type: ignore[arg-type]


def test_a_source_without_a_frame_is_no_comparison(tmp_path: Path) -> None:
    ready = said(READY, "sys.stdin.read()")
    request = Request("synthetic:noise?frames=1", 0, ready, ready)
    with pytest.raises(SourceError, match="no frame"):
        compare(request)


def test_frames_with_nothing_in_them_are_counted_apart() -> None:
    answer = json.dumps({"facts": {"labels": []}, "ms": 1.5, "arrays": [["<f8", [0, 4]]]})
    loop = f"for _ in range(5): {MESSAGE % answer}"
    nothing = said(READY.replace("classify", "detect"), loop, "sys.stdin.read()")
    found = compare(Request("synthetic:noise?width=32&height=24", 5, nothing, nothing))
    assert (found["frames"], found["judged"], found["agreement"]) == (5, 0, 1.0)
    assert found["ms"] == {"old": 1.5, "new": 1.5}
    assert "neither found anything in 5 frames: that says little" in found["notes"]
