"""The folder is the registry: find a module of a kind by its file name and import only that one.

Third parties add modules through entry points in the group `edge_sdk.<kind>`, where the kind is
the last part of the package name (`runtime.sources` -> `edge_sdk.sources`).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType

from device_profiles.errors import RequestError
from device_profiles.nearest import hint


# Listing the installed packages takes a device some tenths of a second.
@lru_cache
def _external(package: str) -> dict[str, str]:
    group = f"edge_sdk.{package.rsplit('.', 1)[-1]}"
    return {point.name: point.value for point in entry_points(group=group)}


def names(package: str) -> list[str]:
    """Return the names of the modules in `package`, sorted; a leading underscore hides one."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    own = {module.name for module in found if not module.name.startswith("_")}
    return sorted((own - {"base"}) | set(_external(package)))


def load(package: str, name: str) -> ModuleType:
    """Import the module called `name` of `package`; RequestError names the nearest when unknown."""
    module = name.replace("-", "_")
    known = names(package)
    if module not in known:
        kind = package.rsplit(".", 1)[-1]
        raise RequestError(f"no {kind.rstrip('s')} is called {name!r}; {hint(module, known)}")
    return importlib.import_module(_external(package).get(module, f"{package}.{module}"))


def load_all(package: str) -> list[ModuleType]:
    """Import every module of `package`, in the order of their names."""
    return [load(package, name) for name in names(package)]
