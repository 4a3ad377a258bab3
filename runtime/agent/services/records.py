"""What plain supervision writes down: its options, what the service is, and what that printed."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from runtime.agent.services.base import ServiceOptions

MOST_LOG = 1 << 20
"""A log of more bytes is put aside, and the one before it removed: twice this is what it takes."""


@dataclass(frozen=True)
class Entry:
    """What a supervisor, by its process id, says of the service: the fields of `Liveness`, and its
    line of status."""

    supervisor: int = 0
    pid: int | None = None
    since: float | None = None
    ready: bool = False
    restarts: int = 0
    reason: str = ""
    status: str = ""


@dataclass(frozen=True)
class Limits:
    """Those of `ServiceOptions` that a supervisor keeps."""

    watchdog_s: float | None = None
    ready_s: float = ServiceOptions.ready_s


@dataclass(frozen=True)
class Records:
    """The files of plain supervision in the folder of an installation."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the one supervisor, and its process id."""
        return self.root / "run" / "supervisor.lock"

    @property
    def output(self) -> Path:
        """What the supervisor itself prints: faults."""
        return self.root / "log" / "supervisor.log"

    @property
    def log(self) -> Path:
        """What the service prints."""
        return self.root / "log" / "service.log"

    def make(self) -> None:
        """Make the folders."""
        for path in (self.lock, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)

    def entry(self) -> Entry:
        """Return what was written last; an empty one where there is nothing, or it is damaged."""
        found = _read(self.root / "run" / "service.json", Entry)
        return found if isinstance(found, Entry) else Entry()

    def write_entry(self, entry: Entry) -> None:
        """Note what the service is. It counts while its supervisor lives: nothing is synced."""
        _write(self.root / "run" / "service.json", asdict(entry))

    def forget(self) -> None:
        """Forget what the service was."""
        (self.root / "run" / "service.json").unlink(missing_ok=True)

    def limits(self) -> Limits:
        """Return the limits that were set, or those that hold without."""
        found = _read(self.root / "run" / "limits.json", Limits)
        return found if isinstance(found, Limits) else Limits()

    def write_limits(self, limits: Limits) -> None:
        """Set limits, which hold from the next start on."""
        _write(self.root / "run" / "limits.json", asdict(limits))


class Log:
    """A file of bounded size that lines are put to."""

    def __init__(self, path: Path, most: int = MOST_LOG) -> None:
        self.path, self._most = path, most

    def put(self, data: bytes) -> None:
        """Append to it. What a full disk does not take is lost: the service goes on."""
        with contextlib.suppress(OSError):
            with self.path.open("ab") as file:
                file.write(data)
                size = file.tell()
            if size > self._most:
                os.replace(self.path, self._older)

    def last(self, lines: int) -> list[str]:
        """Return the last lines, the newest last."""
        data = b""
        for path in (self._older, self.path):
            with contextlib.suppress(FileNotFoundError):
                data += path.read_bytes()
        found = data.decode(errors="replace").splitlines()
        return found[max(0, len(found) - lines) :] if lines > 0 else []

    @property
    def _older(self) -> Path:
        return self.path.with_name(f"{self.path.name}.1")


def write_holder(lock: int, pid: int) -> None:
    """Write who holds a lock over whoever held it before: that takes no space, so that a service
    starts on a full disk. Where the file is new, and there is none, nobody is named."""
    with contextlib.suppress(OSError):
        os.pwrite(lock, b"%-10d\n" % pid, 0)


def _read(path: Path, kind: type) -> Any:
    """Return what a file holds; None where a power cut left anything else."""
    try:
        found = json.loads(path.read_bytes())
        return kind(**{field.name: found[field.name] for field in fields(kind)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(json.dumps(content), encoding="utf-8")
    os.replace(draft, path)
