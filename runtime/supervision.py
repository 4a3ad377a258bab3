"""The package `supervision`, where it is installed: results convert to its types on request."""

from __future__ import annotations

import importlib
from typing import Any

from device_profiles.errors import MissingError


def supervision() -> Any:
    """Return the module `supervision`; MissingError when it is not installed."""
    try:
        return importlib.import_module("supervision")
    except ImportError as error:
        raise MissingError(
            f"supervision cannot be imported ({error}); install it with: pip install supervision"
        ) from error
