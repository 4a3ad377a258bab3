"""Images with a CSV of labels: first column the file, second the integer class.

A column headed `name` gives the name of the class. The table is `labels.csv` in the folder,
`<folder>_labels.csv` beside it, or the path itself. A header line is optional.
"""

from __future__ import annotations

import csv
from pathlib import Path

from device_profiles.errors import DataError
from runtime.datasets._found import check_files
from runtime.datasets.base import Dataset, Sample

PRIORITY = 10

Row = tuple[int, list[str]]


def accepts(path: Path) -> bool:
    """Return whether a CSV of labels belongs to `path`."""
    return _table(path) is not None


def read(path: Path) -> Dataset:
    """Return the images that the CSV lists, in its order; DataError names the line at fault."""
    table = _table(path)
    if table is None:
        raise DataError(f"no labels.csv in {path} and no {path.name}_labels.csv beside it")
    root = path if path.is_dir() else _folder(table)
    header, rows = _rows(table)
    column = header.index("name") if "name" in header else None
    samples: list[Sample] = []
    names: dict[int, str] = {}
    for line, row in rows:
        label = _label(table, line, row)
        samples.append(Sample(root / row[0], label))
        name = row[column].strip() if column is not None and column < len(row) else ""
        if name and names.setdefault(label, name) != name:
            raise DataError(
                f"{table} line {line}: class {label} is called {name!r}, before it was "
                f"{names[label]!r}; give each class one name"
            )
    check_files(table, root, samples)
    return Dataset(root.resolve().name, root, tuple(samples), names or None)


def _table(path: Path) -> Path | None:
    if path.is_dir():
        absolute = path.resolve()
        beside = absolute.with_name(f"{absolute.name}_labels.csv")
        return next((t for t in (path / "labels.csv", beside) if t.is_file()), None)
    return path if path.suffix.lower() == ".csv" and path.is_file() else None


def _folder(table: Path) -> Path:
    beside = table.with_name(table.stem.removesuffix("_labels"))
    return beside if beside.is_dir() else table.parent


def _rows(table: Path) -> tuple[list[str], list[Row]]:
    """Return the lower-case header (empty without one) and the lines, numbered from 1."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is not a CSV in UTF-8: {error}") from error
    has_header = bool(rows) and not _is_integer(rows[0][1])
    header = [cell.strip().lower() for cell in rows[0][1]] if has_header else []
    rows = rows[1:] if has_header else rows
    if not rows:
        raise DataError(f"{table} lists no images; write one line `file,class` per image")
    return header, rows


def _is_integer(row: list[str]) -> bool:
    return len(row) > 1 and row[1].strip().removeprefix("-").isdecimal()


def _label(table: Path, line: int, row: list[str]) -> int:
    if not _is_integer(row) or int(row[1]) < 0:
        found = row[1] if len(row) > 1 else "nothing"
        raise DataError(
            f"{table} line {line}: the second column must be an integer class from 0, "
            f"found {found!r}"
        )
    return int(row[1])
