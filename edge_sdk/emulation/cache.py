"""What is built once and used again, in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return `EDGE_SDK_CACHE`, else `edge-sdk` in the user's cache (XDG)."""
    own = os.environ.get("EDGE_SDK_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "edge-sdk")


def folder(kind: str, key: str) -> Path:
    """Return where the thing of a kind with that key lies; it may not be there yet."""
    return cache_root() / kind / key
