"""Stats: what a run is, in a file that is whole at any moment (`--stats FILE.json`)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_profiles.errors import OutputError
from runtime.status import RunStatus

INTERVAL_S = 5.0
"""Between two writes: 17 000 a day of some kilobytes, which a memory card bears."""

FRESH_S = 60.0
"""For so long every status is written at first: who has just started a run waits for results."""


class StatsFile:
    """An observer that keeps `path` up to date: `{"status": ...}`, at the end `"summary"` too.

    The file is replaced, never written over: who reads it sees the newest whole state. Raises
    OutputError at once when it cannot be written.
    """

    def __init__(
        self, path: Path, interval_s: float = INTERVAL_S, fresh_s: float = FRESH_S
    ) -> None:
        self._path = path
        self._interval_s = interval_s
        self._fresh_until = time.monotonic() + fresh_s
        self._due = 0.0
        self._status: dict[str, Any] | None = None
        self._write({"status": None})

    def __call__(self, status: RunStatus) -> None:
        """Take a status, and write it if the run is young or the last one is old enough."""
        self._status = status.to_json()
        now = time.monotonic()
        if now < self._fresh_until or now >= self._due:
            self._due = now + self._interval_s
            self._write({"status": self._status})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the last status and the summary of the run."""
        self._write({"status": self._status, "summary": dict(summary)})

    def _write(self, content: Mapping[str, Any]) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            part.write_text(json.dumps(content, default=str) + "\n", encoding="utf-8")
            os.replace(part, self._path)
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written ({error.strerror or error}); check the folder, "
                "its permissions and the space on the disk"
            ) from error
