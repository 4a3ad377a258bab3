"""A device that runs a good release and is asked all the time, while others are tried on it."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.profile import load
from edge_sdk.cli import main
from runtime.agent.services.records import Records
from runtime.bundle import file_entry, write_bundle
from runtime.engines.null import null_model
from tests.edge_sdk.flash_cases import PROFILE, Device, device_in, write_variant
from tests.runtime.conftest import INPUTS, OUTPUTS, build_parts

MODEL = "models/model.0.json"
SAME_PROCESS_S = 3.0
"""What a client may wait for an answer of a process that goes on: a busy machine answers late."""


@dataclass(frozen=True)
class Seen:
    """What a device is at a moment: its link, its journal, and the process of its service."""

    link: str | None
    current: str | None
    previous: str | None
    trial: Any
    pid: int | None


class Gaps:
    """Asks a device all the time; `longest` is the longest wait for an answer since `mark`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._last = time.monotonic()
        self._longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Gaps:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def mark(self) -> None:
        """Begin to measure."""
        with self._lock:
            self._longest = 0.0

    def longest(self) -> float:
        """Return the longest time without an answer, with the one that goes on."""
        with self._lock:
            return max(self._longest, time.monotonic() - self._last)

    def _ask(self) -> None:
        while not self._over.is_set():
            shown = self._device.shown()
            with self._lock:
                if shown is not None:
                    now = time.monotonic()
                    self._longest = max(self._longest, now - self._last)
                    self._last = now
            time.sleep(0.02)


@dataclass
class Standing:
    """A device with a good release, and whoever asks it."""

    device: Device
    gaps: Gaps
    folder: Path

    def seen(self) -> Seen:
        """Return what the device is now."""
        state = self.device.state()
        return Seen(
            self.device.layout.current_id(),
            state["current"],
            state["previous"],
            state["trial"],
            Records(self.device.root).entry().pid,
        )

    @contextlib.contextmanager
    def unmoved(self, case: str, left: bool = False) -> Iterator[None]:
        """Whatever is done meanwhile, the device goes on: the same release, the same process.

        Nothing is `left` of what was sent, unless it is for the next attempt.
        """
        before = self.seen()
        self.gaps.mark()
        yield
        gap = self.gaps.longest()
        told(case, gap)
        after = self.seen()
        assert after == before, f"{before} was, {after} is; {Records(self.device.root).log}"
        assert self.device.shown() is not None
        assert gap < SAME_PROCESS_S
        assert left or not left_over(self.device)

    @contextlib.contextmanager
    def back_again(self, case: str) -> Iterator[None]:
        """Whatever is done meanwhile, the device is back at its release after, and answers."""
        before = replace(self.seen(), pid=None)
        self.gaps.mark()
        yield
        within(10.0, lambda: self.device.shown() is not None)
        told(case, self.gaps.longest())
        assert replace(self.seen(), pid=None) == before
        assert not left_over(self.device)

    def bundle(self, name: str, frames: int = 0, **behaviour: Any) -> Path:
        """Write a bundle whose model does not do what its golden set says of it."""
        return write_changed(self.folder / f"{name}.edge", frames, **behaviour)

    def good(self, name: str, frames: int) -> Path:
        """Write a bundle that holds."""
        return write_variant(self.folder / f"{name}.edge", frames, seed=frames)

    def words(self, source: str | None = None, *more: str) -> list[str]:
        """Return the words of `Device.words`, with another source and with more of them."""
        words = self.device.words()
        if source is not None:
            words[words.index("--source") + 1] = source
        return [*words, *more]


def left_over(device: Device) -> list[str]:
    """Return what lies among what is being sent."""
    return sorted(str(path) for path in device.layout.incoming.glob("**/*") if not path.is_dir())


def told(case: str, gap: float) -> None:
    """Print a measurement: `pytest -s` shows them."""
    assert sys.__stdout__ is not None  # not what a test reads back
    sys.__stdout__.write(f"\n[gap] {case}: {gap * 1e3:.0f} ms\n")


def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until something holds; an error where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def standing_in(folder: Path) -> Iterator[Standing]:
    """Make a device that runs a good release."""
    with pytest.MonkeyPatch.context() as patch, device_in(folder, patch) as device:
        first = write_variant(folder / "first.edge", 1, seed=1)
        assert main(["flash", str(first), *device.words()]) == 0
        with Gaps(device) as gaps:
            yield Standing(device, gaps, folder)


def write_changed(path: Path, frames: int = 0, **behaviour: Any) -> Path:
    """Write a bundle, consistent in itself, whose model was exchanged after its golden set was
    made: no host can know."""
    manifest, files = build_parts(({},), seed=frames)
    files[MODEL] = null_model(INPUTS, OUTPUTS, **behaviour)
    changed = replace(manifest.artifacts[0], file=file_entry(MODEL, files[MODEL]))
    known = load(PROFILE)
    profile = {"name": known.name, "digest": known.digest}
    write_bundle(path, replace(manifest, artifacts=(changed,), profile=profile), files)
    return path


def lines_of(said: bytes) -> list[dict[str, Any]]:
    """Return what an agent said, a JSON object a line."""
    return [json.loads(line) for line in said.splitlines()]
