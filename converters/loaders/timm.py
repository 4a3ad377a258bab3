"""`timm:NAME`: a pretrained model of timm, where the user has it installed."""

from __future__ import annotations

from typing import Any

from converters.capture import Captured
from converters.loaders.base import LoadOptions
from converters.loaders.factory import capture_factory
from device_profiles.errors import MissingError


def accepts(spec: str) -> bool:
    """Tell whether `spec` starts with `timm:`."""
    return spec.startswith("timm:")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Create the model with its pretrained weights (or `options.weights`) and capture it."""
    try:
        import timm
    except ImportError as error:
        raise MissingError(f"{spec} needs timm: pip install timm") from error
    name = spec.partition(":")[2]

    def create() -> Any:
        return timm.create_model(name, pretrained=options.weights is None)

    return capture_factory(create, spec, name, options)
