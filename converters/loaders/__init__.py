"""One file per kind of MODEL, each with `accepts(spec)` and `load_model(spec, options)`."""

from __future__ import annotations

from converters.capture import Captured
from converters.loaders.base import LoadOptions
from device_profiles.errors import ModelError
from runtime.plugins import load_all

__all__ = ["LoadOptions", "load_model"]


def load_model(spec: str, options: LoadOptions | None = None) -> Captured:
    """Read and capture the model that `spec` names; ModelError when no loader knows it."""
    for module in load_all("converters.loaders"):
        if module.accepts(spec):
            captured: Captured = module.load_model(spec, options or LoadOptions())
            return captured
    raise ModelError(
        f"{spec} is no model that can be read; give net.onnx, net.pt2, file.py:factory, "
        "package.module:factory, zoo:NAME, torchvision:NAME or timm:NAME"
    )
