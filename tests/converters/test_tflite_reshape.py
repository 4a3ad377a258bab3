"""Reshape of a value whose axes lie in any order: what moves, and that it is what numpy does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.formats._tflite.reshape import Move, Reshaped, moved, reshaped

Shape = tuple[int, ...]


def placed(value: np.ndarray, found: Reshaped) -> np.ndarray:
    """Return the tensor that holds `value` as `found` says."""
    if found.order is not None:
        axis, indices = found.order
        value = value.take(indices, axis)
    return value.transpose(found.perm)


def check(old: Shape, perm: Shape, new: Shape) -> tuple[Reshaped | None, Move | None]:
    value = np.arange(prod(old)).reshape(old)
    tensor, expected = value.transpose(perm), value.reshape(new)
    found, move = reshaped(old, perm, new), moved(old, perm, new)
    if found is not None:
        goal = placed(expected, found)
        assert np.array_equal(tensor.reshape(goal.shape), goal)
    if move is not None:
        there = tensor.reshape(move.shape).transpose(move.axes).reshape(-1)
        assert np.array_equal(there, expected.transpose(move.perm).reshape(-1))
        assert len(move.axes) < 2 or all(b != a + 1 for a, b in pairwise(move.axes))
    return found, move


def shapes(total: int, longest: int) -> list[Shape]:
    """Return every shape of `total` numbers with up to `longest` axes, each larger than 1."""
    if longest == 0:
        return [()] if total == 1 else []
    found = {(a, *rest) for a in range(2, total + 1) if total % a == 0
             for rest in shapes(total // a, longest - 1)}  # fmt: skip
    return sorted(found | set(shapes(total, longest - 1)))


def test_every_reshape_of_24_numbers() -> None:
    seen = 0
    for old in shapes(24, 4):
        for new in shapes(24, 4):
            for perm in permutations(range(len(old))):
                found, move = check(old, perm, new)
                # As it lies it is found wherever both shapes have common parts, and no other way.
                assert move is not None or found is None
                assert perm != tuple(range(len(old))) or (found is None) == (move is None)
                seen += found is not None
    assert seen > 900


@st.composite
def cases(draw: st.DrawFn) -> tuple[Shape, Shape, Shape]:
    atoms = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))

    def grouped() -> Shape:
        cuts = sorted(draw(st.lists(st.integers(0, len(atoms)), max_size=5)))
        bounds = [0, *cuts, len(atoms)]
        return tuple(prod(atoms[i:j]) for i, j in pairwise(bounds))

    old = grouped()
    return old, tuple(draw(st.permutations(range(len(old))))), grouped()


@given(cases())
def test_any_reshape_with_common_parts_takes_one_move(case: tuple[Shape, Shape, Shape]) -> None:
    _, move = check(*case)
    assert move is not None


NHWC = (0, 2, 3, 1)


@pytest.mark.parametrize(
    ("old", "perm", "new", "expected", "ordered"),
    [
        ((1, 8, 3, 5), NHWC, (1, 2, 4, 3, 5), (0, 3, 4, 1, 2), None),
        ((1, 2, 4, 3, 5), (0, 3, 4, 1, 2), (1, 8, 3, 5), NHWC, None),
        # A channel shuffle, and a flattened image: one axis is out of order.
        ((1, 4, 2, 3, 5), (0, 3, 4, 2, 1), (1, 8, 3, 5), NHWC, 1),
        ((1, 8, 3, 5), NHWC, (1, 120), (0, 1), 1),
        ((1, 8, 1, 1), NHWC, (1, 8), (0, 1), None),
        ((1, 8), (0, 1), (1, 8, 1, 1), NHWC, None),
        ((1, 8, 3, 5), NHWC, (1, 8, 15), (0, 2, 1), None),
    ],
)
def test_nothing_moves(
    old: Shape, perm: Shape, new: Shape, expected: Shape, ordered: int | None
) -> None:
    found, _ = check(old, perm, new)
    assert found is not None
    assert found.perm == expected
    assert (None if found.order is None else found.order[0]) == ordered


@pytest.mark.parametrize(
    ("old", "perm", "new"),
    [((2, 3), (0, 1), (3, 2)), ((6, 5), (1, 0), (10, 3)), ((4, 0), (0, 1), (0,))],
)
def test_no_common_parts(old: Shape, perm: Shape, new: Sequence[int]) -> None:
    assert reshaped(old, perm, new) is None
    assert moved(old, perm, new) is None


def test_a_pixel_shuffle_is_one_move_of_few_parts() -> None:
    _, move = check((1, 3, 4, 2, 6, 2), (0, 2, 4, 1, 3, 5), (1, 3, 8, 12))
    assert move == Move((4, 6, 3, 2, 2), (0, 3, 1, 4, 2), NHWC)
