"""What a release is: `release.json`, canonical, so that its SHA-256 names the release."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from device_profiles.decode import decode, encode
from device_profiles.errors import BundleError, ProfileError
from runtime.manifest import FileEntry

SCHEMA = "1.0"
RELEASE = "release.json"
BUNDLE = "bundle.edge"
LOCK = "lock.txt"
MAX_BYTES = 1 << 20

_ID = re.compile(r"[0-9a-f]{32}")
_FILES = (BUNDLE, LOCK)


@dataclass(frozen=True)
class Needs:
    """What a device must be: `arch` and `features` of its CPU in the words of device profiles,
    its Python's minor version, the oldest C library, and memory in MiB. `profile` is what the
    bundle was made for."""

    profile: str
    arch: str
    python: str
    features: tuple[str, ...] = ()
    libc: str = ""
    memory_mb: int = 0


@dataclass(frozen=True)
class Health:
    """What a release must show before it is kept: so many results within some seconds."""

    results: int = 5
    within_s: float = 60.0


@dataclass(frozen=True)
class Run:
    """How it is run: the words behind `edge-sdk run BUNDLE`; none where nothing is to run.

    `watchdog_s` is how long it may be without a result before it is started again.
    """

    words: tuple[str, ...] = ()
    watchdog_s: float | None = None


@dataclass(frozen=True)
class Release:
    """A bundle, the wheels it runs on (`environment` is the key of their lock) and how it is run.

    `files` are what its folder holds beside release.json; `unpacked` is what the environment takes
    on the disk, in bytes. `bundle` is the bundle's id. `golden_s` bounds the golden replay.

    A field that is added later is None by default, and so left out of the text: a device holds
    releases of before, goes back to them, and knows each by the hash of its text.
    """

    name: str
    bundle: str
    environment: str
    needs: Needs
    files: tuple[FileEntry, ...]
    run: Run = field(default_factory=Run)
    health: Health = field(default_factory=Health)
    system_site: bool = False
    unpacked: int = 0
    golden_s: float = 600.0
    schema: str = SCHEMA

    def to_bytes(self) -> bytes:
        """Return the canonical JSON: 30 where 30.0 is meant is written as that."""
        return canonical(encode(decode(type(self), encode(self), RELEASE)))

    @property
    def id(self) -> str:
        """The name of the release: the first half of the SHA-256 of its canonical JSON."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    @property
    def size(self) -> int:
        """What its files take, in bytes."""
        return sum(entry.size for entry in self.files)

    @classmethod
    def from_bytes(cls, data: bytes) -> Release:
        """Read a release; BundleError for anything that `to_bytes` would not write."""
        if len(data) > MAX_BYTES:
            raise BundleError(f"{RELEASE} has {len(data)} bytes, the limit is {MAX_BYTES}")
        try:
            fields = json.loads(data)
            if not isinstance(fields, Mapping):
                raise ValueError("it is no table")
            schema = str(fields.get("schema", ""))
            if schema.partition(".")[0] != SCHEMA.partition(".")[0]:
                raise BundleError(
                    f"{RELEASE} has schema {schema!r}, this agent reads {SCHEMA}; flash with "
                    "another edge-sdk"
                )
            release = decode(cls, fields, RELEASE)
            _check(release)
            if release.to_bytes() != data:
                raise ValueError("it is not canonical")
        except (ValueError, RecursionError) as error:
            if isinstance(error, BundleError):
                raise
            what = str(error) if isinstance(error, ProfileError) else f"{RELEASE}: {error}"
            raise BundleError(f"{what}; flash it again") from error
        return release


def vouched_digest(release: Release, allow_downgrade: bool) -> str:
    """Return what is signed of a release that is delivered, as the SHA-256 of its text, in hex.

    That it may be older than what was seen is a part of it: else whoever has an old one could say
    so of it.
    """
    text = release.to_bytes() + (b"\nallow-downgrade\n" if allow_downgrade else b"")
    return hashlib.sha256(text).hexdigest()


def canonical(value: Any) -> bytes:
    """Return JSON of which there is one form: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def is_id(text: str) -> bool:
    """Say whether `text` may name a release, which becomes a folder."""
    return _ID.fullmatch(text) is not None


def _check(release: Release) -> None:
    """Raise ValueError for what must not become a path or a command."""
    if sorted(entry.path for entry in release.files) != sorted(_FILES):
        raise ValueError(f"its files are not {' and '.join(_FILES)}")
    for entry in release.files:
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256) or entry.size < 0:
            raise ValueError(f"{entry.path} has no SHA-256 or no size")
    if not re.fullmatch(r"[0-9a-f]{64}", release.bundle):
        raise ValueError("its bundle's id is no SHA-256")
    if not re.fullmatch(r"[0-9a-f]{32}(-system)?", release.environment):
        raise ValueError(f"its environment is called {release.environment!r}")
    if not (0 < release.health.within_s < 86400 and release.health.results >= 1):
        raise ValueError("its health asks for no result, or for no time")
    if not (release.golden_s > 0 and release.unpacked >= 0):
        raise ValueError("its golden_s or unpacked is not positive")
    if any("\0" in word or "\n" in word for word in release.run.words):
        raise ValueError("a word of its run has a line break")
