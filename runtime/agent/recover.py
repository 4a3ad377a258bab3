"""What a device does by itself: at boot, before a start, and when a flash was cut off."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import EdgeError, ReleaseError
from runtime.agent import trial
from runtime.agent.health import Results, judge
from runtime.agent.install import Installation, Say, Ways
from runtime.agent.layout import READY, Layout, remove
from runtime.agent.release import RELEASE, Release, vouched_digest
from runtime.agent.stage import Offer, receive
from runtime.agent.state import load, save
from runtime.agent.trust import Pins
from runtime.agent.trust import judge as judge_trust
from runtime.manifest import FileEntry
from runtime.statements import parse_statements


def guard(layout: Layout) -> None:
    """Before a start: count it where a release is on trial and nobody judges it.

    After too many such starts the release before it is gone back to. While somebody judges, they
    hold the lock, and nothing is done.
    """
    try:
        with layout.alone(what="guards", patient=False):
            trial.counted(layout, trial.settled(layout, load(layout)))
    except ReleaseError:  # somebody is at work
        return


def finish(layout: Layout, say: Say) -> None:
    """Wait until nobody is at work, then judge what was left on trial, and start what was ended."""
    with layout.alone(wait=True, what="judges"):
        state = load(layout)
        cut = state.trial is not None and layout.current_id() != state.trial.release
        installation = Installation(layout, trial.settled(layout, state), say)
        settle(installation)
        if cut:  # what runs may have been told to end, and be about to
            installation.resumed()
        else:
            _serving(installation)


def settle(installation: Installation) -> None:
    """Judge what is on trial, if anything is: keep it, or go back.

    It may run already, which is not disturbed. ReleaseError where it was taken back.
    """
    found = installation.state.trial
    if found is None:
        return
    release = installation.release(found.release)
    if not (release.run.words and installation.service.liveness().running):
        installation.tried(release, release.health)
        return
    try:
        judge(installation.service, Results(installation.service.work), release.health)
    except ReleaseError as error:
        installation.undone(str(error))
        raise
    installation.state = trial.keep(installation.layout, installation.state)


def boot(layout: Layout, say: Say) -> None:
    """At boot: finish what a power cut interrupted, install what was delivered, and start.

    ReleaseError where something was not kept; what was before runs then.
    """
    with layout.alone(wait=True, what="boots"):
        state = trial.counted(layout, trial.settled(layout, load(layout)))
        installation = Installation(layout, state, say)
        fault: EdgeError | None = None
        for work in (settle, deliver):
            try:
                work(installation)
            except EdgeError as error:
                fault = error
        _serving(installation)
        if fault is not None:
            raise fault


def _serving(installation: Installation) -> None:
    """Start what the link names unless it runs: who was cut off may have ended it for a switch."""
    if not installation.service.liveness().running:
        installation.resumed()


@dataclass(frozen=True)
class _Delivered:
    """What `ready.json` says: the release and its wheels, what is signed of the bundle and of the
    release, and which keys to trust from now on where none is trusted yet."""

    offer: Offer
    statements: bytes
    pins: tuple[str, ...]


def deliver(installation: Installation) -> None:
    """Install what lies in `incoming` with a `ready.json`; it is removed, whatever comes of it.

    Where the power is cut before the switch, `ready.json` is there still, and the next boot begins
    anew; after that the journal says what is on trial.
    """
    layout = installation.layout
    ready = layout.incoming / READY
    if not ready.is_file():
        return
    try:
        delivered = _delivered(layout, json.loads(ready.read_bytes()))
        _vouched(layout, delivered)
        release = delivered.offer.release
        wanted = receive(layout, installation.state, delivered.offer)
        if wanted.files or wanted.wheels:
            lacks = ", ".join([*wanted.files, *wanted.wheels])
            raise ReleaseError(f"what was delivered lacks {lacks}, or it is damaged; deliver anew")
        installation.install(release, Ways(delivered.offer.allow_downgrade))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, EdgeError) as error:
        reason = " ".join(str(error).split())
        said = installation.state.noted("refused", "", reason)
        installation.state = save(layout, said)
        raise ReleaseError(f"what was delivered was not installed: {reason}") from error
    finally:
        remove(layout.incoming)


def _delivered(layout: Layout, fields: dict[str, Any]) -> _Delivered:
    identity = os.path.basename(str(fields["release"]))
    place = layout.incoming / identity / RELEASE
    if not place.exists():  # it has its place among the others since an attempt that was cut
        place = layout.releases / identity / RELEASE
    release = Release.from_bytes(place.read_bytes())
    wheels = tuple(FileEntry(w["path"], w["sha256"], w["size"]) for w in fields["wheels"])
    signature = str(fields.get("signature", "")).encode()
    offer = Offer(release, wheels, signature, bool(fields.get("allow_downgrade")), True)
    statements = str(fields.get("release_signature", "")).encode()
    return _Delivered(offer, statements, tuple(map(str, fields.get("pins", ()))))


def _vouched(layout: Layout, delivered: _Delivered) -> None:
    """Where keys are trusted, the whole release must be signed: whoever can plug in a stick could
    bring other wheels beside a bundle that is signed. Where none is, those that came are."""
    pins = Pins(layout.keys)
    keys = pins.keys()
    if not keys:
        for line in delivered.pins:
            pins.pin(line)
        return
    digest = vouched_digest(delivered.offer.release, delivered.offer.allow_downgrade)
    try:
        said = parse_statements(delivered.statements) if delivered.statements else ()
        judge_trust(digest, said, keys, {}, allow_downgrade=True)
    except EdgeError as error:
        raise ReleaseError(
            f"this device trusts keys, and none of them signed the release: {error}; deliver it "
            "with flash --key"
        ) from error
