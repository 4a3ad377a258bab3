"""Data sets: one file per format, each with `PRIORITY`, `accepts(path)` and `read(path)`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError
from runtime.datasets.base import Dataset, Format, Sample, Sampling, take
from runtime.images import read_image
from runtime.plugins import load_all, names

__all__ = ["Dataset", "Reader", "Sample", "Sampling", "images", "open_dataset", "take"]


def open_dataset(path: str | Path, limits: Sampling | None = None) -> Dataset:
    """Return the samples at `path`, in the first of the formats that recognises it.

    Nothing is decoded yet. `limits` takes a part of them. Raises DataError when there is nothing
    at `path`, no format recognises it, it is damaged, or it holds no images.
    """
    path = Path(path)
    formats = sorted(cast(list[Format], load_all(__name__)), key=lambda format: format.PRIORITY)
    try:
        found = next((format for format in formats if format.accepts(path)), None)
        if found is not None:
            dataset = found.read(path)
            return take(dataset, limits or Sampling())
        folders = sorted(p.name for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    except OSError as error:
        raise DataError(f"cannot read {error.filename or path}: {error.strerror}") from error
    if not path.exists():
        raise DataError(
            f"{path} does not exist; give a folder of images, a glob or a CSV of labels"
        )
    within = f"; it has the folders {', '.join(folders[:5])}: give one of them" if folders else ""
    raise DataError(f"no images in {path} (formats: {', '.join(names(__name__))}){within}")


class Reader:
    """Decodes the images of a data set one after the other, in its order, each time anew.

    Yields (sample, uint8 BGR image). A file that does not decode is skipped and kept in
    `unreadable`; DataError names the first of them as soon as they are more than `max_unreadable`
    (a share, 0..1) of the whole set, or when not one image could be read.
    """

    def __init__(self, dataset: Dataset, max_unreadable: float = 0.02) -> None:
        """Read the images of `dataset`; see the class for `max_unreadable`."""
        self.dataset = dataset
        self.max_unreadable = max_unreadable
        self.unreadable: list[Path] = []

    def __len__(self) -> int:
        """Return the number of samples, readable or not."""
        return len(self.dataset.samples)

    def __iter__(self) -> Iterator[tuple[Sample, NDArray[np.uint8]]]:
        """Start at the first sample; `unreadable` starts empty."""
        self.unreadable = []
        for sample in self.dataset.samples:
            try:
                image = read_image(sample.path)
            except DataError as error:
                self.unreadable.append(sample.path)
                self._check(error)
                continue
            yield sample.seen(*image.shape[:2]), image

    def _check(self, error: DataError) -> None:
        count, total = len(self.unreadable), len(self)
        if count < total and count <= self.max_unreadable * total:
            return
        first = ", ".join(path.name for path in self.unreadable[:3])
        raise DataError(
            f"{count} of {total} images of {self.dataset.root} cannot be read, more than the "
            f"{self.max_unreadable:.0%} allowed (first: {first}); repair or remove them"
        ) from error


def images(dataset: Dataset, max_unreadable: float = 0.02) -> Reader:
    """Return a Reader over `dataset`: an iterable of (sample, uint8 BGR image)."""
    return Reader(dataset, max_unreadable)
