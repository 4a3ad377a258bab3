"""An installation whose service is played: what it was told, and whether it would run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import OutputError
from runtime.agent import install
from runtime.agent.golden import Replayed
from runtime.agent.layout import Layout
from runtime.agent.release import Health
from runtime.agent.services import Liveness, ServiceOptions
from runtime.agent.stage import Offer, receive
from runtime.agent.state import State
from tests.runtime.agent.releases import deliver, furnish, make_release

WORDS = ("--source", "synthetic:shapes")


@dataclass
class Played:
    """A service that runs what the link names when it is started, and is ready at once."""

    layout: Layout
    runs: str | None = None
    good: bool = True
    full: Full | None = None
    told: list[str] = field(default_factory=list)

    name = "played"

    @property
    def work(self) -> Path:
        """The folder that it runs in."""
        return self.layout.root / "work"

    def install(self, options: ServiceOptions) -> list[str]:
        """Write its options where the disk takes them."""
        if self.full is not None and self.full.takes == 0:
            self.full.refused += 1
            raise OutputError(f"{self.work} cannot be written: No space left on device")
        return []

    def start(self) -> None:
        """Run what the link names."""
        self.runs = self.layout.current_id()
        self.told.append("start")

    def stop(self, patience_s: float = 15.0) -> None:
        """Run nothing."""
        self.runs = None
        self.told.append("stop")

    def liveness(self) -> Liveness:
        """Tell."""
        ready = self.runs is not None and self.good
        return Liveness(self.runs is not None, ready, reason="" if ready else "it was played so")

    def log(self, lines: int) -> list[str]:
        """Return nothing."""
        return []

    def remove(self) -> None:
        """Stop."""
        self.stop()


class Stage:
    """An installation in a folder, its service, and releases that may be brought."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.layout = folder, Layout(folder / "root")
        self.service = Played(self.layout)
        furnish(self.layout)
        patch.setattr(install, "service_of", lambda place: self.service)
        chosen: Mapping[str, Any] = {"rung": 0, "label": "played"}
        patch.setattr(install, "replay", lambda *_: Replayed((), chosen))
        patch.setattr(install, "prepare", lambda layout: None)
        patch.setattr(install, "adopt", lambda layout: None)
        patch.setattr(install, "RESUMED_S", 0.1)

    def here(self, state: State) -> install.Installation:
        """Return the installation."""
        return install.Installation(self.layout, state, lambda step, **facts: None)

    def bring(self, state: State, name: str, seed: int, results: int = 1) -> State:
        """Flash a release; returns the state that was written last."""
        release = make_release(self.folder / name, seed, WORDS)
        health = Health(results, 0.2)
        release = replace(release, health=health)
        wanted = receive(self.layout, state, Offer(release, ()))
        deliver(self.layout, self.folder / name, wanted.files, release)
        return self.here(state).install(release, install.Ways())


class Full:
    """A disk that takes the journal so many times, and then no more."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.refused = 0

    def write(self, real: Any) -> Any:
        """Return a function that writes the journal as `real` does while the disk takes it."""

        def save(layout: Layout, state: State) -> State:
            if self.takes == 0:
                self.refused += 1
                raise OutputError(f"{layout.root} cannot be written: No space left on device")
            self.takes -= 1
            found: State = real(layout, state)
            return found

        return save
