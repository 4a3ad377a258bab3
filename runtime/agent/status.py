"""What an installation is at this moment, for `edge-sdk status`; nothing is changed by looking."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device_profiles.errors import ReleaseError
from runtime.agent.health import STATS, read_stats
from runtime.agent.layout import Layout
from runtime.agent.services import Place, service_of
from runtime.agent.state import load
from runtime.agent.trust import Pins


def status(layout: Layout, python: str) -> dict[str, Any]:
    """Return the journal, what runs, and what it gives: JSON-ready values."""
    state = load(layout)
    service = service_of(Place(layout.root, python))
    linked = layout.current_id()
    held = {path.name for path in layout.releases.glob("*") if path.is_dir()}
    try:
        pinned, doubt = Pins(layout.keys).keys(), ""
    except ReleaseError as error:  # nothing is taken then, which is what a status is to say
        pinned, doubt = (), str(error)
    return {
        "root": str(layout.root),
        "running": linked,
        "held": sorted(held),
        "state": state.to_json(),
        "service": {"kind": service.name, **asdict(service.liveness())},
        "stats": _stats(service.work / STATS),
        "keys": [{"id": key.id, "name": key.name} for key in pinned],
        "doubt": doubt,
        "at": time.time(),
    }


def _stats(path: Path) -> dict[str, Any]:
    """Return what the run that is on says of itself; nothing before its first word."""
    found, at = read_stats(path)
    return {**found, "written_s_ago": round(time.time() - at, 1)} if found else {}
