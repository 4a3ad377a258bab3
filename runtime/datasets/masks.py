"""Mask pairs: pictures in `images` and a mask for each in `masks`, of the same name but for the
ending; or VOC's `JPEGImages` and `SegmentationClass`.

The path is the folder that holds both, that of the masks, or a list of names such as VOC's
`ImageSets/Segmentation/val.txt`. A mask has the number of a class for each pixel, 255 where nobody
judges. A folder with VOC's `Annotations` as well is one of boxes, unless its list is given.
"""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import DataError
from runtime.datasets._found import check_files
from runtime.datasets.base import Dataset, MaskFile, Sample
from runtime.images import image_files

PRIORITY = 12  # before VOC's boxes, which a list of a segmentation is not
_PAIRS = (("images", "masks"), ("JPEGImages", "SegmentationClass"))
_BOXES = "Annotations"


def accepts(path: Path) -> bool:
    """Return whether `path` is, or belongs to, a folder with pictures and masks."""
    return _folders(path) is not None


def read(path: Path) -> Dataset:
    """Return every picture that has a mask; DataError names what has none."""
    folders = _folders(path)
    if folders is None:
        raise DataError(f"{path} is no folder with {' and '.join(_PAIRS[0])}")
    pictures, masks = folders
    root = pictures.parent
    found = {file.stem: file for file in image_files(pictures)}
    answers = {file.stem: file for file in image_files(masks)}
    stems = _listed(path) if path.is_file() else list(answers)
    lost = [stem for stem in stems if stem not in answers]
    if lost or not stems:
        raise DataError(
            f"{masks} has {len(answers)} masks, and none for {', '.join(lost[:3]) or 'any picture'}"
            f" ({len(lost)} of {len(stems)}); a mask has the name of its picture"
        )
    samples = tuple(
        Sample(found.get(stem, pictures / stem), None, MaskFile(answers[stem])) for stem in stems
    )
    check_files(masks, pictures, samples)
    return Dataset(root.resolve().name, root, samples)


def _folders(path: Path) -> tuple[Path, Path] | None:
    """Return the folders of pictures and of masks that `path` stands for."""
    if path.is_file():
        above = path.resolve().parents
        listed = path.suffix == ".txt" and len(above) > 2 and above[0].name == "Segmentation"
        return _inside(above[2]) if listed else None
    if path.name in (masks for _, masks in _PAIRS):
        return _inside(path.resolve().parent)
    return None if (path / _BOXES).is_dir() else _inside(path)


def _inside(root: Path) -> tuple[Path, Path] | None:
    pairs = ((root / pictures, root / masks) for pictures, masks in _PAIRS)
    return next((pair for pair in pairs if all(folder.is_dir() for folder in pair)), None)


def _listed(path: Path) -> list[str]:
    try:
        return [line.split()[0] for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a list of names in UTF-8") from error
