"""Targets: where a bundle is put or run; one file per kind, called as the scheme of its address.

`local`, `emulated:PROFILE`, `board:PROFILE`, `ssh://user@host`.
"""

from __future__ import annotations

from edge_sdk.targets.base import Start, Target
from runtime.plugins import load

__all__ = ["Start", "Target", "open_target"]


def open_target(uri: str) -> Target:
    """Return the target at `uri`, which the caller closes.

    RequestError for an address that means nothing, MissingError where a program that it needs is
    not installed. Nothing is started yet; a device may turn out not to answer later.
    """
    scheme, _, rest = uri.partition(":")
    target: Target = load("edge_sdk.targets", scheme).open_target(rest)
    return target
