"""`zoo:NAME`: an architecture of our own zoo."""

from __future__ import annotations

from converters import zoo
from converters.capture import Captured
from converters.loaders.base import LoadOptions
from converters.loaders.factory import capture_factory


def accepts(spec: str) -> bool:
    """Tell whether `spec` starts with `zoo:`."""
    return spec.startswith("zoo:")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Create the architecture, load the weights asked for, capture it."""
    name = spec.partition(":")[2]
    return capture_factory(lambda: zoo.create(name), spec, name, options)
