"""Scenes made by hand: what is installed, and what comes of importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from device_profiles.profile import Profile, load
from device_profiles.sections import Pin
from edge_sdk.looks.base import Ask, Finding, Look, Package, Scene, Trial

ABSENT = Trial(found=False)


def scene(
    root: Path = Path("/nonexistent"),
    tried: Mapping[str, Trial] | None = None,
    profile: Profile | None = None,
    packages: Mapping[str, str | Package] | None = None,
) -> Scene:
    """Return a scene with these packages (a version, or in full); modules that are not in `tried`
    are not there."""

    def attempt(module: str, ask: Ask) -> Trial:
        return (tried or {}).get(module, ABSENT)

    known = {
        name: package if isinstance(package, Package) else Package(name, package)
        for name, package in (packages or {}).items()
    }
    return Scene(root, root, profile, packages=known, attempt=attempt)


def only(look: Look, where: Scene) -> Finding:
    """Return the one thing that a look finds."""
    (finding,) = look(where)
    return finding


def pinned(*pins: tuple[str, str, str], name: str = "raspberry-pi-4b") -> Profile:
    """Return a profile with these pins alone."""
    profile = load(name)
    return replace(profile, software=replace(profile.software, pins=tuple(Pin(*p) for p in pins)))
