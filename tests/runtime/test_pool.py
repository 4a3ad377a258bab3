"""Pool: memory is used again, and never while anybody can still see it."""

from __future__ import annotations

import queue
import random
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime import pool
from runtime.pool import Pool
from runtime.sources import open_source

COUNTS = pytest.mark.skipif(not pool._COUNTS, reason="this Python has no global lock")


def picture(value: int = 0, shape: tuple[int, ...] = (4, 6, 3)) -> Any:
    return np.full(shape, value, np.uint8)


@COUNTS
def test_memory_comes_back_when_the_last_holder_lets_go() -> None:
    images = Pool()
    assert images.free() is None
    first = picture(1)
    images.keep(first)
    assert images.free() is None
    at, also = id(first), first
    del first
    assert images.free() is None
    del also
    assert id(images.free()) == at
    held = images.free()
    assert images.free() is None
    del held
    assert id(images.free()) == at


HOLDS = {
    "a view": lambda image: image[1:],
    "a view of a view": lambda image: image[1:].reshape(-1)[2:],
    "another type": lambda image: image.view(np.int8),
    "a memoryview": memoryview,
    "a list": lambda image: [image],
    "an iterator": iter,
    "a broadcast": lambda image: np.broadcast_to(image, (2, *image.shape)),
    "an array made of its memory": lambda image: np.frombuffer(image, np.uint8),
    "an array of its interface": np.asarray,
}


@COUNTS
@pytest.mark.parametrize("kind", HOLDS)
def test_whatever_can_see_the_memory_holds_it(kind: str) -> None:
    images = Pool()
    image = picture()
    images.keep(image)
    hold = HOLDS[kind](image)
    del image
    assert images.free() is None
    del hold
    assert images.free() is not None


def test_a_view_is_not_kept_as_its_views_would_pass_it_by() -> None:
    images = Pool()
    whole = picture(shape=(8, 6, 3))
    images.keep(whole[:4])
    images.keep(np.frombuffer(bytes(72), np.uint8).reshape(4, 6, 3))
    del whole
    assert images.free() is None


def test_there_are_at_most_so_many() -> None:
    images = Pool(most=2)
    held = [picture(n) for n in range(4)]
    for image in held:
        images.keep(image)
        images.keep(image)
    assert images.free() is None
    known = {id(image) for image in held[:2]}
    held.clear()
    del image
    again = [images.free() for _ in range(3)]
    assert again[2] is None
    assert {id(image) for image in again[:2]} <= known


@COUNTS
def test_another_shape_takes_the_place_of_all() -> None:
    images = Pool()
    for shape in ((4, 6, 3), (4, 6, 3), (2, 2, 3)):
        images.keep(picture(shape=shape))
    image = images.free()
    assert image is not None
    assert image.shape == (2, 2, 3)
    assert images.free() is None


def test_nothing_is_reused_where_references_cannot_be_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_COUNTS", False)
    images = Pool()
    images.keep(picture())
    assert images.free() is None


class Holder(threading.Thread):
    """Holds pictures or views of them for a while, then looks whether they are what they were."""

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True)
        self.given: queue.Queue[tuple[Any, int] | None] = queue.Queue()
        self.wrong = 0
        self._rng = random.Random(seed)

    def run(self) -> None:
        held: list[tuple[Any, int]] = []
        while (item := self.given.get()) is not None:
            image, value = item
            held.append((self._rng.choice((image, image[::2], memoryview(image[1]))), value))
            del image, item
            while len(held) > self._rng.randrange(1, 8):
                self.look(*held.pop(self._rng.randrange(len(held))))
        for hold, value in held:
            self.look(hold, value)

    def look(self, hold: Any, value: int) -> None:
        self.wrong += int((np.asarray(hold) != value).any())


def test_no_holder_in_any_thread_ever_sees_its_picture_change() -> None:
    images, rng = Pool(most=6), random.Random(0)
    holders = [Holder(seed) for seed in range(4)]
    for holder in holders:
        holder.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reused = 0
    try:
        for index in range(3000):
            image = images.free()
            reused += image is not None
            image = picture(shape=(8, 16, 3)) if image is None else image
            image[:] = index % 256
            images.keep(image)
            for holder in rng.sample(holders, rng.randrange(1, 4)):
                holder.given.put((image, index % 256))
            del image
            while any(holder.given.qsize() > 4 for holder in holders):
                threading.Event().wait(1e-4)
    finally:
        sys.setswitchinterval(interval)
        for holder in holders:
            holder.given.put(None)
            holder.join()
    assert not any(holder.wrong for holder in holders)
    assert reused > 100 or not pool._COUNTS


def write_video(path: Path, count: int) -> str:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for index in range(count):
        writer.write(picture(index * 5, (240, 320, 3)))
    writer.release()
    return str(path)


@COUNTS
def test_a_video_file_is_read_without_allocating_a_picture(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "v.avi", 40))
    frame = None
    for _ in range(5):
        frame = source.read()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(30):
            frame = source.read()
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        source.close()
    assert frame is not None
    assert most < frame.image.nbytes / 4


def test_frames_that_are_kept_stay_as_they_were(tmp_path: Path) -> None:
    source = open_source(write_video(tmp_path / "v.avi", 40))
    kept = [source.read() for _ in range(40)]
    source.close()
    levels = [float(frame.image.mean()) for frame in kept if frame]
    assert levels == pytest.approx([index * 5 for index in range(40)], abs=3)
