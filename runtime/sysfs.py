"""Small files of the kernel, below any root: what is missing, closed or nonsense is None."""

from __future__ import annotations

import glob
import math
import os
import re
from pathlib import Path


class Sysfs:
    """Reads /sys and /proc below `root`; nothing here raises for what a kernel may lack."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = os.path.join(root, "")

    def find(self, pattern: str) -> list[str]:
        """Return the paths that match `pattern` (relative to the root), zone10 after zone9."""
        found = glob.glob(glob.escape(self._root) + pattern)
        return sorted(found, key=lambda path: [int(d) for d in re.findall(r"\d+", path)])

    def first(self, *patterns: str) -> str | None:
        """Return the first path that matches any of the patterns, in their order."""
        return next((path for pattern in patterns for path in self.find(pattern)), None)

    def text(self, path: str | None) -> str | None:
        """Return a file's text without what surrounds it; None when it cannot be read or is empty.

        Not through `open`: that takes three times as long, and a board has dozens of files.
        """
        if path is None:
            return None
        try:
            fd = os.open(os.path.join(self._root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError):
            return None
        try:
            data = os.read(fd, 4096)
        except OSError:  # a sensor that is asleep answers EAGAIN or EIO
            return None
        finally:
            os.close(fd)
        # Device tree strings end in NUL.
        return data.decode(errors="replace").strip("\0 \t\r\n") or None

    def number(self, path: str | None, unit: float = 1.0) -> float | None:
        """Return a file's number times `unit`, None when there is none that is finite."""
        text = self.text(path)
        try:
            value = float(text) * unit if text is not None else math.nan
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def bits(self, path: str | None) -> int | None:
        """Return a file's hexadecimal number of up to 32 bits."""
        try:
            value = int(self.text(path) or "", 16)
        except ValueError:
            return None
        return value if 0 <= value < 1 << 32 else None
