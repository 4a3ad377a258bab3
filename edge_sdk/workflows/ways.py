"""The ways to know what an artifact takes on its device."""

from __future__ import annotations

from device_profiles.errors import RequestError
from device_profiles.nearest import hint

WAYS = ("auto", "measure", "model", "none")
"""`auto` measures where it can, and believes what it measured before; `measure` measures anew, or
refuses; `model` gives the same on every machine; `none` weighs nothing."""


def check_way(way: str) -> None:
    """Raise RequestError for a way that there is not."""
    if way not in WAYS:
        raise RequestError(f"there is no way to weigh called {way!r}; {hint(way, WAYS)}")
