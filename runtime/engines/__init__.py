"""Engines: one file per interpreter, each with `open_engine(model: bytes, options) -> Engine`.

Its `TRAITS` say what must be known before it is imported.
"""

from __future__ import annotations

from functools import lru_cache

from runtime.engines.base import Array, Engine, EngineOptions, Traits
from runtime.plugins import load

__all__ = ["Array", "Engine", "EngineOptions", "Traits", "open_engine", "traits"]


def open_engine(name: str, model: bytes, options: EngineOptions | None = None) -> Engine:
    """Load `model` (the bytes of an artifact) in the engine called `name`.

    Raises MissingError when the interpreter is not installed, EngineError when it cannot load the
    model or does not really run it on the provider asked for.
    """
    engine: Engine = load("runtime.engines", name).open_engine(model, options or EngineOptions())
    return engine


@lru_cache
def traits(name: str) -> Traits:
    """Return what the engine called `name` says of itself; RequestError when there is none."""
    found: Traits = getattr(load("runtime.engines", name), "TRAITS", Traits())
    return found
