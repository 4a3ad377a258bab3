"""Every decoder, against its family's formulas as plain loops; and what is said of one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import EngineError, RequestError
from runtime.contract import InputContract
from runtime.decoders import Candidates, Given, find, known, merged, said, written
from runtime.tasks.base import TaskContext

HEIGHT, WIDTH = 64, 96
Row = tuple[float, float, float, float, float, int]
"""Left, top, right, bottom, score, class."""


def context(labels: tuple[str, ...] = (), height: int = HEIGHT, width: int = WIDTH) -> TaskContext:
    return TaskContext(labels, InputContract(height, width), height, width)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def around(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def decoded(name: str, outputs: list[np.ndarray], **options: Any) -> Candidates:
    head = find(name)
    return head.decode(outputs, context(), {"score": 0.3, **head.options, **options})


def check(found: Candidates, rows: list[Row], tolerance: float = 1e-4) -> None:
    """The same candidates, in whatever order."""
    assert len(rows) > 3, "the case says something"
    mine = np.column_stack([found.boxes, found.scores, found.classes])
    key = np.lexsort(np.round(mine.T, 3))
    expected = np.array(rows)
    other = np.lexsort(np.round(expected.T, 3))
    np.testing.assert_allclose(mine[key], expected[other], atol=tolerance)


def cells(stride: int) -> list[tuple[int, int]]:
    return [(x, y) for y in range(math.ceil(HEIGHT / stride)) for x in range(-(-WIDTH // stride))]


def probabilities(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.random(shape) ** 2).astype(np.float32)


def test_fastestdet() -> None:
    rng = np.random.default_rng(0)
    rows, columns = 4, 6
    out = rng.normal(0, 1.5, (1, 5 + 3, rows, columns)).astype(np.float32)
    out[0, 0], out[0, 5:] = probabilities(rng, rows, columns), probabilities(rng, 3, rows, columns)
    expected: list[Row] = []
    for y in range(rows):
        for x in range(columns):
            objectness, dx, dy, w, h, *classes = out[0, :, y, x].tolist()
            score = objectness**0.6 * max(classes) ** 0.4
            if score >= 0.3:
                box = around(
                    (math.tanh(dx) + x) / columns * WIDTH,
                    (math.tanh(dy) + y) / rows * HEIGHT,
                    sigmoid(w) * WIDTH,
                    sigmoid(h) * HEIGHT,
                )
                expected.append((*box, score, classes.index(max(classes))))
    check(decoded("fastestdet", [out]), expected)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("multi_label", [False, True])
def test_yolov8(turned: bool, normalized: bool, multi_label: bool) -> None:
    rng = np.random.default_rng(1)
    count = 8 * 12 + 4 * 6 + 2 * 3
    places, scores = rng.uniform(0, 60, (count, 4)), probabilities(rng, count, 5)
    unit = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) if normalized else np.ones(4)
    out = np.concatenate([places / unit, scores], axis=1).astype(np.float32)[None]
    expected: list[Row] = []
    for place, classes in zip(places.tolist(), scores.tolist(), strict=True):
        chosen = range(5) if multi_label else [classes.index(max(classes))]
        expected += [(*around(*place), classes[i], i) for i in chosen if classes[i] >= 0.3]
    outputs = [out.transpose(0, 2, 1) if turned else out]
    found = decoded("yolov8", outputs, normalized=normalized, multi_label=multi_label)
    check(found, expected)


def test_yolov8_with_more_classes_than_boxes() -> None:
    """90 columns and 30 rows: the size of the model tells which are which."""
    rng = np.random.default_rng(2)
    out = np.concatenate([rng.uniform(0, 60, (1, 126, 4)), probabilities(rng, 1, 126, 200)], axis=2)
    for form in (out, out.transpose(0, 2, 1)):
        found = decoded("yolov8", [form.astype(np.float32)])
        assert found.classes.max() > 126 > len(found.boxes) - 1


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_yolov5_decoded(normalized: bool, beside: bool) -> None:
    """As exported, and with the raw heads beside it."""
    rng = np.random.default_rng(3)
    places, scores = rng.uniform(0, 60, (200, 4)), probabilities(rng, 200, 4) ** 0.5
    unit = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) if normalized else np.ones(4)
    out = np.concatenate([places / unit, scores], axis=1).astype(np.float32)[None]
    expected: list[Row] = []
    for place, (objectness, *classes) in zip(places.tolist(), scores.tolist(), strict=True):
        score = objectness * max(classes)
        if score >= 0.3:
            expected.append((*around(*place), score, classes.index(max(classes))))
    more = [np.zeros((1, 3, size, size, 8), np.float32) for size in (8, 4, 2)]
    outputs = [out, *more] if beside else [out]
    check(decoded("yolov5", outputs, normalized=normalized), expected)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_yolov5_raw(flat: bool, order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    head = find("yolov5")
    outputs, expected = [], []
    for stride, anchors in zip((8, 16, 32), head.options["anchors"], strict=True):
        rows, columns = HEIGHT // stride, WIDTH // stride
        out = rng.normal(0, 1.5, (1, 3, rows, columns, 5 + 2)).astype(np.float32)
        for a in range(3):
            for y in range(rows):
                for x in range(columns):
                    tx, ty, tw, th, objectness, *classes = map(sigmoid, out[0, a, y, x].tolist())
                    score = objectness * max(classes)
                    if score >= 0.3:
                        box = around(
                            (2 * tx - 0.5 + x) * stride,
                            (2 * ty - 0.5 + y) * stride,
                            (2 * tw) ** 2 * anchors[2 * a],
                            (2 * th) ** 2 * anchors[2 * a + 1],
                        )
                        expected.append((*box, score, classes.index(max(classes))))
        spread = out.transpose(0, 1, 4, 2, 3).reshape(1, 3 * 7, rows, columns)
        outputs.append(spread if flat else out)
    check(decoded("yolov5", [outputs[i] for i in order]), expected, 1e-3)


def test_yolov10() -> None:
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 60, (50, 2))
    boxes = np.concatenate([corner, corner + 9], axis=1)
    scores, classes = rng.random(50), rng.integers(0, 7, 50)
    for normalized in (False, True):
        unit = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT]) if normalized else np.ones(4)
        out = np.column_stack([boxes / unit, scores, classes]).astype(np.float32)[None]
        expected = [
            (*box, score, index)
            for box, score, index in zip(boxes.tolist(), scores, classes, strict=True)
            if score >= 0.3
        ]
        check(decoded("yolov10", [out], normalized=normalized), expected)


def test_yolox() -> None:
    rng = np.random.default_rng(6)
    places = [(x, y, stride) for stride in (8, 16, 32) for x, y in cells(stride)]
    out = rng.normal(0, 0.7, (1, len(places), 5 + 3)).astype(np.float32)
    out[..., 4:] = probabilities(rng, 1, len(places), 4) ** 0.5
    expected: list[Row] = []
    for (x, y, stride), row in zip(places, out[0].tolist(), strict=True):
        tx, ty, tw, th, objectness, *classes = row
        score = objectness * max(classes)
        if score >= 0.3:
            box = around(
                (tx + x) * stride, (ty + y) * stride, math.exp(tw) * stride, math.exp(th) * stride
            )
            expected.append((*box, score, classes.index(max(classes))))
    check(decoded("yolox", [out]), expected)


@pytest.mark.parametrize("seed", [7, 8])
def test_yunet(seed: int) -> None:
    """Outputs in any order; landmarks beside the boxes."""
    rng = np.random.default_rng(seed)
    outputs, rows, marks = [], [], {}
    for stride in (8, 16, 32):
        count = len(cells(stride))
        classes, objects = probabilities(rng, 2, 1, count, 1) ** 0.5
        box = rng.normal(0, 0.6, (1, count, 4)).astype(np.float32)
        points = rng.normal(0, 0.6, (1, count, 10)).astype(np.float32)
        outputs += [classes, objects, box, points]
        for i, (x, y) in enumerate(cells(stride)):
            score = math.sqrt(float(classes[0, i, 0]) * float(objects[0, i, 0]))
            if score >= 0.3:
                tx, ty, tw, th = box[0, i].tolist()
                place = around(
                    (tx + x) * stride,
                    (ty + y) * stride,
                    math.exp(tw) * stride,
                    math.exp(th) * stride,
                )
                rows.append((*place, score, 0))
                pairs = points[0, i].reshape(5, 2).tolist()
                marks[round(score, 5)] = [((u + x) * stride, (v + y) * stride) for u, v in pairs]
    rng.shuffle(outputs)
    found = decoded("yunet", outputs)
    check(found, rows)
    assert found.points is not None
    for score, points in zip(found.scores.tolist(), found.points, strict=True):
        np.testing.assert_allclose(points, marks[round(score, 5)], atol=1e-4)


@pytest.mark.parametrize("boxes_first", [False, True])
def test_rfb(boxes_first: bool) -> None:
    rng = np.random.default_rng(9)
    boxes, scores = rng.random((1, 60, 4)), probabilities(rng, 1, 60, 3)
    expected = [
        (box[0] * WIDTH, box[1] * HEIGHT, box[2] * WIDTH, box[3] * HEIGHT, row[i], i - 1)
        for box, row in zip(boxes[0].tolist(), scores[0].tolist(), strict=True)
        for i in (1, 2)
        if row[i] >= 0.3
    ]
    outputs = [boxes.astype(np.float32), scores]
    check(decoded("rfb", outputs if boxes_first else outputs[::-1]), expected)


def test_ssd_raw() -> None:
    """Squares and oblongs on two grids, the second not of whole cells."""
    rng = np.random.default_rng(10)
    strides, priors = [16, 40], [[10, 20], [[30, 50]]]
    places = []
    for stride, sizes in zip(strides, priors, strict=True):
        rows, columns = math.ceil(HEIGHT / stride), math.ceil(WIDTH / stride)
        for y in range(rows):
            for x in range(columns):
                for size in sizes:
                    w, h = size if isinstance(size, list) else (size, size)
                    places.append(((x + 0.5) / columns, (y + 0.5) / rows, w / WIDTH, h / HEIGHT))
    places = [tuple(min(max(part, 0), 1) for part in place) for place in places]
    offsets = rng.normal(0, 1, (1, len(places), 4)).astype(np.float32)
    scores = probabilities(rng, 1, len(places), 3) ** 0.7
    expected: list[Row] = []
    for (px, py, pw, ph), (tx, ty, tw, th), row in zip(
        places, offsets[0].tolist(), scores[0].tolist(), strict=True
    ):
        box = around(
            (px + 0.1 * tx * pw) * WIDTH,
            (py + 0.1 * ty * ph) * HEIGHT,
            pw * math.exp(0.2 * tw) * WIDTH,
            ph * math.exp(0.2 * th) * HEIGHT,
        )
        expected += [(*box, row[i], i - 1) for i in (1, 2) if row[i] >= 0.3]
    check(decoded("ssd", [scores, offsets], strides=strides, priors=priors), expected)
    with pytest.raises(RequestError, match="state its own"):
        decoded("ssd", [scores, offsets])


@pytest.mark.parametrize("tensorflow", [1, 2])
def test_ssd_of_tflites_operator(tensorflow: int) -> None:
    rng = np.random.default_rng(11)
    boxes = rng.random((1, 10, 4)).astype(np.float32)
    scores = np.sort(rng.random((1, 10)).astype(np.float32))[:, ::-1]
    classes = rng.integers(0, 90, (1, 10)).astype(np.float32)
    count = np.array([8], np.float32)
    first = [boxes, classes, scores, count]
    outputs = first if tensorflow == 1 else [scores, boxes, count, classes]
    expected = [
        (box[1] * WIDTH, box[0] * HEIGHT, box[3] * WIDTH, box[2] * HEIGHT, score, int(index))
        for box, score, index in zip(boxes[0].tolist(), scores[0], classes[0], strict=True)
        if score >= 0.3
    ][:8]
    check(decoded("ssd", outputs), expected)
    with pytest.raises(RequestError, match="whole numbers"):
        decoded("ssd", [boxes, scores, classes, count], score=0.0)


SHAPES: dict[str, list[tuple[int, ...]]] = {
    "fastestdet": [(1, 8, 4, 6)],
    "rfb": [(1, 60, 4), (1, 60, 3)],
    "ssd": [(1, 4420, 4), (1, 4420, 2)],
    "yolov10": [(1, 50, 6)],
    "yolov5": [(1, 50, 8)],
    "yolov8": [(1, 126, 8)],
    "yolox": [(1, 126, 8)],
    "yunet": [(1, n, c) for n in (96, 24, 6) for c in (1, 1, 4, 10)],
}


def test_every_decoder_is_known() -> None:
    assert known() == sorted(SHAPES)


def run(name: str, outputs: list[np.ndarray], labels: tuple[str, ...] = ()) -> Candidates:
    head = find(name)
    size = (240, 320) if name == "ssd" else (HEIGHT, WIDTH)
    return head.decode(outputs, context(labels, *size), {"score": 0.3, **head.options})


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_found(name: str) -> None:
    found = run(name, [np.zeros(shape, np.float32) for shape in SHAPES[name]])
    assert (found.boxes.shape, found.scores.shape, found.classes.shape) == ((0, 4), (0,), (0,))
    assert found.points is None or found.points.shape == (0, 5, 2)


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_not_finite(name: str) -> None:
    """An infinity, too, but where probabilities are cut to 1: there the task finds it in boxes."""
    outputs = [np.full(shape, np.nan, np.float32) for shape in SHAPES[name]]
    with pytest.raises(EngineError, match="not finite"), np.errstate(all="ignore"):
        run(name, outputs)


@pytest.mark.parametrize("name", SHAPES)
def test_another_familys_outputs(name: str) -> None:
    others: list[list[np.ndarray]] = [
        [],
        [np.zeros((1, 10), np.float32)],
        [np.zeros((1, 3, 8, 8, 2, 2), np.float32)],
        [np.zeros((1, 5, 5), np.float32)] * 3,
    ]
    for outputs in others:
        with pytest.raises(RequestError, match=f"decoder {name} reads .* family"):
            run(name, outputs)


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"yolov10"}))
@pytest.mark.parametrize("value", [0.0, 0.9])
def test_labels_that_do_not_fit(name: str, value: float) -> None:
    """Also where nothing is found, so that conversion finds it out."""
    outputs = [np.full(shape, value, np.float32) for shape in SHAPES[name]]
    with pytest.raises(RequestError, match=r"there are 11 labels"):
        run(name, outputs, tuple("abcdefghijk"))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.float16, np.float64])
def test_outputs_of_other_types(kind: Any) -> None:
    out = np.zeros((1, 126, 8), kind)
    out[0, 5] = (40, 30, 20, 10, 0, 1, 0, 0)
    found = run("yolov8", [out])
    assert found.boxes.tolist() == [[30, 25, 50, 35]]
    assert (found.scores.tolist(), found.classes.tolist()) == ([1], [1])


FILE = """
import numpy as np
from runtime.decoders.base import Candidates
OPTIONS = {"stride": 8}
def decode(outputs, context, options):
    rows = outputs[0][0]
    return Candidates(rows[:, :4] * options["stride"], rows[:, 4], np.zeros(len(rows), int))
