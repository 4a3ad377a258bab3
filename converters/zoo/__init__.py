"""Reference CNNs: one file per family, each with a `MODELS` tuple of factory functions.

A factory takes no argument and returns a `converters.zoo.base.Net` in eval mode, which carries the
`input_contract` and the `task` it is meant for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from device_profiles.errors import ModelError, missing
from device_profiles.nearest import hint
from runtime.plugins import load_all

if TYPE_CHECKING:
    from converters.zoo.base import Net

__all__ = ["create", "names"]


def names() -> list[str]:
    """Return the names of every model of the zoo, sorted; MissingError without torch."""
    return sorted(_factories())


def create(name: str) -> Net:
    """Build the model called `name`; ModelError names the nearest when there is none.

    Weights are random, save where the model comes with its own (`digits_cnn`).
    """
    factories = _factories()
    key = name.replace("-", "_")
    if key not in factories:
        raise ModelError(f"the zoo has no model {name!r}; {hint(key, factories)}")
    return factories[key]()


def _factories() -> dict[str, Callable[[], Net]]:
    try:
        import torch  # noqa: F401  (every file of the zoo needs it)
    except ImportError as error:
        raise missing("torch", "convert") from error
    return {
        factory.__name__: factory
        for module in load_all(__name__)
        for factory in getattr(module, "MODELS", ())
    }
