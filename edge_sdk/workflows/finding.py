"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `level` is `ok`, `note` or `fault`; `remedy` mends it."""

    name: str
    level: str
    detail: str
    remedy: str = ""
