"""What every data set is, and which of its samples are taken."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Union

from device_profiles.errors import DataError


@dataclass(frozen=True)
class Box:
    """One thing in a picture: its class in the numbering of the data set and its corners in pixels
    from the picture's edge. `crowd` marks a group (COCO's iscrowd); `area` is that of the thing
    itself in pixels, 0 where only the box is known."""

    label: int
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False
    area: float = 0.0


@dataclass(frozen=True)
class Boxes:
    """Ground truth of a detection: every thing in the picture.

    `relative` says that corners are shares of the picture's sides, which only the picture tells;
    whoever reads a sample's picture gets its boxes in pixels.
    """

    boxes: tuple[Box, ...]
    relative: bool = False

    def in_pixels(self, height: int, width: int) -> Boxes:
        """Return the boxes in pixels of a picture of `height` x `width`."""
        if not self.relative:
            return self
        return Boxes(
            tuple(
                replace(
                    box,
                    left=box.left * width,
                    top=box.top * height,
                    right=box.right * width,
                    bottom=box.bottom * height,
                )
                for box in self.boxes
            )
        )


@dataclass(frozen=True)
class MaskFile:
    """Ground truth of a segmentation: an 8-bit picture of class numbers, 255 where unknown."""

    path: Path


@dataclass(frozen=True)
class PictureFile:
    """Ground truth of an enhancement: the picture as it ought to become."""

    path: Path


Truth = Union[Boxes, MaskFile, PictureFile]  # noqa: UP007 - an alias is evaluated on Python 3.10


@dataclass(frozen=True)
class Sample:
    """One image file and what is known of it: its class in the numbering of the data set, or
    another ground truth; None without."""

    path: Path
    label: int | None = None
    truth: Truth | None = None

    def seen(self, height: int, width: int) -> Sample:
        """Return the sample once its picture of `height` x `width` was read: boxes in pixels."""
        if not isinstance(self.truth, Boxes):
            return self
        return replace(self, truth=self.truth.in_pixels(height, width))


@dataclass(frozen=True)
class Dataset:
    """Image files in a fixed order; `class_names` maps class to name where names are known."""

    name: str
    root: Path
    samples: tuple[Sample, ...]
    class_names: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Sampling:
    """Take `count` samples (None: all), balanced over the classes; `seed` changes which."""

    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise DataError(f"cannot take {self.count} samples; ask for at least 1")


class Format(Protocol):
    """What a module of this folder offers; the lowest `PRIORITY` that accepts a path reads it."""

    PRIORITY: int

    def accepts(self, path: Path) -> bool:
        """Return whether `path` looks like this format."""

    def read(self, path: Path) -> Dataset:
        """Return every sample at `path`; DataError when it is damaged."""


def take(dataset: Dataset, sampling: Sampling) -> Dataset:
    """Return `dataset` with only the samples that `sampling` asks for, in their order.

    Samples are drawn by a hash of seed and path relative to the root, so that every machine and
    version of Python draws the same. Classes take turns: their shares differ by one at most,
    unless a class runs out.
    """
    if sampling.count is None or sampling.count >= len(dataset.samples):
        return dataset
    draws = sorted((_draw(dataset, s, sampling.seed), i) for i, s in enumerate(dataset.samples))
    turns: Counter[int | None] = Counter()
    ranked = []
    for draw, index in draws:
        label = dataset.samples[index].label
        ranked.append((turns[label], draw, index))
        turns[label] += 1
    chosen = sorted(index for _, _, index in sorted(ranked)[: sampling.count])
    return replace(dataset, samples=tuple(dataset.samples[index] for index in chosen))


def _draw(dataset: Dataset, sample: Sample, seed: int) -> str:
    path = sample.path
    name = path.relative_to(dataset.root) if path.is_relative_to(dataset.root) else path
    return hashlib.sha256(f"{seed}:{name.as_posix()}".encode()).hexdigest()
