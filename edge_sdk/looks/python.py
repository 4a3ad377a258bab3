"""Looks at Python, the C library it runs on, the CPU, and how text is written."""

from __future__ import annotations

import locale
import os
import platform
import re
import struct
import sys
import sysconfig
from pathlib import Path

from edge_sdk.looks.base import SOFTWARE, Finding, Scene
from runtime.host import host, libc

# What the wheels of numpy and of the engines are built for (PEP 600: manylinux_2_28).
_WHEELS_GLIBC = (2, 28)
_VENV = "python3 -m venv --system-site-packages ~/edge && ~/edge/bin/pip install edge-sdk"


def look_at_version(scene: Scene) -> list[Finding]:
    """Say which Python this is, and whether it is one that the device's wheels are made for."""
    found = f"{platform.python_version()} on {platform.platform()}"
    if sys.version_info < (3, 10):  # noqa: UP036 - pip's check can be overridden
        return [Finding("python", "fault", found, "install Python 3.10 or newer")]
    minor = ".".join(map(str, sys.version_info[:2]))
    wanted = scene.profile.software.python if scene.profile else (minor,)
    if minor not in wanted:
        detail = f"{found}; the profile's is {' or '.join(wanted)}"
        return [Finding("python", "note", detail, f"python{wanted[0]} -m venv ~/edge, and use it")]
    return [Finding("python", "ok", found)]


def look_at_bits(scene: Scene) -> list[Finding]:
    """Say where Python is of another architecture than the kernel, or than the profile."""
    kernel = host().arch
    ours = _NARROW.get(kernel, kernel) if struct.calcsize("P") == 4 else kernel
    wanted = scene.profile.hardware.arch if scene.profile else ours
    if wanted != ours:
        detail = f"{ours} Python on {kernel}; the profile is for {wanted}"
        if kernel == wanted:
            return [Finding("architecture", "fault", detail, _WIDE_SYSTEM)]
        assert scene.profile is not None
        remedy = f"look there: edge-sdk doctor --on emulated:{scene.profile.name} (or ssh://...)"
        return [Finding("architecture", "fault", detail, remedy)]
    if ours != kernel:
        detail = f"{ours} Python on {kernel} kernel: most engines have no wheels for {ours}"
        return [Finding("architecture", "note", detail, _WIDE_SYSTEM)]
    return [Finding("architecture", "ok", ours)]


_WIDE_SYSTEM = "install the 64-bit system (Raspberry Pi Imager: 64-bit), or a 64-bit Python"


# What a 32-bit program is where the kernel calls itself so.
_NARROW = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}


def look_at_environment(scene: Scene) -> list[Finding]:
    """Say whether pip may install into this Python (PEP 668)."""
    if scene.emulated:  # made from a lock, not by pip
        return []
    if sys.prefix != sys.base_prefix:
        return [Finding("environment", "ok", f"virtual, {sys.prefix}")]
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if marker.exists():
        detail = "the system's Python: pip refuses to install into it (PEP 668)"
        return [Finding("environment", "note", detail, _VENV)]
    return [Finding("environment", "ok", f"{sys.prefix}, no virtual one")]


def look_at_libc(scene: Scene) -> list[Finding]:
    """Say which wheels the C library takes."""
    name = libc()
    number = re.fullmatch(r"glibc (\d+)\.(\d+)", name)
    if number is None:
        remedy = "use a system with glibc, such as Debian (a container: python:3.11-slim)"
        said = f"{name or 'no glibc'}: wheels for manylinux do not load"
        return [Finding("libc", "fault", said, remedy)]
    version = (int(number[1]), int(number[2]))
    if version < _WHEELS_GLIBC:
        detail = f"{name}: current wheels are for {_dotted(_WHEELS_GLIBC)} or newer"
        remedy = "upgrade the system (Debian 12, Ubuntu 22.04); pip finds old releases otherwise"
        return [Finding("libc", "note", detail, remedy)]
    wanted = scene.profile.software.libc if scene.profile else None
    older = re.fullmatch(r"glibc (\d+)\.(\d+)", wanted or "")
    if older and version < (int(older[1]), int(older[2])):
        detail = f"{name}, the profile's is {wanted}: wheels that were chosen for it may not load"
        return [Finding("libc", "note", detail, "upgrade the system to the profile's")]
    return [Finding("libc", "ok", f"{name}, takes wheels up to manylinux_{_dotted(version, '_')}")]


def _dotted(version: tuple[int, ...], sign: str = ".") -> str:
    return sign.join(map(str, version))


def look_at_cpu(scene: Scene) -> list[Finding]:
    """Say what the CPU can do, and where its integer kernels are not to be trusted."""
    here = host(scene.root / "proc/cpuinfo")
    detail = f"{here.arch}, {' '.join(sorted(here.features)) or 'features unknown'}"
    if here.saturates_int8_pairs:
        return [
            Finding(
                "cpu",
                "note",
                f"{detail}; its int8 kernels saturate pairs of products",
                "convert for generic-x86 to run int8 here; others are simulated by `check`",
            )
        ]
    lacking = set(scene.profile.hardware.features) - here.features if scene.profile else set()
    if lacking and here.features and scene.profile and here.arch == scene.profile.hardware.arch:
        detail += f"; the profile has {' '.join(sorted(lacking))} as well"
        remedy = "take the profile of this device: edge-sdk profiles --detect"
        return [Finding("cpu", "fault", detail, remedy)]
    return [Finding("cpu", "ok", detail)]


def look_at_encoding(scene: Scene) -> list[Finding]:
    """Say where names of files and labels cannot be written as they are."""
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "") == "utf8":
        return []
    said = os.environ.get("LC_ALL") or os.environ.get("LANG") or "no locale"
    detail = f"text is written as {encoding} ({said}): other letters are escaped or fail"
    return [Finding("locale", "note", detail, "export LC_ALL=C.UTF-8")]


OF = SOFTWARE
LOOKS = (
    look_at_version,
    look_at_bits,
    look_at_environment,
    look_at_libc,
    look_at_cpu,
    look_at_encoding,
)
