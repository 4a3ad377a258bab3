"""What a JPEG says of itself: its size, and whether its end is there."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from runtime.jpeg import is_cut, size


def jpeg(width: int = 40, height: int = 24, *flags: int) -> bytes:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", image, flags)[1].tobytes())


def with_thumbnail(data: bytes) -> bytes:
    inner = jpeg(8, 8)
    return data[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]


KINDS = {
    "baseline": jpeg(),
    "progressive": jpeg(40, 24, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "with restarts": jpeg(40, 24, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "with a thumbnail": with_thumbnail(jpeg()),
    "with filling": jpeg()[:2] + b"\xff" * 5 + jpeg()[2:],
    "with something behind": jpeg() + b"\xff\xd9 more",
}


@pytest.mark.parametrize("kind", KINDS)
def test_its_size_is_that_of_the_picture_and_its_end_is_there(kind: str) -> None:
    assert size(KINDS[kind]) == (40, 24)
    assert not is_cut(KINDS[kind])


@pytest.mark.parametrize("kind", ["baseline", "progressive", "with restarts", "with a thumbnail"])
def test_one_that_is_cut_anywhere_before_its_end_says_so(kind: str) -> None:
    data = KINDS[kind]
    for length in range(2, len(data) - 1):
        assert is_cut(data[:length]), length


NONE = [b"", b"\xff", b"\xff\xd8", b"GIF89a", b"\xff\xd8\xff\xd9", bytes(50)]


@pytest.mark.parametrize("data", NONE)
def test_what_is_none_has_no_size(data: bytes) -> None:
    assert size(data) is None


def test_nothing_that_arrives_can_hurt() -> None:
    rng = random.Random(0)
    data = jpeg()
    for _ in range(3000):
        damaged = bytearray(data[: rng.randrange(len(data))])
        for _ in range(rng.randrange(1, 5)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        size(bytes(damaged))
        is_cut(bytes(damaged))
    assert size(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 1000) is None
