"""Looks at the installed packages without importing them: do they fit this machine, each other?"""

from __future__ import annotations

import platform
import re
import struct
import sys
from collections.abc import Iterator

from edge_sdk.looks._versions import Requirement, requirement, satisfies
from edge_sdk.looks.base import SOFTWARE, Finding, Package, Scene
from runtime.host import host, libc

# What `platform` calls the machine, and wheels for other machines that run on it.
_RUNS = {"armv7l": {"armv7l", "armv6l"}, "armv8l": {"armv7l", "armv6l"}}
_NAMED = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}  # PEP 513, 571, 599
_GLIBC = re.compile(r"manylinux(?:_(\d+)_(\d+)|(1|2010|2014))_(.+)")


def look_at_tags(scene: Scene) -> list[Finding]:
    """Find wheels for another CPU, a newer C library or another Python: an environment that was
    copied from another machine, or a system that was upgraded under it."""
    return [
        Finding(
            package.name,
            "fault",
            f"the installed wheel is for {why}",
            f"pip install --force-reinstall --no-cache-dir '{package.name}'",
        )
        for package in scene.packages.values()
        if package.tags and (why := _misfit(package))
    ]


def _misfit(package: Package) -> str:
    """Return what a wheel was made for where that is not this Python; nothing when it fits."""
    reasons = [
        _tag_misfit(abi, system)
        for _, abi, systems in (tag.split("-") for tag in package.tags if tag.count("-") == 2)
        for system in systems.split(".")
    ]
    return "" if "" in reasons else next(iter(reasons), "")


def _tag_misfit(abi: str, system: str) -> str:
    ours = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    if abi.startswith("cp") and abi.rstrip("t") != ours:
        return f"Python {abi[2]}.{abi[3:]}, this is {ours[2]}.{ours[3:]}"
    if system == "any":
        return ""
    libc_wanted, machine = _platform(system)
    if machine not in _machines():
        return f"{machine}, this is {' or '.join(sorted(_machines()))}"
    found = re.fullmatch(r"glibc (\d+)\.(\d+)", libc())
    if libc_wanted and (found is None or (int(found[1]), int(found[2])) < libc_wanted):
        return f"glibc {libc_wanted[0]}.{libc_wanted[1]}, this is {libc() or 'no glibc'}"
    return ""


def _platform(tag: str) -> tuple[tuple[int, int] | None, str]:
    """Return the glibc and the machine of a platform tag; another system's is no machine here."""
    many = _GLIBC.fullmatch(tag)
    if many:
        glibc = _NAMED[many[3]] if many[3] else (int(many[1]), int(many[2]))
        return glibc, many[4]
    other = re.fullmatch(r"(?:linux|musllinux_\d+_\d+)_(.+)", tag)
    return None, other[1] if other else tag


def _machines() -> set[str]:
    """Return the machines whose wheels this Python loads; a 32-bit one loads 32-bit ones."""
    machine = platform.machine()
    if struct.calcsize("P") == 4:
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return _RUNS.get(machine, {host().arch if machine in ("amd64", "arm64") else machine})


def look_at_numpy_wanted(scene: Scene) -> list[Finding]:
    """Find packages that ask for another numpy than the one that is installed.

    A package that was compiled against numpy 1 does not work beside numpy 2 (numpy.org, "NumPy 2.0
    migration guide", on the binary interface); its metadata often says so.
    """
    have = scene.version("numpy")
    if have is None:
        return []
    major = have.partition(".")[0]
    found = []
    for package, wanted in _wishes(scene, "numpy"):
        if satisfies(have, wanted.specifier):
            continue
        near = any(satisfies(f"{major}.{minor}", wanted.specifier) for minor in (0, 99999))
        detail = f"{package.name} {package.version} asks for numpy{wanted.specifier}, not {have}"
        remedy = f"pip install 'numpy{wanted.specifier}'"
        found.append(Finding("numpy", "note" if near else "fault", detail, remedy))
    return found


def look_at_requirements(scene: Scene) -> list[Finding]:
    """Compare what is installed with what edge-sdk and its extras ask for."""
    ours = scene.packages.get("edge-sdk")
    found: dict[str, Finding] = {}
    for wanted in filter(None, map(requirement, ours.requires if ours else ())):
        have = scene.version(wanted.name)
        extra = re.search(r"extra\s*==\s*['\"](\w+)['\"]", wanted.marker)
        developers = extra is not None and not scene.host
        if have is None or developers or satisfies(have, wanted.specifier):
            continue
        detail = f"{have}, where edge-sdk was tried on {wanted.specifier.lstrip('>=')} or newer"
        remedy = f"pip install -U '{wanted.name}{wanted.specifier}'"
        found[wanted.name] = Finding(wanted.name, "note", detail, remedy)
    return list(found.values())


def _wishes(scene: Scene, name: str) -> Iterator[tuple[Package, Requirement]]:
    for package in scene.packages.values():
        for wanted in filter(None, map(requirement, package.requires)):
            if wanted.name == name and _applies(wanted.marker):
                yield package, wanted


def _applies(marker: str) -> bool:
    """Say whether a requirement is for this Python; one that is not understood is not."""
    facts = {
        "python_version": ".".join(map(str, sys.version_info[:2])),
        "python_full_version": platform.python_version(),
    }
    texts = {
        "platform_machine": platform.machine(),
        "sys_platform": sys.platform,
        "platform_system": platform.system(),
        "platform_python_implementation": platform.python_implementation(),
        "implementation_name": sys.implementation.name,
    }
    for part in filter(None, re.split(r"\s+and\s+", marker)):
        found = re.fullmatch(r"(\w+)\s*([<>=!~]+)\s*['\"]([^'\"]*)['\"]", part.strip())
        if found is None:
            return False
        name, sign, value = found.groups()
        if name in facts:
            holds = satisfies(facts[name], sign + value)
        else:
            holds = name in texts and ((texts[name] == value) is (sign == "=="))
        if not holds:
            return False
    return True


OF = SOFTWARE
LOOKS = (look_at_tags, look_at_numpy_wanted, look_at_requirements)
