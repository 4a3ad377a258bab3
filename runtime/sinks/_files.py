"""What the sinks that write files share."""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import OutputError
from runtime.sinks.base import SinkContext


def unwritable(path: str | Path, error: OSError) -> OutputError:
    """Return the error for an output that the system refuses, with what to do about it."""
    folder = Path(path).parent
    remedy = "check the folder's permissions and the space on the disk"
    if str(path) != "-" and not folder.is_dir():
        remedy = f"make the folder {folder} first, or choose another"
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


class SourceNumbers:
    """Numbers the sources of a run from 1: in the run's order, or else as they appear."""

    def __init__(self, context: SinkContext) -> None:
        self._status = context.status
        self._numbers: dict[str, int] = {}

    def suffix(self, source: str) -> str:
        """Return what is added to the names of files of this source: none, `-2`, `-3`, ..."""
        if source not in self._numbers:
            status = self._status()
            known = [one.uri for one in status.sources] if status else []
            for uri in (*known, source):
                self._numbers.setdefault(uri, len(self._numbers) + 1)
        number = self._numbers[source]
        return f"-{number}" if number > 1 else ""
