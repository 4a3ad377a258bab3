"""`torchvision:NAME`: a pretrained model of torchvision, where the user has it installed."""

from __future__ import annotations

from typing import Any

from converters.capture import Captured
from converters.loaders.base import LoadOptions
from converters.loaders.factory import capture_factory
from device_profiles.errors import MissingError


def accepts(spec: str) -> bool:
    """Tell whether `spec` starts with `torchvision:`."""
    return spec.startswith("torchvision:")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Create the model with its default weights (or `options.weights`) and capture it."""
    try:
        from torchvision.models import get_model
    except (ImportError, RuntimeError) as error:
        raise MissingError(
            f"{spec} needs torchvision, built for the torch that is installed: "
            "pip install torchvision"
        ) from error
    name = spec.partition(":")[2]

    def create() -> Any:
        return get_model(name, weights=None if options.weights else "DEFAULT")

    return capture_factory(create, spec, name, options)
