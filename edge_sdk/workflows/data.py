"""Frames of a data set, prepared as the device prepares them, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.contract import InputContract
from runtime.datasets import Dataset, Sample, Sampling, images, open_dataset
from runtime.datasets.base import take
from runtime.preprocess import prepare_batch
from runtime.progress import track

# Where a bundle says which images calibrated it.
CALIBRATION = "evidence/calibration.json"


class Frames:
    """The samples of `dataset` as uint8 (n, H, W, C) of `contract`; may be walked many times.

    n is 1, unless the contract cuts a picture into tiles.

    One image is in memory at a time. Unreadable images are left out up to a share of
    `max_unreadable`, beyond which DataError names them; `unreadable` holds those found so far.
    """

    def __init__(
        self,
        dataset: Dataset,
        contract: InputContract,
        label: str = "images",
        max_unreadable: float = 0.02,
    ) -> None:
        self.dataset = dataset
        self.contract = contract
        self._label = label
        self._reader = images(dataset, max_unreadable)
        self._unreadable: dict[Path, None] = {}

    @property
    def unreadable(self) -> list[Path]:
        """The files that did not decode, whenever the frames were walked."""
        return list(self._unreadable)

    def __len__(self) -> int:
        """Return the number of samples, unreadable ones included."""
        return len(self._reader)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the prepared frames."""
        for _, _, frame in self.labelled():
            yield frame

    def labelled(self) -> Iterator[tuple[Sample, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield each sample with its picture, uint8 BGR, and its prepared frame."""
        try:
            for sample, image in track(self._reader, self._label, len(self)):
                yield sample, image, prepare_batch(image, self.contract)
        finally:
            self._unreadable |= dict.fromkeys(self._reader.unreadable)

    def first(self, count: int) -> NDArray[np.uint8]:
        """Return the first `count` readable frames (fewer where there are fewer) as one array.

        Of a frame in tiles it is one from the middle: tiles of many frames say more than of one.
        """
        return np.concatenate([frame[len(frame) // 2 :][:1] for frame in islice(self, count)])


class Inputs:
    """What calibrates: one input of each of `frames`, uint8 (1, H, W, C); may be walked many times.

    Of frames in tiles the tiles take turns, so that all parts of a picture are seen.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield one input of each frame."""
        for index, frame in enumerate(self._frames):
            turn = index % len(frame)
            yield frame[turn : turn + 1]


def digests(dataset: Dataset) -> list[str]:
    """Return the SHA-256, in hex, of every file of `dataset` that can be read."""
    found = []
    for sample in dataset.samples:
        with suppress(OSError):  # one that cannot is among the unreadable, which are reported
            found.append(hashlib.sha256(sample.path.read_bytes()).hexdigest())
    return found


def split(path: str | Path, sampling: Sampling) -> tuple[Dataset, Dataset]:
    """Return the samples that `sampling` takes of the data set at `path`, and those it leaves."""
    whole = open_dataset(path)
    taken = take(whole, sampling)
    chosen = set(taken.samples)
    rest = tuple(sample for sample in whole.samples if sample not in chosen)
    return taken, replace(whole, samples=rest)
