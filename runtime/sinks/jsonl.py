"""Sink: one JSON object per frame and line, into a `.jsonl` file or, as `-`, to standard output."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

from device_profiles.errors import OutputError
from runtime.frame import Frame
from runtime.sinks._files import unwritable
from runtime.sinks.base import Record, SinkContext, Stamp
from runtime.tasks.base import Result


def accepts(uri: str) -> bool:
    """Say whether `uri` is `-` or the name of a `.jsonl` or `.ndjson` file."""
    return uri == "-" or ("://" not in uri and Path(uri).suffix in (".jsonl", ".ndjson"))


def open_sink(uri: str, _context: SinkContext) -> JsonLines:
    """Open the file, leaving what is in it; OutputError when it cannot be written."""
    return JsonLines(uri)


class JsonLines:
    """Writes `{"index", "name", "source", "captured_ns", "latency_ms", "provider", "result"}` and,
    if known, `"truth"`.

    The first result empties a file that was there: a run that never begins, or has none, costs
    nothing. Every line is flushed as it is written, so that a reader at the other end sees it at
    once.
    """

    newest = False

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._own = uri != "-"
        self._older = self._own
        try:
            self._stream = sys.stdout
            if self._own:
                self._stream = Path(uri).open("a", encoding="utf-8")  # noqa: SIM115 - see close
        except OSError as error:
            raise unwritable(uri, error) from error

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Write one line; OutputError when the disk is full or the reader is gone."""
        try:
            line = json.dumps(Record.of(frame, result, stamp).to_json(), allow_nan=False)
            self._drop_older()
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError as error:
            raise unwritable(self._uri, error) from error
        except (ValueError, TypeError) as error:
            raise OutputError(
                f"{self._uri}: the result of {frame.name or frame.index} is not JSON ({error}); "
                "the model's outputs must be finite, and a decoder's values plain numbers and words"
            ) from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._own:
            try:
                self._stream.close()
            except OSError as error:
                raise unwritable(self._uri, error) from error

    def _drop_older(self) -> None:
        """Empty the file before its first line; a pipe or a device has nothing to empty."""
        if self._older and stat.S_ISREG(os.fstat(self._stream.fileno()).st_mode):
            self._stream.truncate(0)
        self._older = False
