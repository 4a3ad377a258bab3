"""ImageFolder tree: one folder per class, classes numbered in the order of their names."""

from __future__ import annotations

from pathlib import Path

from runtime.datasets.base import Dataset, Sample
from runtime.images import image_files, is_image

PRIORITY = 20


def accepts(path: Path) -> bool:
    """Return whether `path` has two or more folders, one with images, and no images of its own."""
    if not path.is_dir() or image_files(path):
        return False
    folders = _classes(path)
    return len(folders) > 1 and any(_pictures(folder) for folder in folders)


def read(path: Path) -> Dataset:
    """Return the images of every class folder, those in folders below it included."""
    folders = _classes(path)
    samples = [Sample(p, label) for label, folder in enumerate(folders) for p in _pictures(folder)]
    names = {label: folder.name for label, folder in enumerate(folders)}
    return Dataset(path.resolve().name, path, tuple(samples), names)


def _classes(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")


def _pictures(folder: Path) -> list[Path]:
    found = (p for p in folder.rglob("*") if is_image(p) and p.is_file())
    return sorted(p for p in found if p.name[0] != ".")
