"""Low/high pairs: small or poor pictures and, of the same names, what they ought to become.

The path is a folder that holds `low` and `high` (or `LR` and `HR`), or one of several folders of
low pictures beside the high ones, such as `LR_x2`.
"""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import DataError
from runtime.datasets._found import check_files
from runtime.datasets.base import Dataset, PictureFile, Sample
from runtime.images import image_files

PRIORITY = 14
_PAIRS = (("low", "high"), ("LR", "HR"))


def accepts(path: Path) -> bool:
    """Return whether `path` is a folder of low pictures with high ones, or holds both."""
    return _folders(path) is not None


def read(path: Path) -> Dataset:
    """Return every low picture with its high one; DataError names what has none."""
    folders = _folders(path)
    if folders is None:
        raise DataError(f"{path} is no folder with {' and '.join(_PAIRS[0])}")
    low, high = folders
    found = {file.stem: file for file in image_files(high)}
    samples = tuple(
        Sample(file, None, PictureFile(found.get(file.stem, high / file.name)))
        for file in image_files(low)
    )
    if not samples:
        raise DataError(f"{low} has no pictures; put them there, and what they become in {high}")
    check_files(low, high, [Sample(found.get(s.path.stem, high / s.path.name)) for s in samples])
    return Dataset(low.resolve().name, low, samples)


def _folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of low and of high pictures that `path` stands for."""
    for low, high in _PAIRS:
        if (path / low).is_dir() and (path / high).is_dir():
            return path / low, path / high
        beside = path.resolve().parent / high
        if path.is_dir() and path.name.startswith(low) and beside.is_dir():
            return path, beside
    return None
