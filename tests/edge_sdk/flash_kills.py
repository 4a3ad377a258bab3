"""Flashes that are killed at random instants; after each, a device is whole and can be flashed.

Four things are killed in turn: the session alone, which leaves somebody to finish; the session with
all that it started; the supervisor of the service; and everything that runs of the device, as a
power cut does, after which it boots.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device_profiles.errors import EdgeError
from device_profiles.profile import load as load_profile
from edge_sdk.workflows.flash import flash
from edge_sdk.workflows.flash_options import FlashOptions, RunWords
from runtime.agent.held import verify
from runtime.agent.release import BUNDLE, RELEASE, Health, Release
from runtime.agent.state import load
from runtime.bundle import file_entry, open_bundle, write_bundle
from runtime.progress import Silent, reporting_to
from tests.edge_sdk.flash_cases import PROFILE, Device, write_variant
from tests.runtime.conftest import build_parts

KINDS = ("session", "agent", "supervisor", "power")
GOOD = ("A", "B")
UNFIT, MUTE = "unfit", "mute"
_DEAD_SOURCE = "http://127.0.0.1:9/none.mjpg"
_HOST_STEPS = {"connecting": "connect", "sending": "send"}
_PATIENCE_S = 60.0
_SETTLES_S = 40.0


@dataclass(frozen=True)
class Kill:
    """One kill: what was killed (`hit` processes) in a flash of `release`, how long after its
    start, and in which step; which release was current then, and after; what did not hold."""

    kind: str
    release: str
    at_s: float
    step: str
    hit: int
    current: str
    after: str
    fault: str = ""


class _Heard(Silent):
    """Knows what a flash did last."""

    def __init__(self) -> None:
        self.last = "connect"

    def step(self, text: str) -> None:
        """Note a step: the device's end in dots, those of the host are sentences."""
        first = text.partition(" ")[0]
        if first in _HOST_STEPS:
            self.last = _HOST_STEPS[first]
        elif text.endswith(" ..."):
            self.last = text.removesuffix(" ...")


class _Flash(threading.Thread):
    """A flash beside us; `reason` is why it failed."""

    def __init__(self, rig: Rig, name: str) -> None:
        super().__init__(daemon=True)
        self.heard, self.reason = _Heard(), ""
        self._rig, self._name = rig, name

    def run(self) -> None:
        """Flash."""
        with reporting_to(self.heard):
            self.reason = self._rig.flash(self._name)


