"""Pixel clock: the time survives what happens to pictures, and a wrong time is never read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.pixel_clock import age_ns, draw_clock, read_clock
from runtime.sources import open_source

MS = 1_000_000


def picture(width: int = 1280, height: int = 720, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def drawn(captured_ns: int, width: int = 1280, height: int = 720) -> Any:
    image = cv2.GaussianBlur(picture(width, height), (0, 0), 3)
    draw_clock(image, captured_ns)
    return image


def jpeg(quality: int) -> Any:
    def through(image: Any) -> Any:
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    return through


def resized(width: int, height: int, how: int = cv2.INTER_LINEAR) -> Any:
    return lambda image: cv2.resize(image, (width, height), interpolation=how)


def noisy(image: Any) -> Any:
    noise = np.random.default_rng(1).normal(0, 25, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


THROUGH = {
    "nothing": lambda image: image,
    "grey": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
    "JPEG 85": jpeg(85),
    "JPEG 20": jpeg(20),
    "half size": resized(640, 360),
    "half size by area": resized(640, 360, cv2.INTER_AREA),
    "an odd size": resized(417, 233),
    "a network's square": resized(224, 224),
    "twice the size": resized(2560, 1440, cv2.INTER_CUBIC),
    "noise": noisy,
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 4),
    "a JPEG of a half-size noisy one": lambda image: jpeg(60)(resized(640, 360)(noisy(image))),
    "darkness": lambda image: (image * 0.7 + 20).astype(np.uint8),
}


@pytest.mark.parametrize("way", THROUGH)
def test_the_time_is_read_through(way: str) -> None:
    now = time.monotonic_ns()
    assert read_clock(THROUGH[way](drawn(now))) == now // MS * MS


@pytest.mark.parametrize(
    ("code", "name"), [("mp4v", "v.mp4"), ("MJPG", "v.avi"), ("VP80", "v.webm")]
)
def test_the_time_is_read_through_a_video(code: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 30, (1280, 720))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {code}")
    start = time.monotonic_ns() // MS * MS
    times = [start + 33 * MS * index for index in range(10)]
    for at in times:
        writer.write(drawn(at))
    writer.release()
    source = open_source(str(path))
    read = []
    while (frame := source.read()) is not None:
        read.append(read_clock(frame.image))
    source.close()
    assert read == times


@pytest.mark.parametrize(("width", "height"), [(48, 24), (49, 25), (64, 48), (1920, 1080)])
def test_every_size_from_the_smallest(width: int, height: int) -> None:
    now = time.monotonic_ns()
    image = picture(width, height)
    draw_clock(image, now)
    assert read_clock(image) == now // MS * MS


def test_a_plane_of_luma_is_a_picture() -> None:
    now = time.monotonic_ns()
    plane = np.zeros((720, 1280), np.uint8)
    draw_clock(plane, now)
    assert read_clock(plane) == now // MS * MS


@pytest.mark.parametrize("seed", range(20))
def test_no_time_is_read_from_a_picture_without_one(seed: int) -> None:
    assert read_clock(picture(seed=seed)) is None
    blocks = picture(24, 2, seed).repeat(30, axis=0).repeat(53, axis=1)
    image = np.vstack([blocks // 128 * 219 + 16, picture(1272, 660)])
    assert read_clock(image) is None


@pytest.mark.parametrize("shape", [(0, 0, 3), (1, 1, 3), (23, 100, 3), (100, 23, 3)])
def test_no_time_is_read_from_a_picture_that_is_too_small(shape: tuple[int, ...]) -> None:
    assert read_clock(np.zeros(shape, np.uint8)) is None


def test_a_picture_mixed_from_two_is_not_believed() -> None:
    now = time.monotonic_ns() // MS * MS
    wrong = 0
    for step in range(1, 200):
        one, two = drawn(now, 96, 48), drawn(now + step * 33 * MS, 96, 48)
        for cut in (2, 24, 48, 72):
            torn = np.hstack([one[:, :cut], two[:, cut:]])
            mixed = cv2.addWeighted(one, 0.5, two, 0.5, 0)
            wrong += read_clock(torn) not in (None, now, now + step * 33 * MS)
            wrong += read_clock(mixed) is not None
    # A checksum of 16 bits lets one in 65536 pass.
    assert wrong == 0


def test_the_32_bits_mean_the_time_nearest_to_now() -> None:
    now = time.monotonic_ns() // MS * MS
    for days in (-20, -1, 0, 1, 20):
        at = now + days * 86_400_000 * MS
        assert read_clock(drawn(at)) == at
    # 2**32 ms: written before the last turn of the counter.
    assert read_clock(drawn(now + 2**32 * MS)) == now


def test_age_is_counted_from_the_time_written() -> None:
    image = drawn(time.monotonic_ns() - 500 * MS)
    age = age_ns(image)
    assert age is not None
    assert 500 * MS <= age < 10_000 * MS
    assert age_ns(picture()) is None


def test_the_scene_clock_shows_its_time_of_capture() -> None:
    source = open_source("synthetic:clock?frames=3&width=320&height=240")
    while (frame := source.read()) is not None:
        assert read_clock(frame.image) == frame.captured_ns // MS * MS
