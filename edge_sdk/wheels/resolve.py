"""From a profile to a lock: which packages the device's engines need, in the versions that fit it.

Only what inference imports is taken, without its declared dependencies: an engine's wheel needs
numpy to run a model, and not the protobuf, flatbuffers or sympy of its converters and tools.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from device_profiles.errors import OutputError, RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.cache import built, folder
from edge_sdk.wheels import _pip
from edge_sdk.wheels._packaging import (
    InvalidRequirement,
    Requirement,
    SpecifierSet,
    canonicalize_name,
)
from edge_sdk.wheels._pip import Found, NoWheelError
from edge_sdk.wheels.lock import Lock, Request, Wheel, parse
from edge_sdk.wheels.tags import Platform, platform_of
from runtime.engines import traits
from runtime.progress import step

_NUMPY = "numpy"
# What an interpreter's metadata leaves out. tflite-runtime 2.14 says only "numpy>=1.23.2"; beside
# numpy 2.4 it is imported, and fails at its first model: "_ARRAY_API not found" (measured).
_BUILT_AGAINST = {"tflite-runtime": SpecifierSet("<2")}
# Distribution -> the Debian package that stands for it where no wheel fits.
_DEBIAN = {
    _NUMPY: "python3-numpy",
    "opencv-python-headless": "python3-opencv",
    "tomli": "python3-tomli",
}
# Rounds of asking again; each narrows one package at least, and the longest seen took six.
_MOST_ROUNDS = 12


@dataclass(frozen=True)
class _Need:
    """Distributions that serve one purpose, in the order of preference."""

    names: tuple[str, ...]
    purpose: str
    required: bool = True
    asked: bool = False


@dataclass
class _State:
    """What is asked of pip in the next round."""

    needs: dict[str, _Need]
    wanted: dict[str, SpecifierSet]
    system: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def requirements(self) -> list[str]:
        return [f"{name}{self.wanted.get(name, '')}" for name in self.needs]


def resolve(
    profile: Profile,
    requirements: Sequence[str] = (),
    python: str | None = None,
    *,
    pins: bool = True,
) -> Lock:
    """Return what a device of `profile` needs to run its engines, in versions that fit it.

    `requirements` (`onnxruntime==1.20.1`) narrow the choice or add packages; `python` is another
    of the profile's versions than its first. The profile's pins hold; where `pins` is False, not
    for what `requirements` name: an experiment with a release that is known to fail. Of an
    engine's interchangeable packages the first that has a wheel is taken. Where the index has no
    wheel of numpy (32-bit Arm), the lock names the system's package. Asks the index, and downloads
    nothing but metadata (where the index serves none, pip reads it off the wheel).

    Raises RequestError when a requirement contradicts a pin (quoting its reason), or no wheel fits;
    MissingError when pip is missing or no index answers.
    """
    platform = platform_of(profile, python)
    state = _state(profile, platform, [_requirement(text) for text in requirements])
    _apply_pins(profile, state, () if pins else tuple(state.wanted))
    step(f"choosing wheels for {profile.name} ({platform})")
    found = _choose(profile, platform, state)
    _note_providers(profile, state)
    made_by = f"edge-sdk {version('edge-sdk')}"
    wheels = tuple(_wheel(item) for item in found)
    return Lock(profile.name, platform, wheels, tuple(state.system), tuple(state.notes), made_by)


def device_lock(profile: Profile, python: str | None = None, *, refresh: bool = False) -> Lock:
    """Return the lock of `profile`, resolved on first use and the same ever after.

    So an emulated device does not change by itself when something is published. `refresh` asks the
    index again; so does any change of the profile. Raises as `resolve` does.
    """
    return _remembered(profile, python, lambda: resolve(profile, python=python), refresh=refresh)


def load_lock(path: Path, profile: Profile, python: str | None = None) -> Lock:
    """Return the lock in a file, for a device of `profile`.

    Complete ones are taken as they are; they may disregard the profile's pins, and must be for its
    architecture and one of its Pythons. Lines without a file (`onnxruntime==1.21.0`, or those of
    other tools, with hashes) are asked for as they stand, whatever is pinned, and what the engines
    need beside them is added; the answer is remembered as `device_lock` does. RequestError, one
    line, names the file and the line.
    """
    read = parse(_read(path), str(path))
    if not read.requests:
        lock = read.lock(str(path))
        platform = platform_of(profile, python or lock.platform.python)
        for wheel in lock.wheels:
            if not platform.fits(wheel.file):
                raise RequestError(f"{path}: {wheel.file} does not fit {profile.name}: {platform}")
        return lock
    known = [Request(f"{w.name}=={w.version}", (w.sha256,)) for w in read.wheels]
    requests = (*known, *read.requests)

    def make() -> Lock:
        return _complete(requests, path, profile, python)

    return _remembered(profile, python, make, requests)


def _remembered(
    profile: Profile,
    python: str | None,
    make: Callable[[], Lock],
    requests: Sequence[Request] = (),
    *,
    refresh: bool = False,
) -> Lock:
    """Return what `make` once returned for the same profile, Python and requests."""
    asked = hashlib.sha256(repr((profile.digest, requests)).encode()).hexdigest()
    python = platform_of(profile, python).python
    file = folder("locks", f"{profile.name}-{python}-{asked[:16]}.txt")

    def build(path: Path) -> None:
        _write(path, make().to_text())

    if refresh:
        build(file)
    return Lock.from_text(_read(built(file, build)), str(file))


def _complete(
    requests: Sequence[Request], path: Path, profile: Profile, python: str | None
) -> Lock:
    lock = resolve(profile, [r.requirement for r in requests], python, pins=False)
    hashes = {w.sha256 for w in lock.wheels}
    for request in requests:
        if request.hashes and hashes.isdisjoint(request.hashes):
            raise RequestError(
                f"{path}: the index has no wheel of {request.requirement} for {lock.platform} "
                "with the hash given; is the lock for another device?"
            )
    return lock


def _requirement(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise RequestError(f"{text!r} is no requirement; write such as numpy<2") from error
    if requirement.url or requirement.extras or requirement.marker:
        raise RequestError(f"{text!r} says more than a name and versions")
    return requirement


def _needs(profile: Profile, platform: Platform) -> Iterator[_Need]:
    engines = dict.fromkeys(rung.engine for rung in profile.engines)
    for engine in engines:
        # The import names of what interprets models are those of their distributions (PEP 503).
        names = tuple(str(canonicalize_name(package)) for package in traits(engine).packages)
        if names:
            yield _Need(names, f"the engine {engine}")
    yield _Need((_NUMPY,), "the runtime")
    yield _Need(("opencv-python-headless",), "pictures and cameras", required=False)
    if int(platform.python.split(".")[1]) < 11:
        yield _Need(("tomli",), "the runtime on this Python")


def _state(profile: Profile, platform: Platform, given: Sequence[Requirement]) -> _State:
    wanted: dict[str, SpecifierSet] = {}
    for requirement in given:
        name = str(canonicalize_name(requirement.name))
        wanted[name] = wanted.get(name, SpecifierSet()) & requirement.specifier
    needs: dict[str, _Need] = {}
    for need in _needs(profile, platform):
        asked = [name for name in need.names if name in wanted]
        for name in asked:
            needs[name] = replace(need, names=(name,), required=True, asked=True)
        if not asked:
            needs.setdefault(need.names[0], need)
    for name in wanted:
        needs.setdefault(name, _Need((name,), "the request", asked=True))
    return _State(needs, wanted)


def _apply_pins(profile: Profile, state: _State, free: Sequence[str]) -> None:
    for pin in profile.software.pins:
        name, allowed = str(canonicalize_name(pin.package)), SpecifierSet(pin.specifier)
        if name in free:
            continue
        asked = state.wanted.get(name, SpecifierSet())
        for spec in asked:
            exact = spec.operator in ("==", "===") and not spec.version.endswith(".*")
            if exact and not allowed.contains(spec.version, prereleases=True):
                raise RequestError(
                    f"{name}{spec} is refused for {profile.name}: {pin.reason} (its profile pins "
                    f"{pin.specifier}; a lock written by hand overrides it)"
                )
        state.wanted[name] = asked & allowed


def _choose(profile: Profile, platform: Platform, state: _State) -> list[Found]:
    for _ in range(_MOST_ROUNDS):
        try:
            found = _pip.find(state.requirements(), platform)
        except NoWheelError as error:
            _step_back(profile, platform, state, error)
        else:
            if _agree(state, platform, found):
                return found
    raise RequestError(
        f"no set of wheels fits {platform}: {', '.join(state.requirements())}; name versions"
    )


def _step_back(profile: Profile, platform: Platform, state: _State, error: NoWheelError) -> None:
    """Take the next best for what has no wheel, or raise the error that says why none will do."""
    name = str(canonicalize_name(_requirement(error.wanted).name))
    need = state.needs[name]
    others = need.names[need.names.index(name) + 1 :]
    system = _DEBIAN.get(name)
    asked = state.wanted.get(name)
    if others:
        state.needs = {
            (others[0] if key == name else key): value for key, value in state.needs.items()
        }
        return
    if not need.required:
        remedy = f"; install the system's {system}" if system else ""
        state.notes.append(f"no wheel of {name} fits, for {need.purpose}{remedy}")
    elif system and not error.versions and not need.asked:
        state.system.append(system)
        state.notes.append(f"no wheel of {name} fits: it comes from the system, as {system}")
    else:
        reasons = [p.reason for p in profile.software.pins if canonicalize_name(p.package) == name]
        why = f" (pinned: {'; '.join(reasons)})" if asked and reasons else ""
        raise RequestError(f"{profile.name}, {need.purpose}: {error}{why}") from error
    del state.needs[name]


def _agree(state: _State, platform: Platform, found: Sequence[Found]) -> bool:
    """Whether all accept the numpy that was found; if not, narrow what is asked for next."""
    numpy = next((item.version for item in found if item.name == _NUMPY), None)
    if numpy is None:
        return True
    agreed = True
    for item in found:
        bound = _numpy_bound(item, platform)
        if bound.contains(numpy, prereleases=True):
            continue
        agreed = False
        name = str(canonicalize_name(item.name))
        if state.needs[name].required:
            state.wanted[_NUMPY] = state.wanted.get(_NUMPY, SpecifierSet()) & bound
        else:
            older = SpecifierSet(f"<{item.version}")
            state.wanted[name] = state.wanted.get(name, SpecifierSet()) & older
    return agreed


def _numpy_bound(item: Found, platform: Platform) -> SpecifierSet:
    """Return which versions of numpy a wheel takes, by its metadata for the device's Python."""
    environment = {
        "python_version": platform.python,
        "python_full_version": f"{platform.python}.0",
        "platform_machine": platform.arch,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    bound = _BUILT_AGAINST.get(str(canonicalize_name(item.name)), SpecifierSet())
    for line in item.requires:
        requirement = Requirement(line)
        marker = requirement.marker
        if canonicalize_name(requirement.name) == _NUMPY and (
            marker is None or marker.evaluate(dict(environment))
        ):
            bound &= requirement.specifier
    return bound


def _note_providers(profile: Profile, state: _State) -> None:
    for rung in profile.engines:
        if rung.provider not in traits(rung.engine).in_process:
            state.notes.append(
                f"{rung.engine} on {rung.provider} is not in these wheels: it comes from the "
                "device's vendor; what is locked here runs on the CPU"
            )


def _wheel(found: Found) -> Wheel:
    file = unquote(urlsplit(found.url).path.rsplit("/", 1)[-1])
    name = str(canonicalize_name(found.name))
    return Wheel(name, found.version, file, found.sha256, _pip.size_of(found.url))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RequestError(f"the lock {path} does not exist; check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the lock {path} cannot be read: {error}") from error


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