class Rig:
    """A device, two releases that hold and two that do not; `cut` ends its connections."""

    def __init__(
        self, device: Device, folder: Path, cut: Callable[[], None] = lambda: None
    ) -> None:
        self.device, self._cut = device, cut
        self._bundles = {
            "A": write_variant(folder / "a.edge", 1, seed=1),
            "B": write_variant(folder / "b.edge", 2, seed=2),
            UNFIT: _write_unfit(folder / "unfit.edge"),
            MUTE: write_variant(folder / "mute.edge", 3, seed=3),
        }
        self._names: dict[str, str] = {}
        for name, path in self._bundles.items():
            with open_bundle(path) as bundle:
                self._names[bundle.id] = name
        self.seconds: dict[str, float] = {}
        self._took = 0.0

    def flash(self, name: str) -> str:
        """Flash a release; return why it failed, nothing when it holds."""
        source = "synthetic:shapes?live=1&fps=50&frames=0&width=64&height=48"
        sink = f"http://127.0.0.1:{self.device.port}"
        run = RunWords([_DEAD_SOURCE if name == MUTE else source], [sink])
        health = Health(1, 1.0) if name == MUTE else Health(2, 12.0)
        start = time.monotonic()
        try:
            flash(self._bundles[name], self.device.uri, FlashOptions(run=run, health=health))
        except EdgeError as error:
            return str(error) or "no reason"
        finally:
            self._took = time.monotonic() - start
        return ""

    def measure(self) -> None:
        """Flash each release once, and note for how long; AssertionError where one surprises."""
        for name in ("A", "B", UNFIT, "A", MUTE):
            reason = self.flash(name)
            self.seconds[name] = self._took
            assert bool(reason) == (name not in GOOD), f"{name}: {reason}"
        assert self.current() == "A"

    def kill(self, kind: str, release: str, at_s: float) -> Kill:
        """Kill `at_s` after the start of a flash, see what is left, and flash a good release."""
        work = _Flash(self, release)
        work.start()
        time.sleep(at_s)
        hit = self._killed(kind)
        done = Kill(kind, release, round(at_s, 3), work.heard.last, hit, "", "")
        try:
            done = replace(done, current=self.current())
            work.join(_PATIENCE_S)
            assert not work.is_alive(), "the host hangs"
            if kind == "power":
                self._boot()
            self._settle()
            done = replace(done, after=self._at_rest())
            self._flashed_again("B" if done.after == "A" else "A")
        except (AssertionError, EdgeError, OSError) as error:
            return replace(done, fault=f"{error or type(error).__name__}; the flash: {work.reason}")
        return done

    def current(self) -> str:
        """Return the release that is current, which must be whole and have passed its golden set;
        what has no results may be on trial."""
        layout = self.device.layout
        linked = layout.current_id()
        assert linked is not None, "nothing is current"
        folder = layout.releases / linked
        release = Release.from_bytes((folder / RELEASE).read_bytes())
        assert release.id == linked, "current is not what its name says"
        verify(folder, release)
        with open_bundle(folder / BUNDLE) as bundle:
            name = self._names[bundle.id]
        assert name != UNFIT, "a release that failed its golden test is current"
        trial = load(layout).trial
        on_trial = trial is not None and trial.release == linked
        # The link changes first, the journal after.
        assert name in GOOD or on_trial or layout.current_id() != linked, "a mute release is kept"
        return name

    def _killed(self, kind: str) -> int:
        """Kill, and return how many processes that were."""
        if kind == "power":
            hit = _end_all(lambda: _of_device(self.device.root))
            self._cut()
            return hit
        what = "supervise" if kind == "supervisor" else "session"
        found = [pid for pid, words in _of_device(self.device.root) if what in words]
        if kind == "agent":
            return _end_all(lambda: ((pid, []) for pid in _trees(found)))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def _boot(self) -> None:
        program = self.device.layout.agent / "agent.py"
        words = [sys.executable, "-I", str(program), "boot", str(self.device.root)]
        # It fails where a release on trial was taken back: what is current tells.
        subprocess.run(words, check=False, capture_output=True, timeout=_PATIENCE_S)

    def _settle(self) -> None:
        """Wait for whoever finishes what was begun."""
        end = time.monotonic() + _SETTLES_S
        while any("finish" in words for _, words in _of_device(self.device.root)):
            assert time.monotonic() < end, "whoever finishes does not come to an end"
            time.sleep(0.02)

    def _at_rest(self) -> str:
        """Return what is current when nobody is at work: what is not kept is on trial."""
        name, state = self.current(), load(self.device.layout)
        told = {event.what for event in state.events}
        assert not told & {"damaged", "adopted"}, f"the journal tells of {told}"
        if state.trial is None:
            assert name in GOOD, f"{name} stays current"
            assert state.current == self.device.layout.current_id(), "journal and link differ"
        return name

    def _flashed_again(self, name: str) -> None:
        reason = self.flash(name)
        assert not reason, f"the next flash fails: {reason}"
        self.seconds[name] = self._took  # by what it takes now, when others use the machine
        assert self._at_rest() == name, "the next flash is not current"
        assert load(self.device.layout).trial is None, "the next flash is not kept"
        assert self.device.shown() is not None, "the next flash does not answer"


def kills(rig: Rig, count: int, seed: int) -> Iterator[Kill]:
    """Kill `count` flashes in turn; those that were to hit a process and hit none are repeated."""
    chance = random.Random(seed)
    done = 0
    while done < count:
        kind = KINDS[done % len(KINDS)]
        other = "B" if rig.current() == "A" else "A"
        # Every fifth is one that does not hold: each of the two in turn, by each kind of kill.
        release = (UNFIT, MUTE)[(done // 5 + done // 20) % 2] if done % 5 == 4 else other
        found = rig.kill(kind, release, chance.uniform(0, rig.seconds[release]))
        done += bool(found.hit or found.fault)
        yield found


def _write_unfit(path: Path) -> Path:
    """Write a bundle whose model answers otherwise than its golden set says."""
    manifest, files = build_parts(({"seed": 4},), seed=4)
    _, others = build_parts(({"seed": 5},), seed=4)
    model = manifest.artifacts[0].file.path
    files = {**files, model: others[model]}
    artifact = replace(manifest.artifacts[0], file=file_entry(model, files[model]))
    profile = {"name": PROFILE, "digest": load_profile(PROFILE).digest}
    write_bundle(path, replace(manifest, artifacts=(artifact,), profile=profile), files)
    return path


def _of_device(root: Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield what runs of a device, by its words or its variables, with its words."""
    marker = os.fsencode(root)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            values = (v.partition(b"=")[2] for v in (folder / "environ").read_bytes().split(b"\0"))
            if any(v == marker or v.startswith(marker + b"/") for v in (*words, *values)):
                yield int(folder.name), [os.fsdecode(word) for word in words]


def _trees(roots: Sequence[int]) -> Iterator[int]:
    """Yield processes with all that they started and that still has its parent."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    for pid in parents:
        above = pid
        while above and above not in roots:
            above = parents.get(above, 0)
        if above:
            yield pid


def _end_all(find: Callable[[], Iterable[tuple[int, object]]]) -> int:
    """Kill processes at one instant: they are stopped first, until there is none that runs."""
    stopped: set[int] = set()
    while new := {pid for pid, _ in find()} - stopped:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= new
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(stopped)
