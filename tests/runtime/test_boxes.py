"""Overlap and suppression, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.boxes import area, intersection, iou, strongest


def plain_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    own = [max(box[2] - box[0], 0) * max(box[3] - box[1], 0) for box in (a, b)]
    union = sum(own) - shared
    return shared / union if union > 0 else 0.0


def plain_suppression(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray | None, limit: float, most: int
) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if classes is None or classes[k] == classes[index]]
        if all(plain_iou(boxes[k].tolist(), boxes[index].tolist()) <= limit for k in rivals):
            kept.append(index)
    return kept[:most]


def scattered(rng: np.random.Generator, count: int, room: float = 100.0) -> np.ndarray:
    corner = rng.uniform(0, room, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(-1, 30, (count, 2))], axis=1)


def test_overlap_against_loops() -> None:
    rng = np.random.default_rng(0)
    a, b = scattered(rng, 40), scattered(rng, 30)
    expected = [[plain_iou(x, y) for y in b.tolist()] for x in a.tolist()]
    np.testing.assert_allclose(iou(a, b), expected, atol=1e-12)
    assert iou(a, a)[area(a) > 0][:, area(a) > 0].diagonal() == pytest.approx(1)
    np.testing.assert_allclose(intersection(a, a).diagonal()[area(a) > 0], area(a)[area(a) > 0])


def test_overlap_of_nothing() -> None:
    none, point, inside_out = np.zeros((0, 4)), np.zeros((1, 4)), np.array([[5.0, 5, 1, 1]])
    assert iou(none, point).shape == (0, 1)
    assert iou(point, none).shape == (1, 0)
    assert iou(point, point).tolist() == [[0.0]]
    assert area(inside_out).tolist() == [0.0]
    assert iou(inside_out, inside_out).tolist() == [[0.0]]
    touching = np.array([[0.0, 0, 1, 1], [1, 0, 2, 1]])
    assert iou(touching[:1], touching[1:]).tolist() == [[0.0]]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
    classes=st.sampled_from([None, 1, 3]),
    limit=st.sampled_from([0.0, 0.3, 0.45, 1.0]),
    most=st.sampled_from([1, 5, 1000]),
)
def test_suppression_against_loops(
    seed: int, count: int, classes: int | None, limit: float, most: int
) -> None:
    rng = np.random.default_rng(seed)
    boxes = scattered(rng, count, 40)
    scores = rng.integers(0, 8, count) / 8  # with many that are equal
    groups = None if classes is None else rng.integers(0, classes, count)
    kept = strongest(boxes, scores, groups, limit, most)
    assert kept.tolist() == plain_suppression(boxes, scores, groups, limit, most)


def test_suppression_of_more_boxes_than_a_block() -> None:
    rng = np.random.default_rng(1)
    boxes, scores = scattered(rng, 1200, 200), rng.random(1200)
    groups = rng.integers(0, 3, 1200)
    for most in (40, 5000):
        expected = plain_suppression(boxes, scores, groups, 0.4, most)
        assert strongest(boxes, scores, groups, 0.4, most).tolist() == expected


def test_boxes_at_the_limit_both_stay() -> None:
    boxes = np.array([[0.0, 0, 2, 1], [1, 0, 3, 1]])  # a third in common
    scores = np.array([0.5, 0.9])
    assert strongest(boxes, scores, None, 1 / 3, 9).tolist() == [1, 0]
    assert strongest(boxes, scores, None, 0.33, 9).tolist() == [1]
    assert strongest(boxes, scores, np.array([0, 1]), 0.33, 9).tolist() == [1, 0]
