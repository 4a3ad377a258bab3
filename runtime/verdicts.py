"""Verdicts on the rungs of a bundle, kept between starts so that a proof is paid for once.

One small file per bundle in the user's cache. It only ever saves time: where it cannot be read or
written, or says nothing that makes sense, there is no verdict.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEPT = 64
"""How many bundles' verdicts are kept."""

REFUSED_S = 3600.0
"""How long a refusal is believed: what its message asks for may have been done since, in ways that
no file here shows (a device was plugged in)."""


@dataclass(frozen=True)
class Verdict:
    """What was found of a rung: `reason` it was refused for, empty when it is healthy; the median
    and the slowest of its golden runs in milliseconds; and when that was (`time.time`)."""

    reason: str = ""
    ms: float = 0.0
    slowest_ms: float = 0.0
    at: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether it still holds; a healthy rung is looked at again whenever it is opened."""
        return not self.reason or 0 <= time.time() - self.at < REFUSED_S


def cache_folder() -> Path | None:
    """Return `edge-sdk/verdicts` in the user's cache (XDG); None for a user without a home."""
    for base in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(base):
            return Path(base, "edge-sdk", "verdicts")
    return None


class Verdicts:
    """The verdicts on one bundle's rungs, by rung and by `key`: all that a verdict depends on.

    Without a `folder` they are kept for the life of this object alone. For use from any thread.
    """

    def __init__(self, bundle: str, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / f"{bundle}.json"
        self._lock = threading.Lock()
        self._known: dict[str, Verdict] = {} if self._path is None else _read(self._path)

    def get(self, rung: int, key: Mapping[str, Any]) -> Verdict | None:
        """Return the verdict on a rung, if there is one that holds for `key`."""
        with self._lock:
            found = self._known.get(_name(rung, key))
        return found if found is not None and found.fresh else None

    def put(self, rung: int, key: Mapping[str, Any], verdict: Verdict) -> None:
        """Keep a verdict; those on the same rung for other keys go."""
        with self._lock:
            others = {n: v for n, v in self._known.items() if not n.startswith(f"{rung}:")}
            self._known = {**others, _name(rung, key): verdict}
            if self._path is not None:
                _write(self._path, self._known)


def _name(rung: int, key: Mapping[str, Any]) -> str:
    text = json.dumps(key, sort_keys=True)
    return f"{rung}:{hashlib.sha256(text.encode()).hexdigest()}"


def _read(path: Path) -> dict[str, Verdict]:
    try:
        with path.open("rb") as file:
            entries = json.loads(file.read(1 << 20))
        return {str(name): _verdict(**fields) for name, fields in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _verdict(reason: str, ms: float, slowest_ms: float, at: float) -> Verdict:
    verdict = Verdict(str(reason), float(ms), float(slowest_ms), float(at))
    if not (reason.isprintable() and math.isfinite(verdict.ms + verdict.slowest_ms + verdict.at)):
        raise ValueError("not a verdict")
    return verdict


def _write(path: Path, verdicts: Mapping[str, Verdict]) -> None:
    """Write beside and rename, so that readers see the old file or the new one; or do nothing."""
    draft = path.parent / f".{secrets.token_hex(8)}.tmp"
    text = json.dumps({name: asdict(verdict) for name, verdict in verdicts.items()})
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            draft.write_text(text)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _forget_oldest(path.parent)


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink(missing_ok=True)
