"""Report: what a workflow found, as values that text, HTML and JSON are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Union

from device_profiles.errors import RequestError

Cell = Union[str, float, int, None]  # noqa: UP007 - an alias is evaluated, also on Python 3.10


@dataclass(frozen=True)
class Gate:
    """A condition that the work had to meet, whether it did, and the figures behind it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; a None is an empty cell, units stand in the column's name.

    RequestError when a row has not one cell per column, or two columns have one name.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            raise RequestError(f"table {self.title!r}: two columns have one name; rename one")
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise RequestError(
                    f"table {self.title!r}: row {number} has {len(row)} cells for "
                    f"{len(self.columns)} columns; give one cell per column"
                )

    def to_json(self) -> dict[str, Any]:
        """Return the title, the note and the rows as dicts by column; NaN and infinity are None."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": _finite(rows), "note": self.note}


@dataclass(frozen=True)
class Bar:
    """A value, its confidence interval where known, and whether it is the one that matters."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    highlight: bool = False


@dataclass(frozen=True)
class Bars:
    """Values of one unit side by side, with whiskers from `low` to `high`."""

    title: str
    unit: str
    items: tuple[Bar, ...]
    note: str = ""


@dataclass(frozen=True)
class Point:
    """A choice: what it costs (`x`) and what it is worth (`y`)."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Scatter:
    """Choices between a cost (x: size, latency) and a worth (y: accuracy); the best are joined."""

    title: str
    x_label: str
    y_label: str
    points: tuple[Point, ...]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line through points; a y that is not finite leaves a gap. RequestError: unequal lengths."""

    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.xs) != len(self.ys):
            raise RequestError(
                f"series {self.label!r}: {len(self.xs)} xs and {len(self.ys)} ys; give as many"
            )


@dataclass(frozen=True)
class Lines:
    """Series over a common x: latency by percentile, or over time."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    note: str = ""


Chart = Union[Bars, Scatter, Lines]  # noqa: UP007


@dataclass(frozen=True)
class Report:
    """Numbers against a budget: what was found, shown and judged. `facts` are JSON-ready."""

    title: str
    summary: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    gates: tuple[Gate, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate passed; true where there is none."""
        return all(gate.passed for gate in self.gates)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Report:
        """Return what `to_json` wrote, which has no charts; RequestError when it is none."""
        try:
            return cls(
                title=str(found["title"]),
                summary=str(found["summary"]),
                tables=tuple(_table(table) for table in found["tables"] if table["rows"]),
                gates=tuple(Gate(**gate) for gate in found["gates"]),
                facts=dict(found["facts"]),
                notes=tuple(map(str, found["notes"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RequestError(f"this is no report: {error!r:.200}") from error

    def to_json(self) -> dict[str, Any]:
        """Return all but the charts as JSON-ready values; NaN and infinity are None."""
        return {
            "title": self.title,
            "summary": self.summary,
            "passed": self.passed,
            "gates": [asdict(gate) for gate in self.gates],
            "tables": [table.to_json() for table in self.tables],
            "facts": _finite(self.facts),
            "notes": list(self.notes),
        }


def _table(found: Mapping[str, Any]) -> Table:
    columns = tuple(found["rows"][0])
    rows = tuple(tuple(row[column] for column in columns) for row in found["rows"])
    return Table(str(found["title"]), columns, rows, str(found["note"]))


def _finite(value: Any) -> Any:
    """Return a copy in which the numbers that JSON does not have are None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
