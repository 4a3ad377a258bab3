"""Task detect: the best candidates, put into the frame; options, faults, what results do."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.errors import EngineError, RequestError
from runtime.contract import InputContract
from runtime.decoders import Given
from runtime.preprocess import prepare
from runtime.tasks import TaskContext, decoder
from runtime.tasks.detect import Detection, Detections, follower

SIDE = 320


def output(*rows: tuple[float, ...]) -> list[np.ndarray]:
    """Centre x, centre y, width, height and scores as YOLOv8 gives them, in 2100 boxes."""
    out = np.zeros((1, 2100, len(rows[0]) if rows else 6), np.float32)
    if rows:
        out[0, : len(rows)] = rows
    return [out.transpose(0, 2, 1)]


def find(
    outputs: list[np.ndarray],
    frame: tuple[int, int] = (SIDE, SIDE),
    labels: tuple[str, ...] = (),
    resize: str = "stretch",
    **options: Any,
) -> tuple[Detection, ...]:
    contract = InputContract(SIDE, SIDE, resize=resize)
    context = TaskContext(labels, contract, *frame)
    result = decoder("detect", {"name": "yolov8", **options})(outputs, context)
    assert isinstance(result, Detections)
    return result.items


ROWS = ((100, 100, 40, 40, 0.9, 0.1), (104, 100, 40, 40, 0.8, 0.0), (102, 98, 40, 40, 0.1, 0.7),
        (250, 200, 20, 60, 0.0, 0.26), (30, 30, 20, 20, 0.2, 0.24))  # fmt: skip


def test_the_best_of_each_class_in_the_order_of_scores() -> None:
    items = find(output(*ROWS), labels=("cat", "dog"))
    assert [(item.label, item.index, round(item.score, 2)) for item in items] == [
        ("cat", 0, 0.9), ("dog", 1, 0.7), ("dog", 1, 0.26)]  # fmt: skip
    assert items[0].box == (80, 80, 120, 120)
    assert items[2].box == (240, 170, 260, 230)


def test_options() -> None:
    outputs = output(*ROWS)
    assert len(find(outputs, score=0.5)) == 2
    assert len(find(outputs, score=0.0, max=3)) == 3
    assert len(find(outputs, class_wise=False)) == 2
    assert len(find(outputs, iou=1)) == 4
    assert len(find(outputs, iou=0.9, score=0.05, multi_label=True)) == 8


def test_labels_are_numbers_where_there_are_none() -> None:
    assert [item.label for item in find(output(*ROWS))] == ["0", "1", "1"]


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 2000),
    width=st.integers(1, 2000),
    model=st.tuples(st.integers(32, 400), st.integers(32, 400)),
    resize=st.sampled_from(["letterbox", "stretch", "center-crop"]),
    share=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_boxes_come_back_where_they_were(
    height: int, width: int, model: tuple[int, int], resize: str, share: tuple[float, ...]
) -> None:
    """A box of the frame, where the model sees it, decodes to the same box of the frame: exactly,
    for what the scale makes of corners is real numbers, whatever the rounding of the picture."""
    contract = InputContract(*model, resize=resize)
    rows, columns, top, left = plan(height, width, contract)
    x, y = sorted(share[:2]), sorted(share[2:])
    box = x[0] * width, y[0] * height, x[1] * width, y[1] * height
    seen = [v * s - o for v, s, o in zip(box, [columns / width, rows / height] * 2,
                                         [left, top] * 2, strict=True)]  # fmt: skip
    row = ((seen[0] + seen[2]) / 2, (seen[1] + seen[3]) / 2, seen[2] - seen[0], seen[3] - seen[1])
    out = np.zeros((1, 6, 4000))
    out[0, :, 0] = (*row, 0.9, 0)
    context = TaskContext((), contract, height, width)
    items = decoder("detect", {"name": "yolov8"})([out], context).items  # type: ignore[attr-defined]
    if box[2] - box[0] > 1e-6 and box[3] - box[1] > 1e-6:
        assert items[0].box == pytest.approx(box, abs=1e-6 * max(width, height))


def plan(height: int, width: int, contract: InputContract) -> tuple[int, int, int, int]:
    """Rows and columns of the resized frame, and where the model's picture begins in it."""
    if contract.resize == "stretch":
        return contract.height, contract.width, 0, 0
    fits = contract.height / height, contract.width / width
    if contract.resize == "letterbox":
        rows, columns = (max(round(side * min(fits)), 1) for side in (height, width))
        rows, columns = min(rows, contract.height), min(columns, contract.width)
        return rows, columns, -((contract.height - rows) // 2), -((contract.width - columns) // 2)
    if contract.height * width >= contract.width * height:
        rows, columns = contract.height, int(contract.height * width / height)
    else:
        rows, columns = int(contract.width * height / width), contract.width
    top, left = round((rows - contract.height) / 2), round((columns - contract.width) / 2)
    return rows, columns, top, left


@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center-crop"])
@pytest.mark.parametrize(
    "frame", [(480, 640), (641, 479), (720, 1280), (321, 333), (319, 317), (1080, 1920)]
)
def test_what_is_drawn_comes_back(frame: tuple[int, int], resize: str) -> None:
    """A white box in the frame, found by its pixels in the prepared picture: half a pixel of the
    model, the most that pixels tell."""
    height, width = frame
    image = np.zeros((height, width, 3), np.uint8)
    top, left = round(height * 0.38), round(width * 0.4)
    bottom, right = round(height * 0.66), round(width * 0.57)
    image[top:bottom, left:right] = 255
    contract = InputContract(SIDE, SIDE, resize=resize, pad_value=0)
    light = prepare(image, contract)[..., 0] / 255
    # The share of a pixel at the border that is light says how far into it the box reaches.
    across, down = light.max(axis=0), light.max(axis=1)
    first = [int(np.flatnonzero(line > 0.5)[0]) for line in (across, down)]
    last = [int(np.flatnonzero(line > 0.5)[-1]) + 1 for line in (across, down)]
    centre = [(a + b) / 2 for a, b in zip(first, last, strict=True)]
    size = [b - a for a, b in zip(first, last, strict=True)]
    (item,) = find(output((*centre, *size, 0.9, 0)), frame, resize=resize)
    scale = {
        "letterbox": [max(frame) / SIDE] * 2,
        "stretch": [width / SIDE, height / SIDE],
        "center-crop": [min(frame) / SIDE] * 2,
    }[resize]
    errors = np.abs(np.array(item.box) - (left, top, right, bottom))
    assert (errors <= 0.5 * np.array(scale * 2) + 0.51).all()


def test_boxes_end_at_the_frame_and_bars_hold_nothing() -> None:
    """A wide frame: 80 pixels of bars above and below."""
    rows = (
        (20, 160, 80, 60, 0.9, 0),
        (160, 40, 60, 60, 0.8, 0),
        (160, 290, 60, 80, 0.7, 0),
        (160, 80, 50, 40, 0.6, 0),
    )
    frame = 160, 320
    items = find(output(*rows), frame, resize="letterbox")
    assert [item.box for item in items] == [(0, 50, 60, 110), (135, 0, 185, 20)]
    free = find(output(*rows), frame, resize="letterbox", clip=False)
    assert free[0].box == (-20, 50, 60, 110)
    assert len(free) == 4


def test_landmarks_are_put_into_the_frame() -> None:
    outputs = []
    for stride in (8, 16, 32):
        count = (SIDE // stride) ** 2
        outputs += [np.zeros((1, count, size), np.float32) for size in (1, 1, 4, 10)]
    at = 5 * 20 + 10  # row 5, column 10 of the second grid
    outputs[4][0, at] = outputs[5][0, at] = 0.81
    outputs[7][0, at] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]
    contract = InputContract(SIDE, SIDE, resize="letterbox")
    decode = decoder("detect", {"name": "yunet"})
    (item,) = decode(outputs, TaskContext(("face",), contract, 640, 320)).items  # type: ignore[attr-defined]
    # The frame is shown at half its size, with 80 pixels of bars at its sides.
    assert item.points == ((160, 160), (192, 160), (176, 176), (160, 192), (192, 192))
    assert item.box == (144, 144, 176, 176)
    assert json.loads(json.dumps(item.to_json()))["points"][1] == [192, 160]


def test_nothing_found_is_a_result() -> None:
    items = find(output())
    assert items == ()
    assert Detections(()).to_json() == {"items": []}
    image = np.zeros((9, 9, 3), np.uint8)
    Detections(()).draw(image)
    assert not image.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_boxes_that_are_not_finite(value: float) -> None:
    row = (100, 100, value, 40, 0.9, 0.1)
    if np.isfinite(value):
        assert len(find(output(row))) == 1
        return
    with pytest.raises(EngineError, match="not finite"):
        find(output(row))
    unlikely = (100, 100, value, 40, 0.1, 0.1)
    assert find(output(unlikely)) == (), "what is not shown harms nobody"


@pytest.mark.parametrize("name", ["yunet", "yolox"])
def test_sizes_that_overflow(name: str) -> None:
    counts = [(SIDE // stride) ** 2 for stride in (8, 16, 32)]
    if name == "yolox":
        outputs = [np.full((1, sum(counts), 7), 200, np.float32)]
        outputs[0][..., 4:] = 0.9
    else:
        sizes = [(count, size) for count in counts for size in (1, 1, 4, 10)]
        outputs = [np.full((1, *size), 200, np.float32) for size in sizes]
    context = TaskContext((), InputContract(SIDE, SIDE), SIDE, SIDE)
    with pytest.raises(EngineError, match="not finite"):
        decoder("detect", {"name": name})(outputs, context)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "task detect needs a decoder"),
        ({"name": "yolo8"}, "did you mean"),
        ({"name": "yolov8", "scor": 0.3}, "has no option 'scor'; did you mean score"),
        ({"name": "yolov8", "score": "high"}, "option score must be a number, not 'high'"),
        ({"name": "yolov8", "score": True}, "option score must be a number"),
        ({"name": "yolov8", "score": 1.5}, "score must be from 0 to 1, not 1.5"),
        ({"name": "yolov8", "score": float("nan")}, "option score must be finite"),
        ({"name": "yolov8", "iou": -1}, "iou must be from 0 to 1"),
        ({"name": "yolov8", "max": 0}, "max must be at least 1"),
        ({"name": "yolov8", "max": 2.0}, "max must be a whole number"),
        ({"name": "yolov8", "normalized": 1}, "normalized must be true or false"),
        ({"name": "yolov5", "anchors": 3}, "anchors must be a list"),
        ({"name": "/tmp/head.py:decode"}, "a bundle cannot bring along"),
        ({"name": 5}, "name must be a text"),
        ({"name": ["yolov8"]}, "name must be a text"),
    ],
)
def test_options_that_there_are_not(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decoder("detect", spec)


def test_tiles_are_refused() -> None:
    """Only the first would be looked at."""
    context = TaskContext((), InputContract(SIDE, SIDE, resize="tile"), 640, 640)
    with pytest.raises(RequestError, match="looks at a whole picture"):
        decoder("detect", {"name": "yolov8"})(output(), context)


def test_a_class_without_a_label() -> None:
    """Where the number of classes is not known before."""
    out = np.array([[[10, 10, 50, 50, 0.9, 7]]], np.float32)
    context = TaskContext(("a", "b"), InputContract(SIDE, SIDE), SIDE, SIDE)
    with pytest.raises(RequestError, match="found class 7, but there are 2 labels"):
        decoder("detect", {"name": "yolov10"})([out], context)


def test_a_decoder_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "head.py"
    path.write_text(
        "import numpy as np\n"
        "from runtime.decoders.base import Candidates\n"
        "OPTIONS = {'wide': 20.0}\n"
        "def decode(outputs, context, options):\n"
        "    rows = outputs[0]\n"
        "    half = options['wide'] / 2\n"
        "    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)\n"
        "    return Candidates(boxes, rows[:, 2], np.zeros(len(rows), int))\n"
    )
    context = TaskContext(("dot",), InputContract(SIDE, SIDE), 2 * SIDE, 2 * SIDE)
    spec = {"name": Given(f"{path}:decode"), "score": 0.5, "wide": 10}
    rows = np.array([[100, 100, 0.9], [200, 200, 0.4]], np.float32)
    (item,) = decoder("detect", spec)([rows], context).items  # type: ignore[attr-defined]
    assert (item.label, item.box) == ("dot", (190, 190, 210, 210))
    for bad in (np.nan, np.inf):
        rows[1, 2] = bad
        with pytest.raises(EngineError, match="not finite"):
            decoder("detect", spec)([rows], context)


THINGS = Detections(
    (
        Detection(3, "bus", 0.91234, 10.123, 20.0, 60.0, 70.0, 7, ((20.0, 30.0), (40.0, 50.0))),
        Detection(0, "dog", 0.5, 100.0, 5.0, 150.0, 90.0),
    )
)


def test_results_are_json_and_frozen() -> None:
    assert json.loads(json.dumps(THINGS.to_json()))["items"][0] == {
        "index": 3, "label": "bus", "score": 0.9123, "left": 10.12, "top": 20.0, "right": 60.0,
        "bottom": 70.0, "id": 7, "points": [[20.0, 30.0], [40.0, 50.0]]}  # fmt: skip
    with pytest.raises(FrozenInstanceError):
        THINGS.items = ()  # type: ignore[misc]
    assert hash(THINGS)


@pytest.mark.parametrize("size", [(96, 160), (1080, 1920), (4, 4)])
def test_drawing(size: tuple[int, int]) -> None:
    """Inside the frame, whatever its size; around the boxes and on the landmarks, and not within
    what they surround."""
    image = np.full((*size, 3), 128, np.uint8)
    THINGS.draw(image)
    assert (image != 128).any()
    if size == (96, 160):
        assert (image[30:33, 19:22] != 128).any(), "a landmark"
        assert (image[44:52, 110:140] == 128).all(), "nothing in the middle of the dog"
        assert (image[60, 98:103] != 128).any(), "its left side"
    far = Detections((replace(THINGS.items[1], left=-5000.0, right=9000.0, bottom=1e6),))
    far.draw(image)


def test_ids_have_colors_of_their_own() -> None:
    same = [replace(THINGS.items[1], id=number) for number in (1, 2, None)]
    images = []
    for item in same:
        image = np.zeros((96, 160, 3), np.uint8)
        Detections((item,)).draw(image)
        images.append(image[60, 100].tolist())
    assert images[0] != images[1]


def test_following_keeps_all_but_the_ids() -> None:
    follow = follower()
    first = follow(THINGS, 0)
    again = follow(Detections(THINGS.items[::-1]), 33_000_000)
    assert isinstance(first, Detections)
    assert isinstance(again, Detections)
    assert [item.id for item in first.items] == [1, 2]
    assert [item.id for item in again.items] == [2, 1]
    assert replace(first.items[0], id=7) == THINGS.items[0]
