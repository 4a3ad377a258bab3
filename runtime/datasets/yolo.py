"""YOLO: images in `images`, one text file of boxes for each in `labels`, names in data.yaml.

The path is the .yaml file, or a folder with `data.yaml` (its `val` is taken, else its `train`), or
a folder of images below `images`. A line of a text file is `class x y width height`, or
`class x1 y1 x2 y2 ...` for an outline, in shares of the picture
(https://docs.ultralytics.com/datasets/detect/). An image without a text file shows no things.
"""

from __future__ import annotations

import math
from pathlib import Path

from device_profiles.errors import DataError
from runtime.datasets._yaml import Value, read_yaml
from runtime.datasets.base import Box, Boxes, Dataset, Sample
from runtime.images import image_files, is_image

PRIORITY = 14
_YAML = "data.yaml"
_KEYS = ("path", "train", "val", "names", "nc")
# How far rounding may take a corner out of the picture (ultralytics/data/utils.py allows as much).
_SLACK = 0.01


def accepts(path: Path) -> bool:
    """Return whether `path` is a .yaml file, or a folder with one, or with text files of boxes."""
    if not path.is_dir():
        return path.suffix.lower() in (".yaml", ".yml") and path.is_file()
    return (path / _YAML).is_file() or _is_pair(path) or _is_labelled(path)


def read(path: Path) -> Dataset:
    """Return the images with their boxes; DataError names the file and line at fault."""
    if path.is_dir() and not (path / _YAML).is_file():
        folder = (path / "images" if _is_pair(path) else path).absolute()
        found = (above / _YAML for above in list(folder.parents)[:3])
        table = next((yaml for yaml in found if yaml.is_file()), None)
        names = _names(table, _facts(table)) if table else None
        files = image_files(folder)
    else:
        table = path / _YAML if path.is_dir() else path
        facts = _facts(table)
        names = _names(table, facts)
        folder, files = _listed(table, facts)
    if not files:
        raise DataError(f"no images in {folder}; give the folder below `images` that holds them")
    labels = [_label_file(file) for file in files]
    if not any(label.is_file() for label in labels):
        raise DataError(f"no image of {folder} has a text file of boxes such as {labels[0]}")
    samples = [
        Sample(file, None, Boxes(_boxes(label, names), relative=True))
        for file, label in zip(files, labels, strict=True)
    ]
    return Dataset(folder.resolve().name, folder, tuple(samples), names)


def _is_pair(path: Path) -> bool:
    texts = path / "labels"
    return (path / "images").is_dir() and any(True for _ in texts.rglob("*.txt"))


def _is_labelled(path: Path) -> bool:
    texts = _label_file(path.absolute() / "any").parent
    return texts != path.absolute() and bool(image_files(path)) and any(texts.glob("*.txt"))


def _label_file(image: Path) -> Path:
    """Return the text file of an image: the last `images` of its path becomes `labels`."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        parts[last] = "labels"
    return Path(*parts).with_suffix(".txt")


def _facts(table: Path) -> dict[str, Value]:
    try:
        return read_yaml(table.read_text(encoding="utf-8-sig"), _KEYS)
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8; save it as UTF-8") from error
    except DataError as error:
        raise DataError(f"{table} {error}") from error


def _names(table: Path, facts: dict[str, Value]) -> dict[int, str]:
    names = facts.get("names")
    names = {str(i): name for i, name in enumerate(names)} if isinstance(names, list) else names
    if not names or isinstance(names, str) or not all(map(_is_class, names)):
        raise DataError(f"{table} has no names: write them as a list, or as a table from 0")
    numbered = {int(key): name for key, name in names.items()}
    count = facts.get("nc") or str(len(numbered))
    if str(len(numbered)) != count:
        raise DataError(f"{table} says nc: {count} and has {len(numbered)} names; correct it")
    return numbered


def _is_class(word: str) -> bool:
    return word.isdecimal() and len(word) < 10


def _listed(table: Path, facts: dict[str, Value]) -> tuple[Path, list[Path]]:
    """Return the folder and the images of the set to judge by, else of the one to train by."""
    wanted = facts.get("val") or facts.get("train")
    if isinstance(wanted, dict) or not wanted:
        raise DataError(f"{table} names no images; write val: or train: with their folder")
    home = table.resolve().parent
    base = home / str(facts.get("path") or "")
    places = [wanted] if isinstance(wanted, str) else wanted
    folders = [_place(table, base, home, place) for place in places]
    files = list(dict.fromkeys(file for folder in folders for file in _images(folder)))
    return folders[0] if folders[0].is_dir() else folders[0].parent, files


def _place(table: Path, base: Path, home: Path, place: str) -> Path:
    """Find what `place` names: below `path`, beside the .yaml file, or as Roboflow has it."""
    # Roboflow writes ../valid/images for valid/images (ultralytics/data/utils.py does the same).
    tries = [base / place, home / place, home / place.removeprefix("../")]
    found = next((path for path in tries if path.exists()), None)
    if found is None:
        raise DataError(f"{table} names {place}, which is not there (looked at {tries[0]})")
    return found


def _images(place: Path) -> list[Path]:
    """Return the images of a folder, those in folders below it included, or of a list of them."""
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if is_image(file) and file.is_file())
    lines = place.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    files = [place.parent / line.strip() for line in lines if line.strip()]
    missing = [str(file) for file in files if not (is_image(file) and file.is_file())]
    if missing:
        raise DataError(
            f"{place} names {len(missing)} images of {len(files)} that are not there "
            f"(first: {missing[0]}); correct it or add them"
        )
    return files


def _boxes(label: Path, names: dict[int, str] | None) -> tuple[Box, ...]:
    try:
        lines = label.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise DataError(f"{label} is no text; write one line `class x y w h` per thing") from error
    boxes = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                boxes.append(_box(line.split(), names))
            except ValueError as error:
                raise DataError(f"{label} line {number}: {error}") from error
    return tuple(boxes)


def _box(words: list[str], names: dict[int, str] | None) -> Box:
    """Return the box of one line; ValueError says what is wrong with it."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise ValueError(f"{len(words)} numbers are neither `class x y w h` nor an outline")
    if not _is_class(words[0]) or (names is not None and int(words[0]) not in names):
        raise ValueError(f"{words[0]!r:.40} is no class of this data set")
    shares = [float(word) for word in words[1:]]
    if len(shares) == 4:
        x, y, width, height = shares
        across, down = (x - width / 2, x + width / 2), (y - height / 2, y + height / 2)
    else:
        across, down = (min(shares[::2]), max(shares[::2])), (min(shares[1::2]), max(shares[1::2]))
    if not all(math.isfinite(s) and -_SLACK <= s <= 1 + _SLACK for s in shares):
        raise ValueError("numbers are not shares of the picture from 0 to 1")
    return Box(int(words[0]), across[0], down[0], across[1], down[1])
