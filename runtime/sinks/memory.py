"""Sink: a list in memory (`memory:`), for tests and for programs."""

from __future__ import annotations

from runtime.frame import Frame
from runtime.sinks.base import Record, SinkContext, Stamp
from runtime.tasks.base import Result


def accepts(uri: str) -> bool:
    """Say whether `uri` is `memory:`."""
    return uri == "memory:"


def open_sink(_uri: str, _context: SinkContext) -> Memory:
    """Return an empty list of results."""
    return Memory()


class Memory:
    """Keeps a record of every result, without the pixels; `closed` says that all are there."""

    newest = False

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = False

    @property
    def results(self) -> list[Result]:
        """The results alone, in the order of the frames."""
        return [record.result for record in self.records]

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Keep one result."""
        self.records.append(Record.of(frame, result, stamp))

    def close(self) -> None:
        """Note that all results are there."""
        self.closed = True
