"""Sources: one file per kind, each with `accepts(uri) -> bool` and `open_source(uri) -> Source`."""

from __future__ import annotations

from device_profiles.errors import SourceError
from runtime.plugins import load_all, names
from runtime.sources.base import Source

__all__ = ["Source", "open_source"]


def open_source(uri: str) -> Source:
    """Open the source that `uri` names; SourceError when none accepts it or it does not open."""
    for module in load_all("runtime.sources"):
        if module.accepts(uri):
            source: Source = module.open_source(uri)
            return source
    kinds = ", ".join(names("runtime.sources"))
    raise SourceError(f"{uri}: no such file, and not a source of any kind ({kinds})")
