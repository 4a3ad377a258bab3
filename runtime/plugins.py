"""The folder is the registry: find a module of a kind by its file name and import only that one.

Third parties add modules through entry points in the group `edge_sdk.<kind>`, where the kind is
the last part of the package name (`runtime.sources` -> `edge_sdk.sources`).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from types import ModuleType

from device_profiles.errors import RequestError
from device_profiles.nearest import hint


# Listing the installed packages takes a device some tenths of a second, and importing what lists
# them as long as the rest of this package: only for a name that is not one of ours.
@lru_cache
def _external(package: str) -> dict[str, str]:
    from importlib.metadata import entry_points

    group = f"edge_sdk.{package.rsplit('.', 1)[-1]}"
    return {point.name: point.value for point in entry_points(group=group)}


def _own(package: str) -> set[str]:
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return {module.name for module in found if not module.name.startswith("_")} - {"base"}


def names(package: str) -> list[str]:
    """Return the names of the modules in `package`, sorted; a leading underscore hides one."""
    return sorted(_own(package) | set(_external(package)))


def load(package: str, name: str) -> ModuleType:
    """Import the module called `name` of `package`; RequestError names the nearest when unknown.

    A module of our own goes before another package's of the same name.
    """
    module = name.replace("-", "_")
    if module in _own(package):
        return importlib.import_module(f"{package}.{module}")
    if module not in _external(package):
        kind = package.rsplit(".", 1)[-1].rstrip("s")
        raise RequestError(f"no {kind} is called {name!r}; {hint(module, names(package))}")
    return importlib.import_module(_external(package)[module])


def load_all(package: str) -> list[ModuleType]:
    """Import every module of `package`, in the order of their names."""
    return [load(package, name) for name in names(package)]
