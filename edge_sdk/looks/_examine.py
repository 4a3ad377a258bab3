"""All looks that make sense somewhere, and what they find."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from edge_sdk.looks.base import HOST, LEVELS, MACHINE, Finding, Look, Scene
from runtime.plugins import load_all


def examine(scene: Scene) -> list[Finding]:
    """Return what there is to say of `scene`, faults first; no look ends the others."""
    found = [
        finding
        for module in load_all("edge_sdk.looks")
        if _concerns(module, scene)
        for look in module.LOOKS
        for finding in _looked(look, scene)
    ]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _concerns(module: ModuleType, scene: Scene) -> bool:
    if module.OF == HOST:
        return scene.host
    return module.OF != MACHINE or not scene.emulated


def _looked(look: Look, scene: Scene) -> Iterator[Finding]:
    try:
        yield from look(scene)
    except Exception as error:  # noqa: BLE001 - a machine is odd in ways that nobody foresaw; told
        name = look.__name__.removeprefix("look_at_").replace("_", " ")
        detail = f"cannot be looked at: {type(error).__name__}: {' '.join(str(error).split())}"
        yield Finding(name, "note", detail, "please report it: it is the doctor's own fault")
