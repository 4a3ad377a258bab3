"""What is installed for this Python, by the packages' own metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

# Metadata of a package is a folder called so beside the modules; eggs and Debian's own differ.
_TAG = re.compile(r"^Tag:\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package with its `version`; `requires` as in its metadata, `tags` of the wheel that it was
    installed from (none where it was not from one), `folder` where its modules are."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    folder: str = ""


Read = Callable[[], Mapping[str, Package]]


def read_packages() -> Mapping[str, Package]:
    """Return what is installed by canonical name (PEP 503); what Python finds first counts."""
    found: dict[str, Package] = {}
    for distribution in distributions():
        package = _package(distribution)
        if package is not None:
            found.setdefault(package.name, package)
    return found


def canonical(name: str) -> str:
    """Return a package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(distribution: Distribution) -> Package | None:
    """Return a package; None where what is left of it has no name."""
    metadata = distribution.metadata
    name, version = metadata["Name"], metadata["Version"]
    if not name or not version:  # left behind by an installation that was interrupted
        return None
    return Package(
        canonical(name),
        version,
        tuple(metadata.get_all("Requires-Dist") or ()),
        tuple(_TAG.findall(distribution.read_text("WHEEL") or "")),
        str(distribution.locate_file("")),
    )
