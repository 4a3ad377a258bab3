"""What an agent says: a JSON line each, to whoever flashes, as long as somebody reads."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from typing import IO, Any


class Wire:
    """Lines to whoever flashes; where nobody reads any more, they are dropped."""

    def __init__(self, out: IO[str]) -> None:
        self._out: IO[str] | None = out

    def say(self, step: str, **more: Any) -> None:
        """Tell of a step."""
        self.put({"step": step, **more})

    def put(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        if self._out is None:
            return
        try:
            self._out.write(json.dumps(message, default=str) + "\n")
            self._out.flush()
        except (OSError, ValueError):
            self._out = None
            # So that Python does not try once more when it ends.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
