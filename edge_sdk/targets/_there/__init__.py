"""Small programs that run on a device over ssh: standard library only, sent as text, nothing kept.

Each is given to the device's Python with `-c`, before any code of ours is there.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache
def source(name: str) -> str:
    """Return the text of one of the programs of this folder."""
    return (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
