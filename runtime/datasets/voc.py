"""Pascal VOC: boxes in `Annotations/*.xml`, pictures in `JPEGImages` (or `images`).

The path is the folder that holds both, or a list of names such as `ImageSets/Main/val.txt`.
Corners count pixels from 1, the last one included (VOC devkit); classes are numbered from 0 in
the order of their names. A thing marked `difficult` is like COCO's `iscrowd`: to find it or not
does not count.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from device_profiles.errors import DataError
from runtime.datasets._found import check_files
from runtime.datasets.base import Box, Boxes, Dataset, Sample
from runtime.images import is_image

PRIORITY = 13
_XML, _PICTURES = "Annotations", ("JPEGImages", "images")
# An annotation has some kilobytes.
_MAX_BYTES = 16 << 20

Thing = tuple[str, Box]


def accepts(path: Path) -> bool:
    """Return whether `path` is, or belongs to, a folder with annotations and pictures."""
    root = _root(path)
    return root is not None and any((root / _XML).glob("*.xml"))


def read(path: Path) -> Dataset:
    """Return every picture that has an annotation; DataError names the file at fault."""
    root = _root(path)
    if root is None:
        raise DataError(f"{path} is no folder with {_XML} and {_PICTURES[0]}")
    tables = sorted((root / _XML).glob("*.xml")) if path.is_dir() else _listed(path, root)
    folder = next(root / name for name in _PICTURES if (root / name).is_dir())
    pictures = {file.stem: file for file in sorted(folder.iterdir()) if is_image(file)}
    things = [_things(table) for table in tables]
    names = sorted({name for found in things for name, _ in found})
    number = {name: index for index, name in enumerate(names)}
    samples = [
        Sample(
            pictures.get(table.stem, folder / f"{table.stem}.jpg"),
            None,
            Boxes(tuple(replace(box, label=number[name]) for name, box in found)),
        )
        for table, found in zip(tables, things, strict=True)
    ]
    check_files(root / _XML, folder, samples)
    return Dataset(root.resolve().name, root, tuple(samples), dict(enumerate(names)))


def _root(path: Path) -> Path | None:
    above = path.resolve().parents
    listed = path.suffix == ".txt" and path.is_file() and len(above) > 2
    root = above[2] if listed else path
    whole = (root / _XML).is_dir() and any((root / name).is_dir() for name in _PICTURES)
    return root if whole else None


def _listed(path: Path, root: Path) -> list[Path]:
    try:
        names = [line.split()[0] for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a list of names in UTF-8") from error
    if not names:
        raise DataError(f"{path} lists no pictures; write one name per line")
    return [root / _XML / f"{name}.xml" for name in names]


class _Builder(ElementTree.TreeBuilder):
    """Builds a tree, and refuses entities, which can grow without end, before one is read."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a DOCTYPE, which no annotation needs")


def _things(table: Path) -> list[Thing]:
    try:
        data = table.read_bytes()
        if len(data) > _MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are too many for an annotation")
        tree = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Builder()))
        return [_thing(element) for element in tree.iterfind("object")]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{table} is no annotation of VOC: {error}") from error


def _thing(element: ElementTree.Element) -> Thing:
    """Return a class name and a box without its class; ValueError says what is wrong."""
    name = (element.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    corners = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = element.findtext(f"bndbox/{key}") or ""
        corners.append(float(text or "nan"))
        if not math.isfinite(corners[-1]) or abs(corners[-1]) > 1e9:
            raise ValueError(f"{key} of {name!r:.40} is no number")
    left, top, right, bottom = corners
    if right < left or bottom < top:
        raise ValueError(f"the box of {name!r:.40} ends before it begins")
    crowd = (element.findtext("difficult") or "0").strip() == "1"
    return name, Box(0, left - 1, top - 1, right, bottom, crowd)
