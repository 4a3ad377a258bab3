"""What this machine's CPU is, so that a result here can be told from a result on the device."""

from __future__ import annotations

import platform
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
    features = frozenset(_FLAGS[flag] for flag in flags if flag in _FLAGS)
    return Host(_ALIASES.get(machine, machine), features)
