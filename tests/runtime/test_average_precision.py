"""COCO's average precision, against figures of pycocotools 2.0.11 on the same random scenes."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.evaluate._average_precision import AREAS, MOST, AveragePrecision, Found, Things
from tests.runtime.detection_cases import scene

# COCOeval.stats[:6]: mAP, AP50, AP75, mAP of small, medium and large things. The last of the
# scenes has more boxes of one class in a picture than count. (60 such scenes were compared: the
# largest difference was 6e-16.)
PYCOCOTOOLS = {
    (0, 12, 4, 14): (0.368549512, 0.598510279, 0.411853683, 0.528508863, 0.369946561, 0.333067735),
    (1, 3, 1, 30): (0.217492681, 0.368496928, 0.218226227, 0.346889026, 0.230230762, 0.295833333),
    (2, 40, 4, 6): (0.288206284, 0.467079811, 0.374029388, 0.431059664, 0.257828107, 0.65),
    (9, 2, 2, 150): (0.333865068, 0.598635698, 0.346739927, 0.371297566, 0.360785455, 0.198774013),
}


def collected(images: list[tuple[Things, Found]]) -> AveragePrecision:
    found = AveragePrecision()
    for things, boxes in images:
        found.add(things, boxes)
    return found


@pytest.mark.parametrize("case", PYCOCOTOOLS)
def test_against_pycocotools(case: tuple[int, int, int, int]) -> None:
    precision = collected(scene(*case))
    figures = precision.figures()
    sizes = [precision.figures(None, name).mean() for name in list(AREAS)[1:]]
    mine = (figures.mean(), figures[0], figures[5], *sizes)
    assert mine == pytest.approx(PYCOCOTOOLS[case], abs=1e-8)


def test_the_last_scene_has_more_boxes_than_count() -> None:
    assert any((found.classes == 0).sum() > MOST for _, found in scene(9, 2, 2, 150))


@pytest.mark.parametrize("among", AREAS)
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_images_that_occur_more_often(seed: int, among: str) -> None:
    """As if the images stood there twice, thrice, or not at all."""
    images = scene(seed)
    times = np.random.default_rng(seed).integers(0, 4, len(images))
    repeated = [image for image, count in zip(images, times, strict=True) for _ in range(count)]
    weighted = collected(images).figures(times.astype(float), among)
    expected = collected(repeated).figures(None, among)
    # Equal scores are taken in another order, which is all that may differ.
    assert weighted == pytest.approx(expected, abs=0.02)
    distinct = [
        (things, Found(f.boxes, f.scores + np.random.default_rng(i).random(len(f.scores)) / 50,
                       f.classes))
        for i, (things, f) in enumerate(images)
    ]  # fmt: skip
    once = [image for image, count in zip(distinct, times > 0, strict=True) if count]
    weighted = collected(distinct).figures((times > 0).astype(float), among)
    assert weighted == pytest.approx(collected(once).figures(None, among), abs=1e-12)


def things(*boxes: tuple[float, ...], crowd: bool = False) -> Things:
    corners = np.array(boxes, float).reshape(-1, 4)
    count = len(corners)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    return Things(corners, np.zeros(count, int), np.full(count, crowd), areas)


def boxes(*rows: tuple[float, ...]) -> Found:
    array = np.array(rows, float).reshape(-1, 5)
    return Found(array[:, :4], array[:, 4], np.zeros(len(array), int))


def test_what_is_perfect_and_what_finds_nothing() -> None:
    there = things((0, 0, 50, 50), (100, 100, 180, 150))
    perfect = boxes((0, 0, 50, 50, 0.4), (100, 100, 180, 150, 0.9))
    assert collected([(there, perfect)]).figures() == pytest.approx(1)
    assert collected([(there, boxes())]).figures().tolist() == [0] * 10
    assert collected([(there, boxes((300, 300, 350, 350, 0.9)))]).figures().tolist() == [0] * 10


def test_where_there_is_nothing_to_find() -> None:
    for images in ([], [(things(), boxes())], [(things(), boxes((0, 0, 9, 9, 0.9)))]):
        assert np.isnan(collected(images).figures()).all()
    crowd = things((0, 0, 50, 50), crowd=True)
    assert np.isnan(collected([(crowd, boxes((0, 0, 9, 9, 0.9)))]).figures()).all()


def test_boxes_in_a_crowd_are_not_counted() -> None:
    alone, mass = things((200, 200, 240, 240)), things((0, 0, 100, 100), crowd=True)
    both = Things(*(np.concatenate([getattr(alone, k), getattr(mass, k)])
                    for k in ("boxes", "classes", "crowd", "areas")))  # fmt: skip
    right = (200, 200, 240, 240, 0.5)
    within = [(x, 10, x + 20, 40, 0.9) for x in (0, 30, 60)]
    assert collected([(both, boxes(right, *within))]).figures() == pytest.approx(1)
    assert collected([(alone, boxes(right, *within))]).figures()[0] == pytest.approx(0.25)


def test_the_second_box_of_a_thing_is_wrong() -> None:
    there = things((0, 0, 50, 50), (100, 0, 150, 50))
    twice = boxes((0, 0, 50, 50, 0.9), (1, 0, 51, 50, 0.8), (100, 0, 150, 50, 0.7))
    # Half of the recall at a precision of 1, the rest at 2/3.
    expected = (51 + 50 * 2 / 3) / 101
    assert collected([(there, twice)]).figures()[0] == pytest.approx(expected)


def test_more_after_the_figures_were_read() -> None:
    images = scene(0)
    precision = collected(images[:6])
    before = precision.figures()
    for image in images[6:]:
        precision.add(*image)
    assert precision.figures() == pytest.approx(collected(images).figures())
    assert precision.figures()[0] != before[0]
