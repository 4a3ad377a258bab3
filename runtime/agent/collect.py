"""Removing what no release that is kept needs: releases, environments, agents, half-sent files."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from device_profiles.errors import BundleError
from runtime.agent.layout import Layout, remove
from runtime.agent.release import RELEASE, Release, is_id
from runtime.agent.resident import linked, own_digest
from runtime.agent.state import State, save

KEPT = 3
"""How many releases stay, the current one and the one before it among them."""


def collect(layout: Layout, state: State) -> State:
    """Remove what is not needed any more, and return the state without it.

    Never what is current, was before it, or is on trial, whatever the count; nor the environment
    or the agent of any that stays. What was rolled back and never kept does not stay.
    """
    safe = {state.current, state.previous, layout.current_id()}
    if state.trial is not None:
        safe |= {state.trial.release, state.trial.before}
    newest = sorted(state.releases, key=lambda i: -float(state.releases[i].get("at", 0.0)))
    kept = {release for release in safe if release is not None}
    for release in newest:
        if "failed" in state.releases[release]:
            continue
        if len(kept) < KEPT and (layout.releases / release).is_dir():
            kept.add(release)
    known = {key: value for key, value in state.releases.items() if key in kept}
    if known != state.releases:
        state = save(layout, replace(state, releases=known))
    _keep(layout.releases, kept)
    environments = {_environment(layout, release) for release in kept}
    if None not in environments:  # it may run yet, or be mended
        _keep(layout.environments, {env for env in environments if env})
    agents = {str(facts.get("agent")) for facts in known.values()}
    before = state.trial.agent if state.trial is not None else None
    _keep(layout.agents, {*agents, linked(layout) or "", before or "", own_digest()})
    return state


def clear_incoming(layout: Layout, but: Collection[str] = (), wheels: Collection[str] = ()) -> None:
    """Remove what was sent and is of no use any more: all but what is named, and some wheels."""
    keep = {*but, layout.wheels.name if wheels else ""}
    _keep(layout.incoming, keep, files=True)
    _keep(layout.wheels, set(wheels), files=True)


def _keep(folder: Path, names: Collection[str], files: bool = False) -> None:
    if not folder.is_dir():
        return
    for name in os.listdir(folder):
        path = folder / name
        if name not in names and (files or path.is_dir()):
            remove(path)


def _environment(layout: Layout, release: str) -> str | None:
    """Return the environment of a release, empty of one that is gone; None where it is damaged,
    or written by an agent that this one does not understand."""
    if not is_id(release) or not (layout.releases / release).is_dir():
        return ""
    try:
        return Release.from_bytes((layout.releases / release / RELEASE).read_bytes()).environment
    except (OSError, BundleError):
        return None
