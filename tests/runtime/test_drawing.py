"""Drawing on frames: legible at any size, never beyond the picture, never on what is others'."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from runtime.drawing import annotated, bars, boxed, color, legend, letter_height, shortened
from runtime.drawing import text_width as width_of
from tests.runtime.preview_cases import RESULT, frame

SIZES = [(1, 1), (8, 200), (48, 64), (720, 1280)]


def blank(size: tuple[int, int], value: int = 127) -> Any:
    return np.full((*size, 3), value, np.uint8)


class Enhanced:
    """A result that is a picture itself."""

    def __init__(self, picture: Any) -> None:
        self.picture = picture

    def to_json(self) -> dict[str, Any]:
        return {}

    def draw(self, image: Any) -> None:
        raise AssertionError("there is nothing to draw on")


@pytest.mark.parametrize("size", [(48, 64, 3), (48, 64)])
def test_a_frame_is_copied_and_drawn_on_in_colour(size: tuple[int, ...]) -> None:
    one = frame(0, size=size)
    shown = annotated(one, RESULT)
    assert shown.shape == (48, 64, 3)
    assert (one.image == 60).all()
    assert (shown != 60).any()


@pytest.mark.parametrize("shape", [(96, 128, 3), (96, 128)])
def test_a_result_that_is_a_picture_takes_the_place_of_the_frame(shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 200, np.uint8)
    shown = annotated(frame(), Enhanced(picture))
    assert shown.shape == (96, 128, 3)
    assert (shown == 200).all()
    shown[...] = 0
    assert (picture == 200).all()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_too_small_or_too_large_to_be_drawn_on(size: tuple[int, int]) -> None:
    for box in ((2, 2, 30, 30), (-1e12, -5, 1e30, 4), (50, 50, 10, 10), (1e9, 1e9, 2e9, 2e9)):
        boxed(blank(size), box, "straße 猫 91%", color(3), letter_height(blank(size)))
    bars(blank(size), [("a very long label " * 9, 1.7), ("", -1.0)])
    legend(blank(size), [("cat", color(0))] * 40)
    legend(blank(size), [])


def test_a_box_is_where_it_is_and_its_words_stay_in_the_picture() -> None:
    image = blank((240, 320))
    boxed(image, (200, 100, 319, 200), "something", color(0), 12)
    changed = (image != 127).any(axis=2)
    assert changed[150, 200]
    assert changed[150, 318]
    assert changed[199, 260]
    assert not changed[150, 203:315].any()
    assert not changed[:, :180].any(), "the words were moved to the left, where they fit"


@pytest.mark.parametrize("index", range(25))
def test_words_differ_from_their_ground(index: int) -> None:
    image = blank((240, 320))
    boxed(image, (10, 60, 200, 200), "MMMM", color(index), 16)
    words = image[40:58, 15:60].reshape(-1, 3).astype(int)
    luma = words @ (0.114, 0.587, 0.299)
    assert luma.max() - luma.min() > 90


def test_classes_have_colours_of_their_own_that_stay() -> None:
    colours = [color(index) for index in range(60)]
    assert len(set(colours)) == 60
    assert colours == [color(index) for index in range(60)]
    far = [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairwise(colours[:20])]
    assert min(far) > 60


def test_words_are_cut_to_the_room_there_is() -> None:
    words = shortened("golden retriever", 80, 12)
    assert words.endswith("..")
    assert width_of(words, 12) <= 80
    assert shortened("cat", 80, 12) == "cat"
