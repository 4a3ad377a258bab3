"""Detectors against each other and the truth; and real ones against their published figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import DataError, GateError
from runtime.contract import InputContract
from runtime.datasets import images, open_dataset
from runtime.datasets.base import Box, Boxes, Truth
from runtime.evaluate import Judged, Seen, start, terms
from runtime.evaluate._average_precision import Found, Things
from runtime.evaluate.detection import found, hits, pairs
from runtime.preprocess import normalize, prepare
from runtime.tasks import decoder, follower

SIDE = 320
Row = tuple[float, float, float, float, float, int]


def outputs(*rows: Row) -> list[np.ndarray]:
    """As end-to-end YOLOs answer: left, top, right, bottom, score, class."""
    array = np.zeros((1, 20, 6), np.float32)
    if rows:
        array[0, : len(rows)] = rows
    return [array]


def comparer(**decoder: Any) -> Any:
    contract = InputContract(SIDE, SIDE)
    return start("detect", Judged(("boxes",), contract, (), {"name": "yolov10", **decoder}))


def seen(*boxes: tuple[float, ...], to_model: Callable[[int], int] = int) -> Seen:
    truth = Boxes(tuple(Box(int(index), *corners) for *corners, index in boxes))
    return Seen(np.zeros((SIDE, SIDE, 3), np.uint8), None, truth, to_model)


CAT, DOG = (10, 10, 60, 60, 0.9, 0), (100, 100, 180, 150, 0.8, 1)
TRUTH = ((10, 10, 60, 60, 0), (100, 100, 180, 150, 1))


def judged(*samples: tuple[list[np.ndarray], list[np.ndarray], Seen], **options: Any) -> Any:
    comparison = comparer(**options)
    for sample in samples:
        comparison.add(*sample)
    return json.loads(json.dumps(comparison.result().to_json(), allow_nan=False))


def test_what_is_perfect() -> None:
    both = outputs(CAT, DOG)
    result = judged(*[(both, both, seen(*TRUTH))] * 3)
    assert result["n"] == 3
    assert result["metric"] == "mAP"
    for model in ("reference", "artifact"):
        values = {key: figure["value"] for key, figure in result[model].items()}
        assert values == pytest.approx({"map": 1, "ap50": 1, "recall": 1, "precision": 1})
    assert result["drop"] == {"value": 0, "low": 0, "high": 0, "confidence": 0.95}
    assert result["agreement"]["value"] == 1
    assert result["outputs"][0]["name"] == "boxes"
    assert result["areas"][0]["large"] is None
    assert result["areas"][0]["medium"] == pytest.approx(1)


def test_what_an_artifact_loses() -> None:
    """Of four images it misses the dog in two, and sees a third thing in one."""
    stray = (200, 200, 240, 240, 0.7, 0)
    answers = [outputs(CAT, DOG), outputs(CAT), outputs(CAT), outputs(CAT, DOG, stray)]
    result = judged(*[(outputs(CAT, DOG), answer, seen(*TRUTH)) for answer in answers])
    assert result["artifact"]["recall"]["value"] == pytest.approx(6 / 8)
    assert result["artifact"]["precision"]["value"] == pytest.approx(6 / 7)
    assert result["agreement"]["value"] == pytest.approx(6 / 9)
    # The dogs: recall of half at precision 1, which is 51 of 101 recalls.
    expected = (1 + 51 / 101) / 2
    assert result["artifact"]["map"]["value"] == pytest.approx(expected)
    drop = result["drop"]
    assert drop["value"] == pytest.approx(100 * (1 - expected))
    assert 0 <= drop["low"] < drop["value"] < drop["high"] <= 50


def test_what_is_not_shown_counts_for_map_alone() -> None:
    faint = (*DOG[:4], 0.1, 1)
    result = judged((outputs(CAT, DOG), outputs(CAT, faint), seen(*TRUTH)))
    assert result["drop"]["value"] == pytest.approx(0)
    assert result["artifact"]["recall"]["value"] == 0.5
    assert result["agreement"]["value"] == 0.5
    result = judged((outputs(CAT, DOG), outputs(CAT, faint), seen(*TRUTH)), score=0.05)
    assert result["artifact"]["recall"]["value"] == 1


def test_classes_are_the_models() -> None:
    """The data set numbers cats 7 and dogs 8."""
    truth = [(*row[:4], row[4] + 7) for row in TRUTH]
    both = outputs(CAT, DOG)
    result = judged((both, both, seen(*truth, to_model=lambda label: label - 7)))
    assert result["artifact"]["map"]["value"] == pytest.approx(1)
    assert judged((both, both, seen(*truth)))["artifact"]["map"]["value"] == 0


def test_without_truth_there_is_agreement_alone() -> None:
    """And without any box not even that."""
    blank = Seen(np.zeros((SIDE, SIDE, 3), np.uint8))
    result = judged((outputs(CAT, DOG), outputs(CAT), blank))
    assert (result["metric"], result["reference"], result["drop"]) == (None, None, None)
    assert result["agreement"]["value"] == 0.5
    result = judged((outputs(), outputs(), blank))
    assert result["agreement"] is None
    assert result["n"] == 1


def test_images_without_things() -> None:
    result = judged((outputs(), outputs(), seen()))
    assert result["reference"] == dict.fromkeys(("map", "ap50", "recall", "precision"))
    assert result["drop"] is None
    result = judged((outputs(), outputs(), seen()), (outputs(CAT), outputs(CAT), seen(TRUTH[0])))
    assert result["reference"]["map"]["value"] == pytest.approx(1)


def test_what_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="at least one sample"):
        comparer().result()
    some = comparer()
    some.add(outputs(CAT), outputs(CAT), seen(TRUTH[0]))
    some.add(outputs(CAT), outputs(CAT), Seen(np.zeros((SIDE, SIDE, 3), np.uint8)))
    with pytest.raises(DataError, match="1 of 2 images have boxes"):
        some.result()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([np.full((1, 20, 6), np.nan, np.float32)], "artifact is not finite"),
        ([np.zeros((1, 10, 6), np.float32)], "has shape"),
    ],
)
def test_an_artifact_that_fails(answer: list[np.ndarray], message: str) -> None:
    with pytest.raises(GateError, match=message):
        comparer().add(outputs(CAT), answer, seen())


def test_finite_outputs_that_mean_nothing() -> None:
    """A size of e^200: a fault of the artifact, not of ours."""
    contract = InputContract(SIDE, SIDE)
    comparison = start("detect", Judged(("y",), contract, (), {"name": "yolox"}))
    good = np.zeros((1, 2100, 6), np.float32)
    bad = good.copy()
    bad[..., 2:] = 200
    with pytest.raises(GateError, match="not finite"):
        comparison.add([good], [bad], seen())


def test_hits_and_crowds() -> None:
    """A crowd is nothing to be found; in it nothing is wrong; twice the same is."""
    boxes = np.array([[0.0, 0, 40, 40], [100, 100, 200, 200]])
    things = Things(boxes, np.zeros(2, int), np.array([False, True]), np.ones(2))
    shown = np.array([[0, 0, 40, 40], [1, 0, 40, 40], [110, 110, 130, 130], [0, 300, 9, 309]])
    labels = np.zeros(4, np.int64)
    assert hits(things, Found(shown.astype(float), np.ones(4), labels)) == (1, 3, 1)
    other = Found(shown.astype(float), np.ones(4), labels + 1)
    assert hits(things, other) == (1, 4, 0)


def test_pairs_are_of_one_class_and_overlap_the_most() -> None:
    boxes = np.array([[0.0, 0, 40, 40], [10, 0, 50, 40]])
    one = Found(boxes, np.ones(2), np.zeros(2, int))
    assert sorted(pairs(one, Found(boxes[::-1], np.ones(2), np.zeros(2, int)))) == [(0, 1), (1, 0)]
    assert pairs(one, Found(boxes, np.ones(2), np.ones(2, int))) == []


def test_terms() -> None:
    told = terms("detect")
    assert (told.truth, told.lost, told.agreement) == (Boxes, "points", "boxes")


Net = tuple[Callable[[np.ndarray], list[np.ndarray]], tuple[str, ...]]


@pytest.fixture
def net(model_pack: Path) -> Callable[[str], Net]:
    """Return a function that opens a detector of the pack: what runs it, and its outputs."""
    onnxruntime = pytest.importorskip("onnxruntime")

    def opened(name: str) -> Net:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        path = model_pack / "detection" / "weights" / f"{name}.onnx"
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        names = tuple(output.name for output in session.get_outputs())
        return lambda batch: session.run(None, {given.name: batch}), names

    return opened


def answers(
    net: Net, contract: InputContract, data: Path
) -> Iterator[tuple[Path, Truth | None, np.ndarray, list[np.ndarray]]]:
    for sample, image in images(open_dataset(data)):
        batch = prepare(image, contract)[None]
        yield sample.path, sample.truth, image, net[0](normalize(batch, contract))


@pytest.mark.models
def test_fastestdet(net: Callable[[str], Net], model_pack: Path) -> None:
    """The figures of the pack are of boxes that reach beyond the frame. Cut there, as they are on
    a device, they fit better."""
    contract = InputContract(352, 352, color="BGR")
    fastest = net("FastestDet")
    spec = {"name": "fastestdet"}
    whole = start("detect", Judged(fastest[1], contract, (), {**spec, "clip": False}))
    cut = start("detect", Judged(fastest[1], contract, (), spec))
    for _, truth, image, given in answers(fastest, contract, model_pack / "detection/coco_val"):
        for comparison in (whole, cut):
            comparison.add(given, given, Seen(image, None, truth))
    figures = [comparison.result().to_json()["artifact"] for comparison in (whole, cut)]
    values = [[round(figure[key]["value"], 4) for key in ("map", "ap50")] for figure in figures]
    assert values == [[0.2338, 0.4208], [0.2666, 0.4325]]


FACES = {
    "yunet_n_640_640": ("yunet", InputContract(640, 640, "BGR", "letterbox", pad_value=0, scale=1)),
    "version-RFB-320": ("rfb", InputContract(240, 320, scale=1, mean=(127,), std=(128,))),
    "version-RFB-320_simplified": (
        "ssd", InputContract(240, 320, scale=1, mean=(127,), std=(128,))),
}  # fmt: skip


@pytest.mark.models
@pytest.mark.parametrize("name", FACES)
def test_faces(name: str, net: Callable[[str], Net], model_pack: Path) -> None:
    """Recall and precision at a score of 0.7, overlaps above 0.4: YuNet 1.000 and 0.986, RFB 0.956
    and 1.000; and RFB without the decoding of its boxes in the net the same."""
    kind, contract = FACES[name]
    detector, faces = net(name), model_pack / "detection" / "faces"
    truth = json.loads((faces / "consensus_boxes.json").read_text())
    decode = decoder("detect", {"name": kind, "score": 0.7})
    total = np.zeros(3, int)
    for path, _, image, outputs in answers(detector, contract, faces / "images"):
        boxes = np.array(truth[path.name], float).reshape(-1, 4)
        none = np.zeros(len(boxes), int)
        things = Things(boxes, none, none.astype(bool), none.astype(float))
        context = Judged(detector[1], contract).context(image)
        total += hits(things, found(decode, outputs, context), 0.4)
    things_there, shown, right = total.tolist()
    assert things_there == 137
    expected = (1.0, 0.986) if kind == "yunet" else (0.956, 1.0)
    assert (round(right / things_there, 3), round(right / shown, 3)) == expected


@pytest.mark.models
def test_landmarks_lie_in_faces(net: Callable[[str], Net], model_pack: Path) -> None:
    """Eyes above the mouth, the right eye (of the person) left of the left one, all in the box."""
    kind, contract = FACES["yunet_n_640_640"]
    detector = net("yunet_n_640_640")
    decode = decoder("detect", {"name": kind, "score": 0.7})
    plausible = count = 0
    for _, _, image, outputs in answers(detector, contract, model_pack / "detection/faces/images"):
        context = Judged(detector[1], contract).context(image)
        for item in decode(outputs, context).items:  # type: ignore[attr-defined]
            points = np.array(item.points)
            inside = (points > item.box[:2]).all() and (points < item.box[2:]).all()
            count += 1
            plausible += inside and points[:2, 1].max() < points[3:, 1].min()
    assert count > 130
    assert plausible > 0.9 * count


@pytest.mark.models
def test_people_keep_their_ids(net: Callable[[str], Net], model_pack: Path) -> None:
    """Two people walk through the picture, one after the other, among a dozen things that the net
    sees in a wall; every second frame of a film of ten per second."""
    cv2 = pytest.importorskip("cv2")
    contract = InputContract(352, 352, color="BGR")
    run, names = net("FastestDet")
    decode, follow = decoder("detect", {"name": "fastestdet", "score": 0.3}), follower("detect")
    film = cv2.VideoCapture(str(model_pack / "video" / "one-by-one-person-detection.mp4"))
    seen_ids: dict[int, int | None] = {}
    for index in range(448):
        image = film.read()[1]
        if index % 2 or index < 40:
            continue
        outputs = run(normalize(prepare(image, contract)[None], contract))
        result = decode(outputs, Judged(names, contract).context(image))
        items = follow(result, index * 10**8).items  # type: ignore[attr-defined]
        people = [item for item in items if item.index == 0 and item.score > 0.4]
        if people:
            largest = max(people, key=lambda item: item.right - item.left)
            seen_ids[index] = largest.id
    film.release()
    first = {identity for index, identity in seen_ids.items() if 64 <= index <= 190}
    second = {identity for index, identity in seen_ids.items() if 232 <= index <= 444}
    assert len(first) == len(second) == 1
    assert None not in first | second
    assert first != second
