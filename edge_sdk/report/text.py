"""A report for the terminal: plain, aligned, legible at a glance."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from edge_sdk.report.figures import cells, clean, is_numeric
from edge_sdk.report.report import Gate, Report, Table

_GAP = 2
_NARROWEST = 12  # columns of words are not wrapped into less
_NAME = 30  # nor are names without a blank in them, up to this
_MOST_ROWS = 40


def render(report: Report, width: int = 100) -> str:
    """Return the report as text of at most `width` columns; a table's figures may exceed it."""
    title = _wrapped(report.title, width)
    blocks = [f"{title}\n{'=' * max(_columns(line) for line in title.splitlines())}"]
    blocks += [_wrapped(report.summary, width)] if report.summary else []
    blocks += [table(each, width) for each in report.tables]
    blocks += [_gates(report.gates, width)] if report.gates else []
    if report.notes:
        blocks.append("\n".join(["Notes", *(_wrapped(note, width, "- ") for note in report.notes)]))
    if report.gates:
        blocks.append(_verdict(report.gates))
    return "\n\n".join(blocks)


def table(table: Table, width: int = 100) -> str:
    """Return one table as text: figures to the right, words to the left and wrapped to fit.

    Of a long table the first 40 rows are shown, and the number of the others.
    """
    shown = table.rows[:_MOST_ROWS]
    columns = [[row[i] for row in shown] for i in range(len(table.columns))]
    right = [is_numeric(column) for column in columns]
    names = [clean(name) for name in table.columns]
    lines: list[Sequence[str]] = [names, *zip(*map(cells, columns), strict=True)]
    widths = _widths(lines, right, width)
    text = [_wrapped(table.title, width)] if table.title else []
    text += _row(lines[0], widths, right)
    text += _row(["-" * each for each in widths], widths, right)
    text += [part for line in lines[1:] for part in _row(line, widths, right)]
    if len(table.rows) > len(shown):
        text.append(f"  ... and {len(table.rows) - len(shown):,} more")
    if not table.rows:
        text.append("  (nothing)")
    text += [_wrapped(table.note, width, "  ")] if table.note else []
    return "\n".join(text)


def _widths(lines: list[Sequence[str]], right: list[bool], width: int) -> list[int]:
    """Return the columns' widths: to fit, names are wrapped, then words, but never figures."""
    columns = [[_columns(cell) for cell in column] for column in zip(*lines, strict=True)]
    widths = [max(column) for column in columns]
    words = [max(map(_columns, name.split()), default=0) for name in lines[0]]
    filled = [max(word, *column[1:], 0) for word, column in zip(words, columns, strict=True)]
    below = zip(*lines[1:], strict=True) if lines[1:] else ([""] for _ in columns)
    floors = [_NARROWEST if any(map(_blank, column)) else _NAME for column in below]
    least = [
        f if flush else min(f, floor) for f, flush, floor in zip(filled, right, floors, strict=True)
    ]
    for floor in (filled, least):
        while sum(widths) + _GAP * len(widths) > width:
            wide = [i for i in range(len(widths)) if widths[i] > floor[i]]
            if not wide:
                break
            widths[max(wide, key=lambda i: widths[i])] -= 1
    return widths


def _blank(cell: str) -> bool:
    return " " in cell


def _row(row: Sequence[str], widths: list[int], right: list[bool]) -> list[str]:
    """Return the lines of a row: as many as its longest cell needs."""
    parts = [_lines(cell, wide) for cell, wide in zip(row, widths, strict=True)]
    lines = []
    for n in range(max(map(len, parts), default=0)):
        line = ""
        for part, wide, flush in zip(parts, widths, right, strict=True):
            cell = part[n] if n < len(part) else ""
            blank = " " * (wide - _columns(cell))
            line += " " * _GAP + (blank + cell if flush else cell + blank)
        lines.append(line.rstrip())
    return lines


def _gates(gates: tuple[Gate, ...], width: int) -> str:
    names = [clean(gate.name) for gate in gates]
    wide = min(max(map(_columns, names)), width // 3)
    lines = ["Gates"]
    for gate, name in zip(gates, names, strict=True):
        head = f"  {'PASS' if gate.passed else 'FAIL'}  {name}{' ' * (wide - _columns(name))}  "
        detail = _lines(gate.detail, max(width - wide - 10, _NARROWEST))
        lines.append((head + detail[0]).rstrip())
        lines += [" " * (wide + 10) + more for more in detail[1:]]
    return "\n".join(lines)


def _verdict(gates: tuple[Gate, ...]) -> str:
    failed = [clean(gate.name) for gate in gates if not gate.passed]
    if failed:
        return f"FAILED: {len(failed)} of {_count(len(gates))} ({', '.join(failed)})"
    return f"PASSED: {_count(len(gates))}"


def _count(gates: int) -> str:
    return f"{gates} gate" if gates == 1 else f"{gates} gates"


def _wrapped(words: str, width: int, mark: str = "") -> str:
    """Return `words` in lines of `width`, the first behind `mark`, the others under its words."""
    lines = _lines(words, width - len(mark))
    return "\n".join((mark if n == 0 else " " * len(mark)) + line for n, line in enumerate(lines))


def _lines(words: str, width: int) -> list[str]:
    """Return `words` in lines of at most `width` columns, at least one."""
    words = clean(words)
    if _columns(words) <= width:
        return [words]
    # A wide letter takes two columns, which textwrap does not know: such text gets half as many.
    room = width if _columns(words) == len(words) else max(width // 2, 1)
    return textwrap.wrap(words, room, break_on_hyphens=False)


def _columns(words: str) -> int:
    """Return how many columns of a terminal `words` take (Unicode Standard Annex 11)."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in words)
    return len(words) + wide - sum(unicodedata.combining(c) > 0 for c in words)