def dies(outputs, context, options):
    return outputs[7]
def wrong(outputs, context, options):
    return outputs
def ragged(outputs, context, options):
    return Candidates(outputs[0][0], outputs[0][0, :, 4], np.zeros(3, int))
number = 5
"""


@pytest.fixture
def head(tmp_path: Path) -> Callable[[str], Given]:
    (tmp_path / "head.py").write_text(FILE)
    return lambda function: Given(f"{tmp_path / 'head.py'}:{function}")


def test_a_file_of_the_users(head: Callable[[str], Given]) -> None:
    found = find(head("decode"))
    assert found.options == {"stride": 8}
    out = np.array([[[1, 1, 2, 2, 0.5]]], np.float32)
    candidates = found.decode([out], context(), {**found.options, "stride": 4})
    assert candidates.boxes.tolist() == [[4, 4, 8, 8]]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("dies", "failed: IndexError"),
        ("wrong", "returned list; return Candidates"),
        ("ragged", r"returned boxes, scores, classes of shapes \[\(1, 5\), \(1,\), \(3,\)\]"),
    ],
)
def test_faults_in_a_file_of_the_users(
    head: Callable[[str], Given], function: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        find(head(function)).decode([np.ones((1, 1, 5), np.float32)], context(), {})


def test_files_that_are_no_decoders(tmp_path: Path, head: Callable[[str], Given]) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    cases = {
        Given(f"{tmp_path}/none.py:decode"): "no decoder file",
        Given(f"{tmp_path}/broken.py:decode"): "does not import: ModuleNotFoundError",
        head("number"): "no function 'number'",
        head("other"): "no function 'other'",
        str(head("decode")): "a bundle cannot bring along",
        "yolo8": "did you mean",
    }
    for name, message in cases.items():
        with pytest.raises(RequestError, match=message):
            find(name)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("yolov8", {"name": "yolov8"}),
        ("yolov8,score=0.3, iou=0.5", {"name": "yolov8", "score": 0.3, "iou": 0.5}),
        ("score=0.3", {"score": 0.3}),
        ("matte=true,scores=logits", {"matte": True, "scores": "logits"}),
        ('upsample="map"', {"upsample": "map"}),
        ("yolov5,anchors=[[1, 2], [3, 4]],max=9",
         {"name": "yolov5", "anchors": [[1, 2], [3, 4]], "max": 9}),
        ("a/b/head.py:decode,stride=8", {"name": "a/b/head.py:decode", "stride": 8}),
        (None, {}),
        ({"name": "rfb", "score": 0.5}, {"name": "rfb", "score": 0.5}),
    ],
)  # fmt: skip
def test_what_is_said(text: Any, meaning: dict[str, Any]) -> None:
    found = said(text)
    assert found == meaning
    assert isinstance(found.get("name", Given()), Given)
    assert json.loads(json.dumps(found)) == meaning


@pytest.mark.parametrize("text", ["yolov8,score", "yolov8,score=", "yolov8,=3", "a,b=[1", "a,b=1}"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(RequestError, match=r"cannot be read .* write for example"):
        said(text)


def test_what_the_user_says_goes_before_the_bundle() -> None:
    own = {"name": "yolov8", "score": 0.3, "normalized": True}
    assert merged(own, None) == own
    assert merged(own, "score=0.5") == {**own, "score": 0.5}
    assert merged(own, "yolov8,iou=0.6") == {**own, "iou": 0.6}
    assert merged(own, "rfb") == {"name": "rfb"}
    assert merged({}, "rfb,score=0.7") == {"name": "rfb", "score": 0.7}
    filed = {"name": "head.py:decode", "stride": 4}
    found = merged(filed, "/some/where/head.py:decode")
    assert found == {"name": "/some/where/head.py:decode", "stride": 4}
    assert written(found) == filed
    assert written(own) == own
