"""Progress of long work: library code reports it, and whoever runs the library decides to show it.

Without a reporter nothing is shown. The command line runs its work inside
`with reporting_to(TerminalBar()):`.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TextIO, TypeVar

Item = TypeVar("Item")


class Reporter(Protocol):
    """Somebody who shows progress. Work may be nested: `end` ends what was begun last."""

    def begin(self, label: str, total: int | None) -> None:
        """Work of `total` items (None when unknown) begins."""

    def advance(self) -> None:
        """One more item of the innermost work is done."""

    def end(self) -> None:
        """The innermost work is over, done or not."""

    def step(self, text: str) -> None:
        """Something without a length begins."""


class Silent:
    """Shows nothing."""

    def begin(self, label: str, total: int | None) -> None:
        """Show nothing."""

    def advance(self) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""

    def step(self, text: str) -> None:
        """Show nothing."""


_reporter: ContextVar[Reporter] = ContextVar("edge_sdk_reporter", default=Silent())  # noqa: B039


@contextmanager
def reporting_to(reporter: Reporter) -> Iterator[None]:
    """Send what is reported inside the `with`, in this thread, to `reporter`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def track(iterable: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items of `iterable` and report each as done when the next one is asked for.

    `total` is taken from `len(iterable)` where it is not given and there is a length.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    reporter = _reporter.get()
    reporter.begin(label, total)
    try:
        for item in iterable:
            yield item
            reporter.advance()
    finally:
        reporter.end()


def step(text: str) -> None:
    """Report that something without a length begins."""
    _reporter.get().step(text)


@dataclass
class _Work:
    label: str
    total: int | None
    start: float
    done: int = 0
    shown: float = float("-inf")
    told: int = 0


class TerminalBar:
    """Shows progress on standard error: a bar with the time left, or, where that is no terminal,
    a plain line at every tenth of longer work."""

    REDRAW_S = 0.1
    PLAIN_S = 2.0
    """In a log, work is not mentioned before it has taken this long."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._works: list[_Work] = []

    def begin(self, label: str, total: int | None) -> None:
        """Show an empty bar."""
        self._works.append(_Work(label, total, time.monotonic()))
        self._show(self._works[-1])

    def advance(self) -> None:
        """Count one item and show it when the last drawing is old enough."""
        work = self._works[-1]
        work.done += 1
        self._show(work)

    def end(self) -> None:
        """Take the bar away; what was around it shows up again at its next item."""
        self._works.pop()
        if self._bar:
            self._write("\r\x1b[K")

    def step(self, text: str) -> None:
        """Write a line of text, above the bar."""
        self._write(f"\r\x1b[K{text}\n" if self._bar else f"{text}\n")

    def _show(self, work: _Work) -> None:
        now = time.monotonic()
        if self._bar:
            if now - work.shown >= self.REDRAW_S or work.done == work.total:
                work.shown = now
                width = shutil.get_terminal_size().columns
                self._write("\r\x1b[K" + _line(work, now, width)[: width - 1])
        elif work.total and now - work.start >= self.PLAIN_S:
            tenth = work.done * 10 // work.total
            if tenth > work.told:
                work.told = tenth
                self._write(_plain(work, now) + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _line(work: _Work, now: float, width: int) -> str:
    if not work.total:
        return f"{work.label} {work.done}  {_clock(now - work.start)}"
    tail = _plain(work, now).removeprefix(work.label)
    room = max(0, min(30, width - len(work.label) - len(tail) - 4))
    filled = min(room, room * work.done // work.total)
    return f"{work.label} [{'#' * filled}{'.' * (room - filled)}]{tail}"


def _plain(work: _Work, now: float) -> str:
    total = work.total or 1
    words = f"{work.label} {work.done}/{total} {work.done / total:4.0%}"
    if 0 < work.done < total:
        words += f"  {_clock((now - work.start) / work.done * (total - work.done))} left"
    return words


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
