"""A folder with the four packages and nothing else, for a target's Python to import from."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from device_profiles.errors import EdgeError
from edge_sdk.emulation.cache import built, folder

PACKAGES = ("edge_sdk", "converters", "runtime", "device_profiles")


@lru_cache
def packages() -> Path:
    """Return a folder of links to the four packages that run here.

    Not the folder that they lie in: beside them lie, where they are installed, packages for this
    machine's CPU and Python. OutputError where the cache cannot be written.
    """
    homes = {name: str(package_home(name)) for name in PACKAGES}
    key = hashlib.sha256(json.dumps(homes).encode()).hexdigest()[:16]
    return built(folder("code", key), lambda draft: _link(draft, homes))


def _link(draft: Path, homes: Mapping[str, str]) -> None:
    draft.mkdir()
    for name, home in homes.items():
        (draft / name).symlink_to(home)


def package_home(name: str) -> Path:
    """Return the folder of one of the packages that run here; EdgeError where there is none."""
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EdgeError(f"the package {name} of edge-sdk is not found; install edge-sdk again")
    return Path(spec.origin).resolve().parent
