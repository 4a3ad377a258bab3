"""What keeps a release running on a device, whatever the system's own manager is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device_profiles.errors import RequestError

LEAST_WATCHDOG_S = 10.0
"""A run tells of its results once a second; less than some of those would end one that works."""


@dataclass(frozen=True)
class Place:
    """Where an installation is: its folder, and the device's own Python by its whole path."""

    root: Path
    python: str

    def command(self, *words: str) -> list[str]:
        """Return the command line that calls the resident agent with `words`: what is installed for
        that Python is none of its business, and takes time to look at."""
        return [self.python, "-IS", f"{self.root}/agent/agent.py", *words]


@dataclass(frozen=True)
class ServiceOptions:
    """How the service is kept: `watchdog_s` is how long it may be without a result (None: for
    ever), `ready_s` how long its first result may take. `groups` are those of the device's groups
    that own cameras and accelerators; what the device does not have is left out."""

    watchdog_s: float | None = None
    groups: tuple[str, ...] = ("video", "render", "plugdev", "apex")
    description: str = "Camera inference (Edge SDK)"
    ready_s: float = 300.0

    def __post_init__(self) -> None:
        if self.watchdog_s is not None and not LEAST_WATCHDOG_S <= self.watchdog_s < 1e6:
            raise RequestError(
                f"a watchdog of {self.watchdog_s:g} s is less than {LEAST_WATCHDOG_S:.0f} s, or "
                "longer than a week; give another, or none"
            )


@dataclass(frozen=True)
class Liveness:
    """What a service is at a moment: whether its process runs, whether it said that it is ready,
    how often it was started again, why it ended last, and since when it runs (`time.time`)."""

    running: bool
    ready: bool
    pid: int | None = None
    restarts: int = 0
    reason: str = ""
    since: float | None = None


class Service(Protocol):
    """The service of an installation: what the link `current` names, kept running.

    Methods raise OutputError where a file cannot be written, EngineError where the system's
    manager refuses, RequestError where the folder cannot hold a service.
    """

    @property
    def name(self) -> str:
        """Who keeps it running: `systemd` or `plain`."""

    @property
    def work(self) -> Path:
        """The folder that it runs in and may write; `stats.json` lies there."""

    def install(self, options: ServiceOptions) -> list[str]:
        """Start it at every boot from now on; again, to change options. Returns what a person
        should know or do."""

    def start(self) -> None:
        """Start what `current` names, anew where it runs; returns before it is ready."""

    def stop(self, patience_s: float = 15.0) -> None:
        """End it in order, then by force; nothing of it runs when this returns."""

    def liveness(self) -> Liveness:
        """Tell what it is at this moment."""

    def log(self, lines: int) -> list[str]:
        """Return the last lines that it wrote, the newest last."""

    def remove(self) -> None:
        """Stop it and start it at no boot any more; nothing of it is left outside the folder."""
