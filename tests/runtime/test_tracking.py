"""Ids of things: through movement, occlusion, missing frames."""

from __future__ import annotations

import numpy as np

from runtime.sources import open_source
from runtime.tasks import follower
from runtime.tasks.detect import Detection, Detections
from runtime.tracking import KEEP_S, SURE, Tracker

FRAME = 1_000_000_000 // 30


def square(x: float, y: float, side: float = 40) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


class Scene:
    """Shows squares to a tracker, at 30 frames per second unless told otherwise."""

    def __init__(self) -> None:
        self.tracker = Tracker()
        self.now = 0

    def show(
        self, *centres: tuple[float, float], frames: float = 1, score: float = 0.9, index: int = 0
    ) -> list[int | None]:
        self.now += round(frames * FRAME)
        boxes = np.array([square(*centre) for centre in centres]).reshape(-1, 4)
        count = len(centres)
        return self.tracker.update(
            boxes, np.full(count, score), np.full(count, index, np.int64), self.now
        )


def test_ids_stay_while_things_move() -> None:
    scene = Scene()
    for step in range(60):
        assert scene.show((50 + 4 * step, 100), (300, 400 - 3 * step)) == [1, 2]


def test_ids_do_not_depend_on_the_order_of_the_boxes() -> None:
    scene = Scene()
    assert scene.show((50, 50), (200, 200)) == [1, 2]
    assert scene.show((202, 200), (50, 52)) == [2, 1]


def test_what_is_new_has_an_id_when_seen_twice_and_a_new_one() -> None:
    scene = Scene()
    scene.show((50, 50))
    assert scene.show((50, 50), (300, 300)) == [1, None]
    assert scene.show((50, 50), (301, 300)) == [1, 2]
    assert scene.show((50, 50)) == [1]
    assert scene.show((50, 50), (150, 150)) == [1, None]
    assert scene.show((50, 50), (150, 150)) == [1, 3]


def test_a_flicker_never_has_an_id_and_wastes_none() -> None:
    scene = Scene()
    scene.show((50, 50))
    for _ in range(5):
        assert scene.show((50, 50), (300, 300)) == [1, None]
        assert scene.show((50, 50)) == [1]
    scene.show((50, 50), (300, 300))
    assert scene.show((50, 50), (300, 300)) == [1, 2]


def test_hidden_for_a_while_it_is_the_same_where_it_must_be() -> None:
    """Half a second behind a post, at 120 pixels per second: two thirds of its size further."""
    scene = Scene()
    for step in range(30):
        assert scene.show((50 + 4 * step, 100)) == [1]
    for _ in range(15):
        assert scene.show() == []
    assert scene.show((50 + 4 * 45, 100)) == [1]


def test_two_that_pass_each_other_keep_their_ids() -> None:
    """One hides the other while they cross, so that only one box is seen."""
    scene = Scene()
    for step in range(41):
        left, right = 100 + 5 * step, 300 - 5 * step
        if abs(left - right) < 30:
            found = scene.show((left, 100))
            assert found in ([1], [2])
        else:
            assert scene.show((left, 100), (right, 100)) == [1, 2]


def test_what_is_away_for_long_is_another_when_it_is_back() -> None:
    scene = Scene()
    scene.show((50, 50))
    scene.show(frames=30 * KEEP_S + 2)
    assert scene.show((50, 50)) == [None]
    assert scene.show((50, 50)) == [2]


def test_dropped_frames_change_nothing() -> None:
    """At 15 pixels per frame, with two to six frames between the pictures: up to 90 pixels, when
    a thing is 40 wide; only time tells where it is."""
    scene = Scene()
    x = 0.0
    for _ in range(20):
        x += 6
        assert scene.show((x, 100), frames=0.4) == [1]
    rng = np.random.default_rng(0)
    for _ in range(40):
        frames = float(rng.integers(2, 7))
        x += 15 * frames
        assert scene.show((x, 100), frames=frames) == [1]


def test_time_that_stands_still_or_runs_back_harms_nothing() -> None:
    scene = Scene()
    for frames in (1, 0, 0, -5, 1, 1):
        assert scene.show((50, 50), (200, 200), frames=frames) == [1, 2]


def test_weak_boxes_keep_ids_but_the_sure_ones_choose_first() -> None:
    scene = Scene()
    scene.show((100, 100))
    assert scene.show((100, 100), score=SURE - 0.2) == [1]
    scene.now += FRAME
    boxes = np.array([square(101, 100), square(106, 100)])
    scores = np.array([SURE - 0.1, SURE + 0.1])
    found = scene.tracker.update(boxes, scores, np.zeros(2, np.int64), scene.now)
    assert found == [None, 1]


def test_a_class_that_wavers_is_one_thing_but_neighbours_are_two() -> None:
    scene = Scene()
    assert scene.show((100, 100), index=2) == [1]
    assert scene.show((100, 100), index=7) == [1]
    assert scene.show((122, 100), index=2) == [None]


def test_nothing_is_never_an_error() -> None:
    scene = Scene()
    for _ in range(3):
        assert scene.show() == []
    assert scene.show((5, 5), (5, 5), (5, 5)) == [1, 2, 3]
    assert sorted(scene.show((5, 5), (5, 5), (5, 5))) == [1, 2, 3]


def test_memory_does_not_grow() -> None:
    """Something new in every frame, for a thousand frames."""
    scene = Scene()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        scene.show(*(tuple(rng.uniform(0, 5000, 2)) for _ in range(3)))
    assert len(scene.tracker._things) < 3 * 30 * KEEP_S


def test_the_scene_with_truth() -> None:
    """The shapes of the synthetic camera, noisy boxes, one in ten frames without one of them."""
    source = open_source("synthetic:shapes?frames=300&seed=5&width=320&height=240")
    follow, rng = follower("detect"), np.random.default_rng(1)
    seen: dict[str, set[int | None]] = {}
    for index in range(300):
        frame = source.read()
        assert frame is not None
        items = [
            Detection(0, label, 0.8, *(np.array(box, float) + rng.normal(0, 1.5, 4)).tolist())
            for label, *box in frame.truth
            if rng.random() > 0.1
        ]
        result = follow(Detections(tuple(items)), index * FRAME)
        assert isinstance(result, Detections)
        for item in result.items:
            seen.setdefault(item.label, set()).add(item.id)
    assert {label: len(ids - {None}) for label, ids in seen.items()} == dict.fromkeys(seen, 1)
    assert len(seen) == 3
