"""Placed: a value of the model and where its numbers lie in a tensor of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.formats._tflite.builder import Tensor

Perm = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Placed:
    """A value whose axis `perm[k]` is axis k of `tensor`.

    `order`, where there is one, is (axis, indices): along `axis` of the value, position i of the
    tensor holds what the value has at `indices[i]`.
    """

    tensor: Tensor
    perm: Perm
    order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value (not of the tensor)."""
        return tuple(self.tensor.shape[k] for k in inverse(self.perm))

    def axis(self, axis: int) -> int:
        """Return where `axis` of the value, perhaps negative, lies in the tensor."""
        return self.perm.index(axis % len(self.perm))


def identity(rank: int) -> Perm:
    """Return the placement that leaves every axis where it is."""
    return tuple(range(rank))


def channels_last(rank: int) -> Perm:
    """Return the placement of TFLite's image operators: batch, space, channels."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def inverse(perm: Sequence[int]) -> Perm:
    """Return the permutation that undoes `perm`."""
    return tuple(int(i) for i in np.argsort(perm))


def same_numbers(shape: Sequence[int], one: Perm, other: Perm) -> bool:
    """Tell whether two placements of a value of `shape` are the same run of numbers."""
    return [a for a in one if shape[a] != 1] == [a for a in other if shape[a] != 1]
