"""What this machine's CPU is, so that a result here can be told from a result on the device."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
# Linux's names for the instruction sets that profiles name.
_FLAGS = {
    "asimd": "neon",
    "neon": "neon",
    "vfpv4": "vfpv4",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sse4_1": "sse4.1",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "f16c": "f16c",
    "avx512bw": "avx512",
    "avx_vnni": "vnni",
    "avx512_vnni": "vnni",
    "amx_int8": "amx",
}
# Files that change with the driver of an accelerator.
_DRIVERS = (
    "proc/driver/nvidia/version",
    "sys/module/nvidia/version",
    "etc/nv_tegra_release",  # Jetson
    "sys/module/apex/version",  # Coral on PCIe
    "sys/module/galcore/version",  # VeriSilicon, on NXP's i.MX 8
    "sys/module/rknpu/version",
)
# The linker's own list changes whenever a package brings libraries.
_LIBRARIES = "etc/ld.so.cache"
# What decides which libraries and which devices a process gets to see.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR")


@dataclass(frozen=True)
class Host:
    """Architecture and instruction set features of a CPU, in the words of device profiles."""

    arch: str
    features: frozenset[str]

    @property
    def saturates_int8_pairs(self) -> bool:
        """Whether u8 x s8 kernels here add pairs of products in 16 saturating bits."""
        return self.arch == "x86_64" and "vnni" not in self.features


def host(cpuinfo: Path = Path("/proc/cpuinfo")) -> Host:
    """Return this machine's CPU; features are empty where the system does not tell."""
    machine = platform.machine().lower()
    flags: set[str] = set()
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("flags", "features"):
                flags = set(value.split())
                break
    return Host(_ALIASES.get(machine, machine), features_of(flags))


def features_of(flags: Iterable[str]) -> frozenset[str]:
    """Return the features that Linux names by `flags`, in the words of device profiles."""
    return frozenset(_FLAGS[flag] for flag in flags if flag in _FLAGS)


def fingerprint(root: Path = Path("/")) -> dict[str, str]:
    """Return what an engine's behaviour here depends on, beside its own files: the CPU, the
    system and its C library, drivers, and the libraries that processes are given."""
    cpu = host(root / "proc/cpuinfo")
    system = os.uname()
    return {
        "cpu": f"{cpu.arch} {' '.join(sorted(cpu.features))} x{os.cpu_count()}",
        "system": f"{system.sysname} {system.release}",
        "libc": libc(),
        "drivers": "|".join(_content(root / name) for name in _DRIVERS),
        "libraries": _stamp(root / _LIBRARIES),
        "environment": "|".join(os.environ.get(name, "") for name in _ENVIRONMENT),
    }


def installed(packages: Sequence[str]) -> str:
    """Return what changes when any of `packages` (import names) is installed, or updated, or
    gets a neighbour; nothing when none is there. Imports none of them.

    Not the version: two builds of one version differ, and asking for it takes 80 ms.
    """
    return "|".join(filter(None, map(_installed, packages)))


def _installed(package: str) -> str:
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:  # of the package around it
        return ""
    except ValueError:  # a module that somebody made by hand
        return package
    if spec is None:
        return ""
    path = Path(spec.origin or package)
    return f"{path} {_stamp(path)} {_stamp(path.parent.parent)}"


def cores(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return what the system calls its cores, with their numbers: `0x41/0xd08 x4`, `AMD EPYC x2`.

    An Arm core is called by its implementer and part (Arm's MIDR_EL1), as Linux names none.
    """
    found: dict[str, int] = {}
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    for block in text.split("\n\n"):
        facts = {
            k.strip(): v.strip() for k, _, v in (li.partition(":") for li in block.splitlines())
        }
        part = "/".join(filter(None, (facts.get("CPU implementer"), facts.get("CPU part"))))
        name = part or facts.get("model name")
        if name:
            found[name] = found.get(name, 0) + 1
    return ", ".join(f"{name} x{count}" for name, count in found.items())


def libc() -> str:
    """Return the C library with its version, such as `glibc 2.36`; nothing where it tells not."""
    name = "CS_GNU_LIBC_VERSION"  # not on musl
    return (os.confstr(name) if name in os.confstr_names else None) or ""


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4096).decode(errors="replace")
    except OSError:  # no such driver here
        return ""


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
