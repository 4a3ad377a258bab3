"""Tiles: they cover the picture, overlap as they are told, and answer for every pixel once."""

from __future__ import annotations

from itertools import pairwise

import pytest

from device_profiles.errors import DataError
from runtime.contract import InputContract
from runtime.tiles import MOST, spans, tiling


@pytest.mark.parametrize(
    ("tile", "overlap"),
    [(1, 0), (2, 0), (2, 1), (7, 0), (7, 3), (7, 6), (16, 1), (16, 6), (16, 15)],
)
def test_spans_answer_for_every_pixel_once(tile, overlap):
    for size in range(1, 80):
        found = spans(size, tile, overlap)
        answered = [pixel for span in found for pixel in range(span.first, span.last)]
        assert answered == list(range(size))
        assert found[0].start == 0
        assert all(span.start <= span.first < span.last <= span.start + tile for span in found)
        if len(found) == 1:
            assert size <= tile
            continue
        assert found[-1].start + tile == size
        # None could be left out, and what a span answers for is half of the overlap or more from
        # its ends, but for those of the picture.
        assert (len(found) - 1) * (tile - overlap) + overlap < size
        for before, after in pairwise(found):
            assert before.start + tile - after.start >= overlap
            assert before.start + tile - before.last >= overlap // 2
            assert after.first - after.start >= overlap // 2


def test_tiling_is_of_the_enlarged_frame():
    found = tiling(10, 20, InputContract(24, 32, resize="tile", upscale=3))
    assert (found.height, found.width, len(found)) == (30, 60, 4)


def test_a_frame_out_of_proportion_is_refused():
    contract = InputContract(2, 2, resize="tile", overlap=1)
    assert len(tiling(129, 129, contract)) == MOST
    with pytest.raises(DataError, match="makes 16512 tiles of 2x2, more than 16384"):
        tiling(129, 130, contract)
