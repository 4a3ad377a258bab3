"""Frames of a data set, prepared as the device prepares them, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.contract import InputContract
from runtime.datasets import Dataset, Reader, Sample, Sampling, open_dataset, take
from runtime.preprocess import prepare
from runtime.progress import track


@dataclass(frozen=True)
class Frames:
    """The samples of `dataset` as uint8 (1, H, W, C) of `contract`; may be walked many times.

    One image is in memory at a time. Unreadable images are left out up to a share of
    `max_unreadable`, beyond which DataError names them.
    """

    dataset: Dataset
    contract: InputContract
    label: str = "images"
    max_unreadable: float = 0.02

    def __len__(self) -> int:
        """Return the number of samples, unreadable ones included."""
        return len(self.dataset.samples)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the prepared frames."""
        for _, frame in self.labelled():
            yield frame

    def labelled(self) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
        """Yield each sample with its prepared frame."""
        reader = Reader(self.dataset, self.max_unreadable)
        for sample, image in track(reader, self.label, len(self)):
            yield sample, prepare(image, self.contract)[None]

    def first(self, count: int) -> NDArray[np.uint8]:
        """Return the first `count` frames (fewer where there are fewer) as one array."""
        few = replace(self, dataset=replace(self.dataset, samples=self.dataset.samples[:count]))
        return np.concatenate(list(few))


def split(path: str | Path, sampling: Sampling) -> tuple[Dataset, Dataset]:
    """Return the samples that `sampling` takes of the data set at `path`, and those it leaves."""
    whole = open_dataset(path)
    taken = take(whole, sampling)
    chosen = set(taken.samples)
    rest = tuple(sample for sample in whole.samples if sample not in chosen)
    return taken, replace(whole, samples=rest)
