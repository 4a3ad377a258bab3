"""The live line of `edge-sdk run`: one line at the bottom of a terminal that says how it goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from runtime.monitor import Observer
from runtime.progress import Silent, reporting_to
from runtime.status import RunStatus, SourceState, SourceStatus

_LONGEST_NAME = 32


def line(status: RunStatus, width: int, total: int | None = None) -> str:
    """Return what a run is in less than `width` columns; `total` is how many results there will be.

    What does not fit is left out, the least important first: rate, trouble of sources and board,
    age, what runs, drops, times of the stages.
    """
    parts = [  # in the order of the line, with their rank
        (5, _progress(status, total)),
        (0, f"{status.fps:.1f} fps"),
        (2, _age(status.recent)),
        (7, _stages(status.recent)),
        (4, _engine(status.engine)),
        (6, _drops(status.dropped)),
        (1, _troubles(status.sources)),
        (1, _board_trouble(status.board)),
        (5, _temperature(status.board)),
    ]
    parts = [(rank, text) for rank, text in parts if text]
    kept: set[int] = set()
    room = width - 1  # in the last column, terminals differ
    for index in sorted(range(len(parts)), key=lambda i: parts[i][0]):
        needed = len(parts[index][1]) + (2 if kept else 0)
        if needed <= room:
            kept.add(index)
            room -= needed
    return "  ".join(text for index, (_, text) in enumerate(parts) if index in kept)


def _progress(status: RunStatus, total: int | None) -> str:
    return f"{status.results}/{total} {status.results / total:.0%}" if total else ""


def _age(times: Mapping[str, Mapping[str, float]]) -> str:
    age = times.get("age")
    return f"age {_ms(age['p50_ms'])} p99 {_ms(age['p99_ms'])} ms" if age else "no results"


def _stages(times: Mapping[str, Mapping[str, float]]) -> str:
    names = ("preprocess", "infer", "decode", "sink")
    found = [f"{name} {_ms(times[name]['p50_ms'])}" for name in names if name in times]
    return f"{' '.join(found)} ms" if found else ""


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _engine(engine: Mapping[str, Any]) -> str:
    names = [str(engine[key]) for key in ("name", "provider") if engine.get(key)]
    fallen = f" after {len(engine['drops'])} drops" if engine.get("drops") else ""
    return "/".join(map(_clean, names)) + fallen


def _drops(dropped: Mapping[str, int]) -> str:
    found = [f"{count} {why}" for why, count in dropped.items() if count]
    return f"dropped {', '.join(found)}" if found else ""


def _troubles(sources: tuple[SourceStatus, ...]) -> str:
    """Name the sources that do not give frames; where there are many, say how many do."""
    bad = [source for source in sources if source.state is not SourceState.LIVE]
    if len(bad) > 2:
        return f"{len(sources) - len(bad)} of {len(sources)} sources LIVE"
    return "  ".join(f"{_clean(source.uri)} {source.state.value}" for source in bad)


def _board_trouble(board: Mapping[str, Any]) -> str:
    found = [word for key, word in (("throttled", "throttled"), ("under_voltage", "under-voltage"))
             if board.get(key)]  # fmt: skip
    if limit := board.get("limit_fps"):
        found.append(f"limited to {limit:.1f} fps")
    return " ".join(found).upper() if found else ""


def _temperature(board: Mapping[str, Any]) -> str:
    found = board.get("temperature_c")
    return "" if found is None else f"{found:.0f} °C"


def _clean(text: str) -> str:
    """Return text that moves no cursor and leaves room for others."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= _LONGEST_NAME else f"…{text[1 - _LONGEST_NAME :]}"


class LiveLine(Silent):
    """Draws the line whenever it is told the state of the run; also takes the place of the bar that
    shows progress, as there is but one last line.

    A stream that fails (its terminal is gone) is not written to again.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._total: int | None = None

    def begin(self, label: str, total: int | None) -> None:
        """Learn how many results there will be."""
        self._total = total

    def step(self, text: str) -> None:
        """Write a line of text, above the live one."""
        self._write(f"\r\x1b[K{text}\n")

    def __call__(self, status: RunStatus) -> None:
        """Draw."""
        text = line(status, shutil.get_terminal_size().columns, self._total)
        self._write(f"\r{text}\x1b[K")  # over the old one: clearing first would flicker

    def clear(self) -> None:
        """Leave nothing behind."""
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


@contextmanager
def live(stream: TextIO, hidden: bool = False) -> Iterator[tuple[Observer, ...]]:
    """Give the observers of a run that draw on `stream`: none where it is no terminal or `hidden`.

    Inside the `with`, what reports progress does so through the line.
    """
    if hidden or not stream.isatty() or os.environ.get("TERM") == "dumb":
        yield ()
        return
    drawn = LiveLine(stream)
    try:
        with reporting_to(drawn):
            yield (drawn,)
    finally:
        drawn.clear()
