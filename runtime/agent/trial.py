"""A switch and what may come of it: kept, undone, or interrupted and then settled.

The order of the writes is what makes it safe. The journal says what will be tried before the link
is changed, and that it is over after: whatever is cut, link and journal say together where it was.

    begin   journal: trial of B, A before it  ->  B's agent  ->  link to B
    keep    journal: B is current, no trial
    undo    link to A  ->  A's agent  ->  journal: no trial

A release is tried by the agent that it came with, which is what will start it from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from runtime.agent import resident
from runtime.agent.layout import Layout, unwritable
from runtime.agent.state import State, Trial, save

MOST_STARTS = 3
"""How often a release is started that nobody judges before it is taken back."""


def begin(
    layout: Layout, state: State, release: str, stop: Callable[[], None] = lambda: None
) -> State:
    """Let `release` be what runs, on trial.

    `stop` ends what runs, when the journal is written: a full disk has cost nothing until then.
    """
    trial = Trial(release, state.current, time.time(), agent=resident.linked(layout))
    state = save(layout, replace(state, trial=trial).noted("switched", release))
    stop()
    resident.adopt(layout)
    _switch(layout, release)
    return state


def keep(layout: Layout, state: State, reason: str = "") -> State:
    """Let what is on trial be what is kept."""
    assert state.trial is not None
    release, before = state.trial.release, state.trial.before
    previous = state.previous if before in (None, release) else before
    kept = replace(state, current=release, previous=previous, trial=None)
    return save(layout, _seen(kept, release).noted("kept", release, reason))


def _seen(state: State, release: str) -> State:
    """Return the state knowing the version of what is kept: no cut comes between the two.

    It never falls: going back on purpose does not make old versions new.
    """
    facts = state.releases.get(release, {})
    channel, version = str(facts.get("channel") or ""), facts.get("version")
    newest = state.channels.get(channel, {}).get("version", 0)
    if not channel or not isinstance(version, int) or version < newest:
        return state
    seen = {"version": version, "bundle": facts.get("bundle")}
    return replace(state, channels={**state.channels, channel: seen})


def undo(layout: Layout, state: State, reason: str) -> State:
    """Go back to what was there before the trial, or to nothing where that was so."""
    assert state.trial is not None
    release, before = state.trial.release, state.trial.before
    _switch(layout, before)
    resident.restore(layout, state.trial.agent)
    if release not in (state.current, state.previous):  # it never was kept
        state = state.knowing(release, {"failed": reason})
    return save(layout, replace(state, trial=None).noted("rolled back", release, reason))


def settled(layout: Layout, state: State) -> State:
    """Return the state with link and journal in agreement, after whatever was interrupted.

    A trial whose link was not changed yet did not begin; one whose link was changed goes on, and
    its caller judges it.
    """
    linked = layout.current_id()
    if state.trial is not None:
        if linked == state.trial.release:
            return state
        resident.restore(layout, state.trial.agent)
        interrupted = replace(state, trial=None)
        state = save(layout, interrupted.noted("interrupted", state.trial.release))
    if linked != state.current:
        # Only of a journal that was lost: the link is what runs, and it was verified then.
        state = save(layout, replace(state, current=linked).noted("adopted", linked or ""))
    return state


def counted(layout: Layout, state: State) -> State:
    """Count a start that nobody judges; after too many of them, go back."""
    if state.trial is None:
        return state
    starts = state.trial.starts + 1
    if starts > MOST_STARTS:
        return undo(layout, state, f"it was started {MOST_STARTS} times and never kept")
    return save(layout, replace(state, trial=replace(state.trial, starts=starts)))


def _switch(layout: Layout, release: str | None) -> None:
    try:
        layout.switch(release)
    except OSError as error:
        raise unwritable(layout.root, error) from error
