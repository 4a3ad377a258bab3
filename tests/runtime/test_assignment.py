"""The best assignment, against every one that there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from runtime.assignment import assign


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (5, 5), (0, 3), (3, 0)])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_assignment(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    worth = rng.random(shape) * (rng.random(shape) > 0.4)
    pairs = assign(worth)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert all(worth[pair] > 0 for pair in pairs)
    wide = worth if shape[0] <= shape[1] else worth.T
    best = max(
        sum(wide[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert sum(worth[pair] for pair in pairs) == pytest.approx(best)


def test_an_assignment_that_is_not_greedy() -> None:
    assert sorted(assign(np.array([[0.9, 0.8], [0.8, 0.0]]))) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (3, 5)])
def test_nothing_worth_a_pair(shape: tuple[int, int]) -> None:
    assert assign(np.zeros(shape)) == []


def test_a_hundred_on_a_hundred() -> None:
    """A permutation that is hidden among lesser values."""
    rng = np.random.default_rng(0)
    worth, hidden = rng.random((100, 100)) * 0.9, rng.permutation(100)
    worth[np.arange(100), hidden] = 0.95
    assert sorted(assign(worth)) == list(enumerate(hidden.tolist()))
