"""Images without labels: a folder, a glob or one file."""

from __future__ import annotations

from glob import glob
from pathlib import Path

from runtime.datasets.base import Dataset, Sample
from runtime.images import image_files, is_image

PRIORITY = 90


def accepts(path: Path) -> bool:
    """Return whether there are images directly in `path`, or files that it matches as a glob."""
    return bool(_files(path))


def read(path: Path) -> Dataset:
    """Return the images, sorted by path."""
    root = path if path.is_dir() else path.parent
    return Dataset(path.resolve().name, root, tuple(Sample(file) for file in _files(path)))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(image_files(path))  # by name, so that a set keeps its order
    matches = [path] if path.exists() else map(Path, glob(str(path), recursive=True))
    return sorted(match for match in matches if is_image(match) and match.is_file())
