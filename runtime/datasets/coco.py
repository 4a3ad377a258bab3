"""COCO: images with a JSON of boxes (https://cocodataset.org/#format-data).

The JSON is the path itself; or `instances*.json` or `_annotations.coco.json` in the folder or in
its `annotations`; or, for a folder of images, the one beside it that bears its name. Classes are
numbered from 0 in the order of their ids, as the models trained on COCO's 80 ids number them.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from device_profiles.errors import DataError
from runtime.datasets._found import check_files
from runtime.datasets.base import Box, Boxes, Dataset, Sample
from runtime.images import image_files

PRIORITY = 12
_NAMES = ("instances*.json", "_annotations.coco.json")
_REMEDY = "give instances of COCO (boxes of things), as its site describes the format"

Record = Mapping[str, Any]


def accepts(path: Path) -> bool:
    """Return whether `path` is a .json file, or a folder to which such a JSON belongs."""
    return bool(_tables(path))


def read(path: Path) -> Dataset:
    """Return every image that the JSON lists, those without things too.

    DataError says what of the JSON is not as COCO has it, or which files are not there.
    """
    table = _table(path)
    content = _content(table)
    categories = _records(table, content, "categories")
    names = {_integer(table, c, "id"): str(c.get("name", c["id"])) for c in categories}
    if len(names) != len(categories):
        raise DataError(f"{table} has two categories with one id; {_REMEDY}")
    number = {identity: index for index, identity in enumerate(sorted(names))}
    things: dict[Hashable, list[Box]] = defaultdict(list)
    for record in _records(table, content, "annotations"):
        things[_identity(table, record, "image_id")].append(_box(table, record, number))
    pictures = _pictures(table, content)
    strange = things.keys() - pictures.keys()
    if strange:
        raise DataError(
            f"{table} has boxes of {len(strange)} images that it does not list (first: image_id "
            f"{min(map(str, strange))}); {_REMEDY}"
        )
    root = _root(path, table, next(iter(pictures.values())))
    samples = [
        Sample(root / name, None, Boxes(tuple(things.get(identity, ()))))
        for identity, name in pictures.items()
    ]
    check_files(table, root, samples)
    class_names = {number[identity]: name for identity, name in names.items()}
    return Dataset(root.resolve().name, root, tuple(samples), class_names)


def _tables(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".json" and path.is_file() else []
    inside = _named(path) or _named(path / "annotations")
    if inside or not image_files(path):
        return inside
    folder = path.resolve()
    beside = _named(folder.parent) + _named(folder.parent / "annotations")
    own = [table for table in beside if table.stem.endswith(folder.name)]
    return own or (beside if folder.name == "images" else [])


def _named(folder: Path) -> list[Path]:
    return sorted(table for name in _NAMES for table in folder.glob(name) if table.is_file())


def _table(path: Path) -> Path:
    tables = _tables(path)
    if len(tables) != 1:
        several = ", ".join(table.name for table in tables) or "none"
        raise DataError(f"{path} has not one COCO file but {several}; give the .json itself")
    return tables[0]


def _content(table: Path) -> Record:
    try:
        content = json.loads(table.read_bytes())
    except (ValueError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise DataError(f"{table} is not JSON ({why:.120}); {_REMEDY}") from error
    if not isinstance(content, dict):
        raise DataError(f"{table} does not hold an object with images and annotations; {_REMEDY}")
    return content


def _records(table: Path, content: Record, key: str) -> list[Record]:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise DataError(f"{table} has no list of {key}; {_REMEDY}")
    return records


def _integer(table: Path, record: Record, key: str) -> int:
    value = record.get(key)
    if type(value) is not int:
        raise _wrong(table, record, f"{key} {value!r:.40} is no integer")
    return value


def _identity(table: Path, record: Record, key: str) -> Hashable:
    """Return the id of an image, which some tools write as text."""
    value = record.get(key)
    return value if isinstance(value, str) else _integer(table, record, key)


def _pictures(table: Path, content: Record) -> dict[Hashable, str]:
    pictures: dict[Hashable, str] = {}
    for record in _records(table, content, "images"):
        identity, name = _identity(table, record, "id"), record.get("file_name")
        if not isinstance(name, str) or not name:
            raise _wrong(table, record, "it has no file_name")
        if identity in pictures:
            raise _wrong(table, record, "two images have its id")
        pictures[identity] = name
    if not pictures:
        raise DataError(f"{table} lists no images; {_REMEDY}")
    return pictures


def _box(table: Path, record: Record, number: Mapping[int, int]) -> Box:
    category = _integer(table, record, "category_id")
    if category not in number:
        raise _wrong(table, record, f"there is no category {category}")
    corners = record.get("bbox")
    if not isinstance(corners, list) or len(corners) != 4 or not all(map(_is_finite, corners)):
        raise _wrong(table, record, f"its bbox {corners!r:.60} is not [x, y, width, height]")
    left, top, width, height = map(float, corners)
    area = record.get("area", 0.0)
    if width < 0 or height < 0 or not _is_finite(area) or area < 0:
        raise _wrong(table, record, "its width, height or area is negative or no number")
    crowd = record.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise _wrong(table, record, f"iscrowd {crowd!r:.40} is neither 0 nor 1")
    return Box(number[category], left, top, left + width, top + height, bool(crowd), float(area))


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e9 and math.isfinite(value)


def _wrong(table: Path, record: Record, why: str) -> DataError:
    identity = record.get("id")
    return DataError(f"{table}, entry with id {identity!r:.40}: {why}; {_REMEDY}")


def _root(path: Path, table: Path, first: str) -> Path:
    """Return the folder that file names are relative to: the likeliest that has the first."""
    base = table.parent.parent if table.parent.name == "annotations" else table.parent
    splits = [
        folder
        for above in (base, base / "images")
        if above.is_dir()
        for folder in sorted(above.iterdir())
        if folder.is_dir() and table.stem.endswith(folder.name)
    ]
    given = [path] if path.is_dir() else []
    folders = [*given, base, base / "images", *splits]
    return next((folder for folder in folders if (folder / first).is_file()), folders[0])
