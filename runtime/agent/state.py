"""The journal of an installation: what is current, what is on trial, and what happened when."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from device_profiles.errors import OutputError
from runtime.agent.layout import Layout, unwritable, write_whole
from runtime.agent.release import canonical, is_id

SCHEMA = 1
KEPT_EVENTS = 200


@dataclass(frozen=True)
class Trial:
    """A release that was switched to and is not yet kept: what was before it, since when
    (`time.time`), how often it was started without anybody who judges it, and which agent started
    the service before."""

    release: str
    before: str | None
    since: float
    starts: int = 0
    agent: str | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened: when (`time.time`), what, to which release, and why."""

    at: float
    what: str
    release: str = ""
    reason: str = ""


@dataclass(frozen=True)
class State:
    """`current` is the release that was kept last and `previous` the one before: what a rollback
    goes to. `releases` holds what is known of each by its id (name, engine, figures), `channels`
    the newest version seen of each. The link `current` says what runs; this says what that means.
    """

    current: str | None = None
    previous: str | None = None
    trial: Trial | None = None
    releases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    def noted(self, what: str, release: str = "", reason: str = "") -> State:
        """Return the state with one more event."""
        events = (*self.events, Event(time.time(), what, release, reason))
        return replace(self, events=events[-KEPT_EVENTS:])

    def knowing(self, release: str, facts: Mapping[str, Any]) -> State:
        """Return the state with facts of a release beside those it had."""
        known = {**self.releases.get(release, {}), **facts}
        return replace(self, releases={**self.releases, release: known})

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON-ready values."""
        return {"schema": SCHEMA, **asdict(self), "events": [asdict(e) for e in self.events]}


def load(layout: Layout) -> State:
    """Return the state of an installation; an empty one where there is none yet.

    One that is damaged (a disk may) is put aside and begun anew from the link `current`: a device
    that cannot be flashed any more would help nobody. OutputError where it cannot be read.
    """
    try:
        data = layout.state.read_bytes()
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise OutputError(f"{layout.state} cannot be read: {error.strerror}") from error
    try:
        return _state(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        aside = layout.state.with_suffix(".damaged")
        try:
            write_whole(aside, data)
        except OSError as fault:
            raise unwritable(layout.root, fault) from fault
        found = State(current=layout.current_id())
        return found.noted("damaged", reason=f"state.json was damaged ({error}), see {aside.name}")


def save(layout: Layout, state: State) -> State:
    """Write the state and return it; OutputError where it cannot be written."""
    try:
        write_whole(layout.state, canonical(state.to_json()) + b"\n")
    except OSError as error:
        raise unwritable(layout.root, error) from error
    return state


def _state(fields: Mapping[str, Any]) -> State:
    if fields["schema"] != SCHEMA:
        raise ValueError(f"schema {fields['schema']!r} is not known here")
    trial = fields["trial"]
    state = State(
        current=_release(fields["current"]),
        previous=_release(fields["previous"]),
        trial=None if trial is None else Trial(**trial),
        releases={str(_release(key)): dict(value) for key, value in fields["releases"].items()},
        channels={str(key): dict(value) for key, value in fields["channels"].items()},
        events=tuple(Event(**event) for event in fields["events"]),
    )
    if state.trial is not None:
        _release(state.trial.release)
        _release(state.trial.before)
    return state


def _release(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and is_id(value)):
        raise ValueError(f"{value!r} is no release")
    return value
