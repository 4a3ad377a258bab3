"""Memory that two processes map."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.arena import Arena, end_of, memory


@pytest.fixture
def sides() -> Iterator[tuple[Arena, Arena]]:
    """Yield two views of one memory, as two processes have them."""
    first = Arena(memory())
    second = Arena(os.fdopen(os.dup(first.file.fileno()), "r+b", buffering=0))
    yield first, second
    first.close()
    second.close()


def test_arrays_arrive_as_they_are(sides: tuple[Arena, Arena]) -> None:
    arrays = [
        np.arange(7, dtype=np.uint8),
        np.random.default_rng(0).random((2, 3, 5)).astype(np.float32),
        np.arange(24).reshape(4, 6)[::-2, 1::2],  # strided
        np.zeros((0, 4), np.float16),
        np.array(True),
    ]
    here, there = sides
    layout = here.put(arrays)
    for sent, found in zip(arrays, there.get(layout), strict=True):
        assert found.dtype == sent.dtype
        np.testing.assert_array_equal(found, sent)
    assert all(at % 64 == 0 for _, _, at in layout)


def test_it_grows_on_either_side_and_old_views_stay_valid(sides: tuple[Arena, Arena]) -> None:
    here, there = sides
    (small,) = here.get(here.put([np.full(10, 7, np.uint8)]))
    there.put([np.full(1 << 20, 9, np.uint8)], after=4096)
    layout = here.put([np.full(1 << 22, 5, np.uint8)], after=4096)
    assert (there.get(layout)[0] == 5).all()
    assert (small == 7).all()


def test_what_is_put_behind_leaves_the_rest_alone(sides: tuple[Arena, Arena]) -> None:
    here, there = sides
    first = here.put([np.arange(100)])
    second = there.put([np.zeros(100)], after=end_of(first))
    np.testing.assert_array_equal(here.get(first)[0], np.arange(100))
    assert second[0][2] == end_of(first) == 832  # 800 bytes, to the next line of a cache


def test_memory_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library has no memfd_create, it is a file that nobody can open."""
    monkeypatch.delattr(os, "memfd_create")
    arena = Arena(memory())
    (found,) = arena.get(arena.put([np.arange(5)]))
    np.testing.assert_array_equal(found, np.arange(5))
    arena.close()
    np.testing.assert_array_equal(found, np.arange(5))
    assert arena.file.closed
