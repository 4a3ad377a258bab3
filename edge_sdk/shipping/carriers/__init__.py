"""Carriers: how files and commands get to a device; one file per kind, called as its scheme.

`ssh://user@host`, `board:PROFILE`, `local`, `folder:/path`, `boot:/path`.
"""

from __future__ import annotations

from device_profiles.errors import RequestError
from edge_sdk.shipping.carriers.base import (
    Carrier,
    Delivered,
    Item,
    Medium,
    Parcel,
    Seat,
    Sent,
)
from runtime.plugins import load, names

__all__ = [
    "Carrier",
    "Delivered",
    "Item",
    "Medium",
    "Parcel",
    "Seat",
    "Sent",
    "open_carrier",
    "open_live",
]


def open_carrier(uri: str) -> Carrier | Medium:
    """Return the way to the device at `uri`; a Carrier is closed by the caller.

    RequestError for an address that means nothing, or is of what cannot be flashed. Nothing is
    started or written yet.
    """
    scheme, _, rest = uri.partition(":")
    known = names(__name__)
    if scheme not in known:
        raise RequestError(
            f"{uri} cannot be flashed; give an address that begins with one of: {', '.join(known)}"
        )
    carrier: Carrier | Medium = load(__name__, scheme).open_carrier(rest)
    return carrier


def open_live(uri: str) -> Carrier:
    """Return the way to a device that answers; RequestError for a medium that cannot."""
    carrier = open_carrier(uri)
    if isinstance(carrier, Medium):
        raise RequestError(
            f"{uri} takes what a device installs later and can be asked nothing; give the address "
            "of the device, such as ssh://user@host"
        )
    return carrier
