"""What a look is given and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sdk.looks._installed import Package, Read, read_packages
from edge_sdk.looks._trial import Ask, Trial, Try, attempt

if TYPE_CHECKING:  # it needs tomli on Python 3.10, which may be what is missing
    from device_profiles.profile import Profile

SOFTWARE, MACHINE, HOST = "software", "machine", "host"
"""Where looks make sense: anywhere; on real machines only, as an emulator shows its host's; where
models are converted and devices emulated."""

LEVELS = ("fault", "note", "ok")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `level` is `ok`, `note` or `fault`; `remedy` mends it."""

    name: str
    level: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Scene:
    """Where to look: files below `root`, the disk that `folder` is on, the `packages` of this
    Python by their canonical names. `profile` is what the machine is meant to be, where known;
    `emulated` says that an emulator runs this, `host` that models may be converted here. `attempt`
    imports a module in a child process and asks it something."""

    root: Path = Path("/")
    folder: Path = field(default_factory=Path.home)
    profile: Profile | None = None
    emulated: bool = False
    host: bool = False
    packages: Mapping[str, Package] = field(default_factory=read_packages)
    attempt: Try = attempt

    def version(self, *names: str) -> str | None:
        """Return the version of the first of `names` that is installed."""
        found = (self.packages[name].version for name in names if name in self.packages)
        return next(found, None)


Look = Callable[[Scene], Iterable[Finding]]

__all__ = [
    "HOST",
    "LEVELS",
    "MACHINE",
    "SOFTWARE",
    "Ask",
    "Finding",
    "Look",
    "Package",
    "Read",
    "Scene",
    "Trial",
    "Try",
    "attempt",
]
