"""What every carrier is: a way by which files and commands get to a device.

A device that answers is a `Carrier`; a medium that is carried to it by hand, such as a stick or an
SD card, is a `Medium`: it takes a parcel, and the device does the rest when it finds it.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from device_profiles.errors import EngineError, MissingError, OutputError, RequestError
from device_profiles.profile import Profile
from edge_sdk.shipping.device_wheel import DeviceWheel

OLDEST = (3, 10)
"""The oldest Python that the agent runs on."""

AGENT = "agent.py"

_AGENT_TEXT = '''"""The agent of Edge SDK: in the wheel beside this file, and later in `code`."""

import os, sys

here = os.path.dirname(os.path.realpath(__file__))
code = os.path.join(here, "code")
sys.path.insert(0, code if os.path.isdir(code) else os.path.join(here, {wheel!r}))
from runtime.agent.__main__ import main

sys.exit(main())
'''


@dataclass(frozen=True)
class Item:
    """A file to be put on a device: `local` here, `there` by its path below the root."""

    local: Path
    there: str


@dataclass(frozen=True)
class Sent:
    """What a transfer was: files, bytes sent and received (of the transfer itself, before ssh
    encrypts them), seconds."""

    files: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    seconds: float = 0.0

    def __add__(self, other: Sent) -> Sent:
        return Sent(
            self.files + other.files,
            self.bytes_out + other.bytes_out,
            self.bytes_in + other.bytes_in,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Seat:
    """Where an installation is or may be on a device, and what it has there.

    `root` and `python` are absolute there. `agent` says that the agent of the wheel which was asked
    for is there, whole; `resident`, that there is one which starts the service. `fault` says why
    nothing can be written below the root and what to do, empty where it can.
    """

    root: str
    python: str
    version: tuple[int, ...]
    uid: int
    user: str
    rsync: bool
    agent: bool
    resident: bool
    fault: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, Any], who: str) -> Seat:
        """Return what a device said of itself; MissingError where its Python is too old."""
        try:
            seat = cls(**{**facts, "version": tuple(facts["version"])})
        except (TypeError, KeyError) as error:
            raise EngineError(f"{who} did not say what it is ({error})") from error
        if seat.version < OLDEST:
            raise too_old(who, ".".join(map(str, seat.version)))
        return seat

    def require_writable(self, who: str) -> None:
        """Raise OutputError where nothing can be written below the root."""
        if self.fault:
            raise OutputError(f"{who}: {self.fault}")


def too_old(who: str, version: str) -> MissingError:
    """Return the error for a Python that the agent does not run on."""
    oldest = ".".join(map(str, OLDEST))
    return MissingError(
        f"{who} has Python {version}; install {oldest} or newer there and name it: ,python=PATH"
    )


class Carrier(Protocol):
    """A way to a device that answers; made for one user's one flash at a time."""

    @property
    def uri(self) -> str:
        """Its address, such as `ssh://pi@camera`."""

    @property
    def profile(self) -> Profile | None:
        """The device that it is meant to be; None where nobody said."""

    def look(self, wheel: DeviceWheel) -> Seat:
        """Ask the device where an installation is and what it has there; nothing is written.

        All other calls come after this one, and mean this wheel's agent. EngineError where the
        device is not reached, MissingError where its Python lacks or is too old.
        """

    def send_agent(self, wheel: DeviceWheel) -> Sent:
        """Send the agent, whose folder appears whole; nothing is sent where it is there already.

        OutputError where it cannot be written there.
        """

    def put(self, files: Sequence[Item], basis: str | None = None) -> Sent:
        """Send files, to folders that are there; each arrives whole under its name or not at all.

        `basis` names a folder below the root: where it has a file of the same name, only what
        differs is sent, if the way allows it. RequestError where a file cannot be read here,
        OutputError where one cannot be written there, EngineError where the connection is lost.
        """

    def run(self, words: Sequence[str], agent: str | None = None) -> subprocess.Popen[bytes]:
        """Start the agent with `words`; standard input, output and error are pipes.

        `agent` names another agent's folder below the root, such as the resident `agent`. It is
        not ended when the connection is lost, or by this process's end: its input ends then, and
        what comes of that is its own to decide.
        """

    def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True)
class Parcel:
    """What a medium takes: the agent's `wheel`, the `files` of the release (by their names in its
    folder, release.json among them), the `wheels` of its environment, and `ready`, which says what
    to install (JSON-ready; written last)."""

    wheel: DeviceWheel
    release: str
    files: Mapping[str, Path | bytes]
    wheels: Sequence[Path]
    ready: Mapping[str, Any]


@dataclass(frozen=True)
class Delivered:
    """What was written: the folder, its files and bytes, and what the person has to do now."""

    folder: Path
    files: int
    bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


@runtime_checkable
class Medium(Protocol):
    """A folder that is carried to a device: no command can be run there."""

    @property
    def uri(self) -> str:
        """Its address, such as `folder:/media/stick`."""

    def deliver(self, parcel: Parcel) -> Delivered:
        """Write a parcel; what is there of a former one stays until the new one is complete.

        RequestError for a folder that is not what it should be, OutputError where it cannot be
        written or has no room; nothing is half written then.
        """


def digest(wheel: DeviceWheel) -> str:
    """Return the name of the agent's folder."""
    return wheel.sha256[:32]


def agent_folder(wheel: DeviceWheel) -> str:
    """Return the path of the agent's folder, below the root."""
    return f"agents/{digest(wheel)}"


def agent_files(wheel: DeviceWheel) -> dict[str, Path | bytes]:
    """Return what the agent's folder holds, by name."""
    return {wheel.file: wheel.path, AGENT: _AGENT_TEXT.format(wheel=wheel.file).encode()}


def agent_hashes(wheel: DeviceWheel) -> list[str]:
    """Return what the agent's folder has to hold, a line `SHA256 NAME` each."""
    text = agent_files(wheel)[AGENT]
    assert isinstance(text, bytes)
    return [f"{wheel.sha256} {wheel.file}", f"{hashlib.sha256(text).hexdigest()} {AGENT}"]


def size_of(content: Path | bytes) -> int:
    """Return the bytes of something to be sent; RequestError where it cannot be read."""
    if isinstance(content, bytes):
        return len(content)
    try:
        with content.open("rb"):
            return content.stat().st_size
    except OSError as error:
        raise RequestError(f"{content} cannot be read: {error.strerror}") from error
