"""Where the numbers of a value are after Reshape, without moving them.

Old and new shape have a common refinement: factors ("atoms") of which every axis of both is a
run. The tensor lists the atoms in its own order; a new axis exists there if its atoms are
neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from converters.formats._tflite.placed import Perm, channels_last, identity, same_numbers


@dataclass(frozen=True, eq=False)
class Reshaped:
    """The new value's placement: `perm`, and `order` where one axis is out of order."""

    perm: Perm
    order: tuple[int, NDArray[np.int64]] | None = None


def reshaped(old: Sequence[int], perm: Perm, new: Sequence[int]) -> Reshaped | None:
    """Return how a value of shape `old`, placed by `perm`, is placed as one of shape `new`.

    None when its numbers have to be moved first.
    """
    atoms = _atoms(old, new)
    if atoms is None or 0 in (*old, *new):
        return None
    of_old, of_new = _runs(old, atoms), _runs(new, atoms)
    # The tensor's atoms, in its order; those of size 1 are nowhere.
    flow = [atom for axis in perm for atom in of_old[axis]]
    order = None
    places: list[tuple[int, int]] = []
    for axis, run in enumerate(of_new):
        if not run:
            continue
        found = sorted(flow.index(atom) for atom in run)
        if found != list(range(found[0], found[0] + len(run))):
            return None
        there = [flow[place] for place in found]
        if there != run:
            if order is not None:
                return None  # one axis out of order is all that anything can take
            order = (axis, _indices([atoms[a] for a in run], [a - run[0] for a in there]))
        places.append((found[0], axis))
    return Reshaped(_with_ones([axis for _, axis in sorted(places)], new), order)


@dataclass(frozen=True)
class Move:
    """Move the numbers: a tensor seen as `shape`, its axes in the order `axes`, is the new one.

    The value is then placed by `perm`: as it is, or channels last where there are four axes, unless
    the last axis is there already, whole.
    """

    shape: Perm
    axes: Perm
    perm: Perm


def moved(old: Sequence[int], perm: Perm, new: Sequence[int]) -> Move | None:
    """Return the one move that makes a value of shape `old`, placed by `perm`, one of shape `new`.

    None when the two have no common refinement.
    """
    atoms = _atoms(old, new)
    if atoms is None or 0 in (*old, *new):
        return None
    of_old, of_new = _runs(old, atoms), _runs(new, atoms)
    flow = [atom for axis in perm for atom in of_old[axis]]
    last = of_new[-1]
    plain = len(new) != 4 or (bool(last) and flow[-len(last) :] == last)
    goal_perm = identity(len(new)) if plain else channels_last(4)
    goal = [atom for axis in goal_perm for atom in of_new[axis]]
    # Atoms that stay neighbours move as one.
    places = [flow.index(atom) for atom in goal]
    starts = [p for k, p in enumerate(places) if k == 0 or places[k - 1] != p - 1]
    order = sorted(starts)
    bounds = [*order, len(flow)]
    sizes = tuple(prod(atoms[a] for a in flow[i:j]) for i, j in pairwise(bounds))
    return Move(sizes, tuple(order.index(start) for start in starts), goal_perm)


def _atoms(old: Sequence[int], new: Sequence[int]) -> list[int] | None:
    """Return the sizes of the common refinement, None when there is none."""
    cuts = sorted({*np.cumprod([1, *old]).tolist(), *np.cumprod([1, *new]).tolist()})
    sizes = []
    for a, b in pairwise(cuts):
        if a == 0 or b % a:
            return None
        sizes.append(b // a)
    return sizes


def _runs(shape: Sequence[int], atoms: Sequence[int]) -> list[list[int]]:
    """Return, per axis of `shape`, the atoms that make it."""
    runs: list[list[int]] = []
    at = 0
    for size in shape:
        run: list[int] = []
        while prod(atoms[a] for a in run) < size:
            run.append(at)
            at += 1
        runs.append(run)
    return runs


def _indices(sizes: Sequence[int], perm: Sequence[int]) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = np.arange(prod(sizes), dtype=np.int64).reshape(sizes)
    moved: NDArray[np.int64] = indices.transpose(perm).reshape(-1)
    return moved


def _with_ones(axes: Sequence[int], shape: Sequence[int]) -> Perm:
    """Return a placement of all axes that lists `axes` in this order; axes of size 1 are free."""
    rank = len(shape)
    rest = [axis for axis in range(rank) if axis not in axes]
    some: Perm = (*rest, *axes)
    for known in (channels_last(rank), identity(rank)) if rank == 4 else (identity(rank),):
        if same_numbers(shape, known, some):
            return known
    return some
