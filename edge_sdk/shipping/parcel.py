"""What is brought to a device: a release with its files, and the wheels of its environment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.cache import built, folder
from edge_sdk.shipping.device_wheel import DeviceWheel
from edge_sdk.wheels import Lock
from runtime.agent.environment import key
from runtime.agent.release import BUNDLE, LOCK, Health, Needs, Release, Run, vouched_digest
from runtime.bundle import Bundle
from runtime.manifest import FileEntry
from runtime.statements import statement_bytes

_MEMORY_SHARE = 0.75
"""How much of a board's memory its system shows at the least: a Raspberry Pi's GPU and a Jetson's
carve-outs take theirs before Linux counts."""


@dataclass(frozen=True)
class Furniture:
    """What a release stands on: a lock with the device wheel among its wheels, where each wheel
    lies here by its file's name, and what they take when they are unpacked, in bytes."""

    lock: Lock
    wheels: Mapping[str, Path]
    unpacked: int
    device: DeviceWheel


@dataclass(frozen=True)
class Parcel:
    """A release and where its files lie here; `signature` is what is signed of its bundle, empty
    where nothing is."""

    release: Release
    files: Mapping[str, Path]
    furniture: Furniture
    signature: str = ""
    allow_downgrade: bool = False

    @property
    def wheels(self) -> tuple[FileEntry, ...]:
        """The wheels as entries."""
        found = self.furniture.lock.wheels
        return tuple(
            FileEntry(w.file, w.sha256, self.furniture.wheels[w.file].stat().st_size) for w in found
        )

    def offer(self) -> dict[str, Any]:
        """Return the fields of the request `offer`."""
        return {
            "release": self.release.to_bytes().decode(),
            "wheels": [vars(entry) for entry in self.wheels],
            "signature": self.signature,
            "allow_downgrade": self.allow_downgrade,
        }

    @property
    def digest(self) -> str:
        """What is signed of the release, in hex."""
        return vouched_digest(self.release, self.allow_downgrade)


@dataclass(frozen=True)
class Asked:
    """How a release is run and judged, and whether it needs packages of the device's system."""

    run: Run = field(default_factory=Run)
    health: Health = field(default_factory=Health)
    system_site: bool = False
    golden_s: float = 600.0


def pack(bundle: Bundle, profile: Profile, furniture: Furniture, asked: Asked) -> Parcel:
    """Return the parcel of a bundle for a device of `profile`.

    OutputError where the cache cannot be written.
    """
    text = furniture.lock.to_text()
    lock = _kept(text)
    release = Release(
        name=bundle.manifest.name,
        bundle=bundle.id,
        environment=key(text, asked.system_site),
        needs=_needs(profile, furniture.lock),
        files=(_entry(BUNDLE, bundle.path), _entry(LOCK, lock)),
        run=asked.run,
        health=asked.health,
        system_site=asked.system_site,
        unpacked=furniture.unpacked,
        golden_s=asked.golden_s,
    )
    files = {BUNDLE: bundle.path, LOCK: lock}
    said = statement_bytes(bundle.statements).decode() if bundle.statements else ""
    return Parcel(release, files, furniture, said)


def _needs(profile: Profile, lock: Lock) -> Needs:
    hardware, platform = profile.hardware, lock.platform
    return Needs(
        profile=profile.name,
        arch=platform.arch,
        python=platform.python,
        features=tuple(hardware.features),
        libc=platform.libc,
        memory_mb=int((hardware.memory_mb or 0) * _MEMORY_SHARE),
    )


def _kept(text: str) -> Path:
    """Return a file with this text, which stays where it is."""
    data = text.encode()
    name = hashlib.sha256(data).hexdigest()
    return built(folder("lock-texts", f"{name}.txt"), lambda place: _written(place, data))


def _written(place: Path, data: bytes) -> None:
    place.write_bytes(data)


def _entry(name: str, path: Path) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    return FileEntry(name, digest.hexdigest(), size)
