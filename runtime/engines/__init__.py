"""Engines: one file per interpreter, each with `open_engine(model: bytes, options) -> Engine`."""

from __future__ import annotations

from runtime.engines.base import Array, Engine, EngineOptions
from runtime.plugins import load

__all__ = ["Array", "Engine", "EngineOptions", "open_engine"]


def open_engine(name: str, model: bytes, options: EngineOptions | None = None) -> Engine:
    """Load `model` (the bytes of an artifact) in the engine called `name`.

    Raises MissingError when the interpreter is not installed, EngineError when it cannot load the
    model or does not really run it on the provider asked for.
    """
    engine: Engine = load("runtime.engines", name).open_engine(model, options or EngineOptions())
    return engine
