"""What is installed on a device, exactly: the wheels it needs, which fit it, a folder of them.

`resolve` asks the package index (through pip, so that its settings hold) and returns a `Lock`;
`device_lock` remembers the answer; `site_folder` unpacks a lock; `download` collects its wheels.
"""

from __future__ import annotations

from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.resolve import device_lock, load_lock, resolve
from edge_sdk.wheels.site import download, site_folder
from edge_sdk.wheels.tags import Platform

__all__ = [
    "Lock",
    "Platform",
    "Wheel",
    "device_lock",
    "download",
    "load_lock",
    "resolve",
    "site_folder",
]
