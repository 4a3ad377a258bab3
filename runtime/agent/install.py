"""The way of a release to being what runs: verified, answering, switched to, judged, kept; or back.

Each step is told as it begins and ends. Until the switch, what runs goes on untouched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from device_profiles.errors import EdgeError, EngineError, OutputError, ReleaseError
from runtime.agent import environment, trial
from runtime.agent.collect import clear_incoming, collect
from runtime.agent.facts import free_bytes
from runtime.agent.golden import Replayed, replay
from runtime.agent.health import LOOK_S, Healthy, Results, judge
from runtime.agent.held import verify
from runtime.agent.layout import READY, Layout, remove
from runtime.agent.release import LOCK, Health, Release
from runtime.agent.resident import adopt, own_digest, prepare, python
from runtime.agent.services import Place, Service, ServiceOptions, service_of
from runtime.agent.stage import Admitted, admit
from runtime.agent.state import State, save

RESUMED_S = 30.0
"""How long what was taken back to is waited for, to say that it serves again."""

_FULL_BYTES = 1 << 16

Say = Callable[..., None]
"""Takes what is going on as `say(step, state="begin"|"done"|"failed"|"note", **facts)`."""


@dataclass(frozen=True)
class Ways:
    """How to install: `allow_downgrade` takes an older version of a channel; `shadow` are the words
    of `runtime.shadow` to be tried before the switch, none for no such trial."""

    allow_downgrade: bool = False
    shadow: tuple[str, ...] = ()


class Installation:
    """An installation whose lock is held: what can be done to it. `say` is told every step."""

    def __init__(self, layout: Layout, state: State, say: Say) -> None:
        self.layout, self.state, self._say = layout, state, say
        self.service: Service = service_of(Place(layout.root, python()))

    @contextmanager
    def _step(self, name: str) -> Iterator[dict[str, Any]]:
        """Tell the beginning and the end of a step, with its time and the facts given to it."""
        facts: dict[str, Any] = {}
        start = time.monotonic()
        self._say(name, state="begin")
        try:
            yield facts
        except EdgeError as error:
            self._say(name, state="failed", seconds=_since(start), reason=str(error))
            raise
        self._say(name, state="done", seconds=_since(start), **facts)

    def install(self, release: Release, ways: Ways) -> State:
        """Bring a release that was received to be what runs and is kept.

        Raises ReleaseError with the reason where it is not, or is no more, and OutputError where
        the disk cannot be written: what ran before runs then.
        """
        try:
            admitted = self._admitted(release, ways)
            self._furnished(release)
            replayed = self._replayed(release)
            if ways.shadow:
                self._shadowed(release, ways.shadow)
            known = _known(release, admitted, replayed)
            facts = {**known, "at": time.time(), "agent": own_digest()}
            self.state = save(self.layout, self.state.knowing(release.id, facts))
            self._readied(release)
        except EdgeError as error:
            self._refused(release, str(error))
            raise
        self.switched(release)
        with self._as_the_disk_allows("tidy"):
            self._tidied()
        return self.state

    def _admitted(self, release: Release, ways: Ways) -> Admitted:
        with self._step("verify") as facts:
            admitted = admit(self.layout, self.state, release, ways.allow_downgrade)
            facts["signed"] = _signed(admitted)
        return admitted

    def _furnished(self, release: Release) -> None:
        place = self.layout.environments / release.environment
        with self._step("environment") as facts:
            facts["reused"] = environment.complete(place)
            if facts["reused"]:
                return
            lock = (self.layout.releases / release.id / LOCK).read_text(encoding="utf-8")
            wanted = environment.Wanted(
                lock_text=lock,
                wheels=self.layout.wheels,
                place=place,
                python=python(),
                system_site=release.system_site,
            )
            if environment.key(lock, release.system_site) != release.environment:
                raise ReleaseError("its lock is not the one that it names; flash it again")
            try:
                environment.build(wanted, lambda text: self._say("environment", note=text))
            except ReleaseError:
                raise
            except EdgeError as error:
                raise ReleaseError(f"its environment cannot be made: {error}") from error

    def _replayed(self, release: Release) -> Replayed:
        with self._step("golden") as facts:
            folder = self.layout.releases / release.id
            found = replay(self.layout, release, folder)
            facts |= {"rungs": found.rungs, "chosen": found.chosen}
        return found

    def _shadowed(self, release: Release, words: Sequence[str]) -> None:
        from runtime.agent.shadow import compared

        with self._step("shadow") as facts:
            facts.update(compared(self.layout, release, self.state.current, words))

    def _refused(self, release: Release, reason: str) -> None:
        """Journal why a release was not switched to, and leave nothing of it."""
        clear_incoming(self.layout)
        known = {self.layout.current_id(), self.state.current, self.state.previous}
        if release.id not in known:
            remove(self.layout.releases / release.id)
        with self._as_the_disk_allows("verify"):
            self.state = save(self.layout, self.state.noted("refused", release.id, reason))
            self.state = collect(self.layout, self.state)

    def _readied(self, release: Release) -> None:
        """See that there is an agent and a service for what is switched to next."""
        clear_incoming(self.layout, {READY})  # all of it has its place
        prepare(self.layout)
        if not self.layout.agent.exists():
            adopt(self.layout)
        if release.run.words:
            with self._step("service") as facts:
                facts |= {"kind": self.service.name, "notes": self._set_up(release)}

    def _set_up(self, release: Release) -> list[str]:
        """Have the service kept as a release wants it; return what a person should know."""
        return self.service.install(ServiceOptions(release.run.watchdog_s))

    def switched(self, release: Release, health: Health | None = None) -> None:
        """Let a release be what runs, judge it by its own or another `health`, and keep it;
        ReleaseError after it was undone."""
        with watched(self.layout):
            try:
                with self._step("switch"):
                    stop = self.service.stop
                    self.state = trial.begin(self.layout, self.state, release.id, stop)
                    clear_incoming(self.layout)  # from here on the journal says what to go on with
            except EdgeError:
                if not self.service.liveness().running:
                    self.resumed()
                raise
            self.tried(release, health or release.health)

    def back(self) -> State:
        """Go back to the release that was kept before this one; ReleaseError where there is none.

        What is there now is what a further call goes back to.
        """
        before = self.state.previous
        if before is None:
            raise ReleaseError(f"{self.layout.root} has no release to go back to; flash one")
        release = self.release(before)
        with self._step("verify"):
            verify(self.layout.releases / before, release)
            if not environment.complete(self.layout.environments / release.environment):
                raise ReleaseError(
                    f"the environment of release {before[:12]} is gone; flash its bundle again"
                )
            if release.run.words:
                self._set_up(release)
        self.switched(release, replace(release.health, results=1))
        return self.state

    def tried(self, release: Release, health: Health) -> None:
        """Start what is on trial and judge it; ReleaseError after it was taken back."""
        try:
            healthy = self._started(release, health)
            self.state = self.state.knowing(release.id, _ran(healthy))
            self.state = trial.keep(self.layout, self.state)
        except EdgeError as error:
            reason = f"{error}{_when_full(self.layout)}"
            try:
                self.undone(reason)
            except EdgeError as fault:
                reason += f"; what was before does not start: {fault}"
            raise ReleaseError(f"{reason}; {self._after()}") from error

    def _after(self) -> str:
        """Say what is current after a release was taken back, or could not be."""
        linked, left = self.layout.current_id(), self.state.trial
        if linked is None:
            return "nothing is current again"
        if left is not None and linked == left.release != left.before:
            return f"{linked[:12]} is current still, for the link cannot be changed; see the disk"
        return f"{linked[:12]} is current again"

    def _started(self, release: Release, health: Health) -> Healthy | None:
        """Start what the link names and judge it, unless there is nothing to run."""
        if not release.run.words:
            return None
        with self._step("health") as facts:
            results = Results(self.service.work)
            results.clear()
            self.service.start()
            healthy = judge(self.service, results, health)
            facts |= {"results": healthy.results, "first_s": round(healthy.seconds, 3)}
        return healthy

    def undone(self, reason: str) -> None:
        """Go back from what is on trial to what was before it, which runs again then."""
        with self._step("roll back"):
            try:
                self.service.stop()
            finally:  # one that does not end is no reason for the link to stay
                with self._as_the_disk_allows("roll back"):
                    self.state = trial.undo(self.layout, self.state, reason)
            if self.layout.current_id() is None:
                self.service.remove()
            self.resumed()
        with self._as_the_disk_allows("tidy"):
            self._tidied()

    @contextmanager
    def _as_the_disk_allows(self, step: str) -> Iterator[None]:
        """Go on where the journal cannot be written: the link says what runs, and the journal is
        brought in agreement with it by whoever comes next."""
        try:
            yield
        except OutputError as error:
            self._say(step, state="note", note=str(error))

    def resumed(self) -> None:
        """Start what the link names, which was kept before, or nothing where it names nothing."""
        linked = self.layout.current_id()
        if linked is None:
            return
        release = self.release(linked)
        if not release.run.words:
            return
        with self._as_the_disk_allows("service"):
            self._set_up(release)
        results = Results(self.service.work)
        results.clear()
        self.service.start()
        end = time.monotonic() + RESUMED_S
        while not self.service.liveness().ready and time.monotonic() < end:
            time.sleep(LOOK_S)

    def release(self, identity: str) -> Release:
        """Return a release that is here; ReleaseError where it is not, or is damaged."""
        try:
            data = (self.layout.releases / identity / "release.json").read_bytes()
            return Release.from_bytes(data)
        except (OSError, EdgeError) as error:
            raise ReleaseError(f"the release {identity[:12]} is damaged here: {error}") from error

    def _tidied(self) -> State:
        with self._step("tidy"):
            clear_incoming(self.layout)
            self.state = collect(self.layout, self.state)
        return self.state


@contextmanager
def watched(layout: Layout) -> Iterator[None]:
    """Have somebody who goes on with a trial when this process is killed in the middle of it.

    It waits for the lock, which the kernel takes from a process that ends. A fault that nobody
    foresaw leaves the trial to it, as a kill does.
    """
    waiter = _waiter(layout)
    try:
        yield
    except EdgeError:
        _end(waiter)
        raise
    except BaseException:
        waiter.returncode = 0  # it outlives us, so nobody here waits for its end
        raise
    _end(waiter)


def _waiter(layout: Layout) -> subprocess.Popen[bytes]:
    words = [python(), "-I", os.path.realpath(sys.argv[0]), "finish", str(layout.root)]
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(
            f"cannot start a process ({error.strerror}); see the limits on processes and memory"
        ) from error


def _end(waiter: subprocess.Popen[bytes]) -> None:
    """End it before the lock is free, so that it never holds it for nothing."""
    waiter.kill()
    waiter.wait()


def _when_full(layout: Layout) -> str:
    """Say so where there is no space left: what runs cannot tell of its results then."""
    return "" if free_bytes(layout.root) > _FULL_BYTES else f"; the disk of {layout.root} is full"


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)


def _signed(admitted: Admitted) -> str:
    found = admitted.accepted
    return f"{found.name}, {found.channel} {found.version}" if found else ""


def _ran(healthy: Healthy | None) -> Mapping[str, Any]:
    """Return what a service that runs says of its engine: it may have dropped a rung since."""
    if healthy is None or not healthy.engine:
        return {}
    names = {"rung": "label", "engine": "name", "engine_version": "version", "provider": "provider"}
    return {ours: str(healthy.engine.get(its, "")) for ours, its in names.items()}


def _known(release: Release, admitted: Admitted, replayed: Replayed) -> Mapping[str, Any]:
    """Return what the journal keeps of a release, for status and for comparisons."""
    manifest, found = admitted.manifest, admitted.accepted
    chosen = replayed.chosen
    rung = chosen.get("rung", 0)
    path = manifest.artifacts[rung].file.path
    return {
        "name": release.name,
        "bundle": release.bundle,
        "profile": release.needs.profile,
        "run": list(release.run.words),
        "size": release.size,
        "rung": chosen.get("label", ""),
        "engine": chosen.get("name", ""),
        "engine_version": chosen.get("version", ""),
        "provider": chosen.get("provider", ""),
        "ms": chosen.get("proven_ms"),
        "accuracy": manifest.evidence.get("accuracy", {}).get(path, {}),
        "signed_by": found.name if found else "",
        "channel": found.channel if found else "",
        "version": found.version if found else None,
    }
