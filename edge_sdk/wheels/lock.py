"""Lock: exactly what is installed on a device. Its text is a requirements file that pip installs.

    # edge-sdk lock 1
    # profile: raspberry-pi-4b
    # arch: aarch64
    ...
    numpy==2.4.6 --hash=sha256:0ab0... # numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl 16051029

Written by hand it may hold plain lines, such as `onnxruntime==1.20.1`, which `resolve.load_lock`
completes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from device_profiles.errors import RequestError
from edge_sdk.wheels._packaging import (
    InvalidRequirement,
    InvalidVersion,
    Requirement,
    Version,
    canonicalize_name,
)
from edge_sdk.wheels.tags import Platform, read_file_name

_MARK = "edge-sdk lock 1"
_INSTALL = "install: python3 -m pip install --no-deps --require-hashes -r THIS_FILE"
_ONE = ("profile", "arch", "python", "libc", "made by")
_MANY = ("system", "note")
_LINE = re.compile(
    r"(?P<wanted>[^#]*?)(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})*)"
    r"(\s*#\s*(?P<file>[\w.+!-]+\.whl)(\s+(?P<size>\d+))?|\s+#.*)?"
)


@dataclass(frozen=True)
class Wheel:
    """One file to install; `size` in bytes, None where the index did not say."""

    name: str
    version: str
    file: str
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise RequestError(f"{self.name} has no SHA-256 of 64 lower-case hex digits")
        name, version, _ = read_file_name(self.file)
        if name != canonicalize_name(self.name) or version != _version(self.version):
            raise RequestError(f"{self.file} is not {self.name} {self.version}")

    def __str__(self) -> str:
        size = "" if self.size is None else f" {self.size}"
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256} # {self.file}{size}"


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


@dataclass(frozen=True)
class Request:
    """A line that does not name a file: what is wanted, and the hashes it may have."""

    requirement: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lock:
    """What is installed on a device called `profile`, whose `platform` all wheels fit.

    `system` are packages of the device's own system that it needs beside the wheels (Debian's
    names), `notes` are what its user should know, `made_by` says what wrote it. Wheels are kept
    sorted by name.
    """

    profile: str
    platform: Platform
    wheels: tuple[Wheel, ...]
    system: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made_by: str = "hand"

    def __post_init__(self) -> None:
        wheels = sorted(self.wheels, key=lambda wheel: canonicalize_name(wheel.name))
        names = [canonicalize_name(wheel.name) for wheel in wheels]
        for wheel, name in zip(wheels, names, strict=True):
            if names.count(name) > 1:
                raise RequestError(f"{name} is there twice; leave one")
            if not self.platform.fits(wheel.file):
                raise RequestError(f"{wheel.file} does not fit {self.platform}")
        object.__setattr__(self, "wheels", tuple(wheels))
        object.__setattr__(self, "system", tuple(sorted(set(self.system))))

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is unpacked for which Python: equal sets are equal here."""
        lines = [self.platform.python, *(f"{wheel.sha256} {wheel.file}" for wheel in self.wheels)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def version_of(self, name: str) -> str | None:
        """Return the version of the package called `name`; None when it is not in it."""
        wanted = canonicalize_name(name)
        found = (w.version for w in self.wheels if canonicalize_name(w.name) == wanted)
        return next(found, None)

    def to_text(self) -> str:
        """Return the file's text, the same for the same lock."""
        platform = self.platform
        one = (self.profile, platform.arch, platform.python, platform.libc, self.made_by)
        head = [_MARK, *(f"{key}: {value}" for key, value in zip(_ONE, one, strict=True))]
        head += [f"system: {package}" for package in self.system]
        head += [f"note: {note}" for note in self.notes]
        lines = [*(f"# {line}" for line in (*head, _INSTALL)), *map(str, self.wheels)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, text: str, source: str = "lock") -> Lock:
        """Return the lock that `to_text` wrote.

        RequestError names the line that is wrong, the field that the head lacks, or the line that
        has no file (`resolve.load_lock` completes it).
        """
        read = parse(text, source)
        if read.requests:
            raise RequestError(
                f"{source}: {read.requests[0].requirement} names no file; resolve it first"
            )
        return read.lock(source)


@dataclass(frozen=True)
class LockText:
    """What a lock file says, complete or not."""

    one: Mapping[str, str]
    many: Mapping[str, tuple[str, ...]]
    wheels: tuple[Wheel, ...]
    requests: tuple[Request, ...]

    def lock(self, source: str) -> Lock:
        """Return what is written as a lock; RequestError when the head lacks a field."""
        for key in _ONE:
            if key not in self.one:
                raise RequestError(f"{source}: the head lacks the line '# {key}: ...'")
        profile, arch, python, libc, made_by = (self.one[key] for key in _ONE)
        try:
            platform = Platform(arch, python, libc)
            system, notes = (self.many[key] for key in _MANY)
            return Lock(profile, platform, self.wheels, system, notes, made_by)
        except RequestError as error:
            raise RequestError(f"{source}: {error}") from error


def parse(text: str, source: str) -> LockText:
    """Read a lock file, complete or not; RequestError names the line that is wrong."""
    one: dict[str, str] = {}
    many: dict[str, list[str]] = {key: [] for key in _MANY}
    wheels: list[Wheel] = []
    requests: list[Request] = []
    for number, line in _logical(text):
        if line.startswith("#"):
            key, found, value = line.lstrip("# ").partition(": ")
            if found and key in _MANY:
                many[key].append(value)
            elif found and key in _ONE:
                one[key] = value
            continue
        try:
            item = _item(line)
        except RequestError as error:
            raise RequestError(f"{source}, line {number}: {error}") from error
        if isinstance(item, Wheel):
            wheels.append(item)
        else:
            requests.append(item)
    kept = {key: tuple(values) for key, values in many.items()}
    return LockText(one, kept, tuple(wheels), tuple(requests))


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, those that end in a backslash joined with the next."""
    start, held = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if held else number
        if line.endswith("\\") and not line.startswith("#"):
            held += line[:-1] + " "
            continue
        whole, held = (held + line).strip(), ""
        if whole:
            yield start, whole
    if held.strip():
        yield start, held.strip()


def _item(line: str) -> Wheel | Request:
    match = _LINE.fullmatch(line)
    wanted = match["wanted"].strip() if match else line
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement as error:
        raise RequestError(
            f"{line[:80]!r} is not understood; write such as onnxruntime==1.20.1"
        ) from error
    if match is None or requirement.extras or requirement.marker or requirement.url:
        raise RequestError(f"{line[:80]!r} says more than a name, versions and SHA-256 hashes")
    hashes = tuple(part.partition("sha256:")[2] for part in match["hashes"].split())
    if match["file"] is None:
        return Request(str(requirement), hashes)
    exact = [spec.version for spec in requirement.specifier if spec.operator == "=="]
    if len(exact) != 1 or len(requirement.specifier) != 1 or len(hashes) != 1:
        raise RequestError(f"{match['file']} needs its exact version (==) and one hash")
    size = None if match["size"] is None else int(match["size"])
    return Wheel(requirement.name, exact[0], match["file"], hashes[0], size)
