"""Sinks: one file per kind, each with `accepts(uri)` and `open_sink(uri, context) -> Sink`."""

from __future__ import annotations

from device_profiles.errors import OutputError
from runtime.plugins import load_all, names
from runtime.sinks.base import Record, Sink, SinkContext, Stamp, StopRun

__all__ = ["Record", "Sink", "SinkContext", "Stamp", "StopRun", "open_sink"]


def open_sink(uri: str, context: SinkContext | None = None) -> Sink:
    """Open the sink that `uri` names; OutputError when none accepts it or it cannot be written."""
    for module in load_all("runtime.sinks"):
        if module.accepts(uri):
            sink: Sink = module.open_sink(uri, context or SinkContext())
            return sink
    raise OutputError(f"{uri}: not a sink of any kind ({', '.join(names('runtime.sinks'))})")
