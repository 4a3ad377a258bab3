"""What every target is: a machine whose own Python runs the device side."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from device_profiles.profile import Profile


@dataclass(frozen=True)
class Start:
    """How a process is started: variables of its environment beside those that the target sets.

    `plugin` goes to an emulator as `-plugin`; a target that is none refuses it (RequestError).
    `bare` says that nothing but Python itself is needed: a target does not refuse for want of more.
    What is started `apart` is not reached by the terminal's Ctrl-C, which its caller then hands on.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    plugin: str | None = None
    bare: bool = False
    apart: bool = False


class Target(Protocol):
    """A machine on which the device side runs. Its methods may be called from any thread."""

    @property
    def uri(self) -> str:
        """Its address, such as `emulated:raspberry-pi-4b`."""

    @property
    def profile(self) -> Profile | None:
        """The device that it is meant to be; None where nobody said."""

    @property
    def emulated(self) -> bool:
        """Whether its CPU is an emulator's: what a clock says there is not true of the device."""

    @property
    def lanes(self) -> int:
        """How many of its processes make sense side by side, to share out a long work."""

    @property
    def shares_files(self) -> bool:
        """Whether what is written there by an absolute path is written here."""

    @property
    def notes(self) -> Sequence[str]:
        """What there is to say of it beside results."""

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:
        """Start its Python with `arguments`, such as `["-m", "runtime.serve"]`.

        The four packages and the device's own numpy and engines are importable there. Standard
        input, output and error are pipes. The process ends with its standard input at the latest.
        EngineError where it cannot be started, MissingError where something is not installed.
        """

    def send(self, path: Path) -> str:
        """Make a local file or folder readable there and return its path there."""

    def close(self) -> None:
        """End what the target holds; its processes are the callers' own to end."""
