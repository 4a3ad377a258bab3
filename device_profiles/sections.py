"""The sections of a device profile, as frozen values.

A field's metadata may hold `key`, its name in the TOML file where that differs, and `rule`, which
takes the value and returns what is wrong with it, or "". `device_profiles.decode` applies both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from device_profiles.errors import ProfileError
from device_profiles.nearest import hint

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic", "int16x8")

#: What is tried where nobody asks for a precision, fewest bits first. The others cost the time of
#: one more artifact per rung, and are for models that int8 fails or that have no samples.
AUTOMATIC = ("int8", "fp16", "fp32")

#: Instruction set features by architecture. The names are those of GCC's target options, except
#: that `vnni` stands for AVX-VNNI and AVX512-VNNI alike, and `avx512` for its F, BW, DQ and VL.
FEATURES = {
    "aarch64": ("neon", "dotprod", "fp16", "bf16", "i8mm", "sve", "sve2", "sme"),
    "armv7l": ("neon", "vfpv4"),
    "x86_64": ("sse4.1", "avx", "avx2", "fma", "f16c", "avx512", "vnni", "amx"),
}

_SPECIFIER = r"(==|!=|<=|>=|~=|<|>)\s*[0-9][\w.*+!]*"
Rule = Callable[[Any], str]


def _key(name: str) -> dict[str, Any]:
    return {"key": name}


def _rule(rule: Rule) -> dict[str, Any]:
    return {"rule": rule}


def _among(known: Collection[str]) -> dict[str, Any]:
    def rule(value: str | tuple[str, ...]) -> str:
        each = (value,) if isinstance(value, str) else value
        unknown = [item for item in each if item not in known]
        return f"has the unknown value {unknown[0]!r}; {hint(unknown[0], known)}" if unknown else ""

    return _rule(rule)


def _matching(pattern: str, wanted: str) -> dict[str, Any]:
    def rule(value: str | tuple[str, ...]) -> str:
        each = (value,) if isinstance(value, str) else value
        good = bool(each) and all(re.fullmatch(pattern, item) for item in each)
        return "" if good else f"must be {wanted}"

    return _rule(rule)


def _positive(value: float) -> str:
    return "" if 0 < value < math.inf else "must be positive"


def _not_negative(value: int) -> str:
    return "" if value >= 0 else "must not be negative"


def _some_precisions(value: tuple[str, ...]) -> str:
    return str(_among(PRECISIONS)["rule"](value)) if value else "must name a precision"


#: A rule for what people read.
TEXT = _matching(r".*\S.*", "a non-empty line of text")


@dataclass(frozen=True)
class Accelerator:
    """A processor beside the CPU.

    `compute_capability` is NVIDIA's version of the instruction set (`8.7`), None for others.
    """

    name: str = field(metadata=TEXT)
    compute_capability: str | None = field(
        default=None, metadata=_matching(r"\d+\.\d+", 'a version such as "8.7"')
    )


_ID = _matching(r"0x[0-9a-f]{1,3}", 'a hexadecimal number such as "0xd08"')


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind, as the device's own kernel tells of them; None where not known.

    `max_mhz` and `min_mhz` are what the clock can be set to. `implementer`, `part`, `variant` and
    `revision` are the lines "CPU ..." of `/proc/cpuinfo` on Arm, `hwcaps` its line "Features" (the
    same on every core of a device). Caches are in KiB: `l1d_kb` and `l1i_kb` of one core, `l2_kb`
    of `l2_cores` cores together, `l3_kb` of `l3_cores` cores together (None: of all cores).
    """

    name: str = field(metadata=TEXT)
    cores: int = field(metadata=_rule(_positive))
    max_mhz: int = field(metadata=_rule(_positive))
    min_mhz: int | None = field(default=None, metadata=_rule(_positive))
    implementer: str | None = field(default=None, metadata=_ID)
    part: str | None = field(default=None, metadata=_ID)
    variant: str | None = field(default=None, metadata=_ID)
    revision: int | None = field(default=None, metadata=_rule(_not_negative))
    hwcaps: str | None = field(default=None, metadata=TEXT)
    l1d_kb: int | None = field(default=None, metadata=_rule(_positive))
    l1i_kb: int | None = field(default=None, metadata=_rule(_positive))
    l2_kb: int | None = field(default=None, metadata=_rule(_positive))
    l2_cores: int | None = field(default=None, metadata=_rule(_positive))
    l3_kb: int | None = field(default=None, metadata=_rule(_positive))
    l3_cores: int | None = field(default=None, metadata=_rule(_positive))

    def __post_init__(self) -> None:
        if self.min_mhz is not None and self.min_mhz > self.max_mhz:
            raise ProfileError(f"min_mhz = {self.min_mhz} is above max_mhz = {self.max_mhz}")


@dataclass(frozen=True)
class Hardware:
    """The machine: `memory_mb` in MiB, None where not known; `features` as in `FEATURES`.

    On a device with one kind of core all of them are `big_cores`. `clusters` tell of the cores in
    full, the fastest first; they are empty where the profile stands for many machines. `models` are
    the first words of what such devices call themselves (`/proc/device-tree/model`).
    """

    arch: str = field(metadata=_among(FEATURES))
    big_cores: int = field(metadata=_rule(_positive))
    little_cores: int = field(default=0, metadata=_rule(_not_negative))
    cpu: str | None = field(default=None, metadata=TEXT)
    models: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    memory_mb: int | None = field(default=None, metadata=_rule(_positive))
    accelerators: tuple[Accelerator, ...] = field(default=(), metadata=_key("accelerator"))
    clusters: tuple[Cluster, ...] = field(default=(), metadata=_key("cluster"))

    def __post_init__(self) -> None:
        self._check_features()
        self._check_clusters()

    def _check_features(self) -> None:
        known = FEATURES[self.arch]
        for feature in self.features:
            if feature not in known:
                raise ProfileError(
                    f"features: {self.arch} has no feature {feature!r}; {hint(feature, known)}"
                )

    def _check_clusters(self) -> None:
        if not self.clusters:
            return
        counts = [cluster.cores for cluster in self.clusters]
        if sum(counts) != self.cores or self.big_cores not in accumulate(counts):
            raise ProfileError(
                f"the clusters have {' + '.join(map(str, counts))} cores, which are not "
                f"big_cores = {self.big_cores} and little_cores = {self.little_cores}"
            )
        clocks = [cluster.max_mhz for cluster in self.clusters]
        if clocks != sorted(clocks, reverse=True):
            raise ProfileError("the clusters are not the fastest first; order them by max_mhz")

    @property
    def cores(self) -> int:
        """Number of CPU cores, big and little together."""
        return self.big_cores + self.little_cores


@dataclass(frozen=True)
class Pin:
    """Versions of a package that work on the device (a PEP 440 specifier), and why not others."""

    package: str = field(metadata=TEXT)
    specifier: str = field(
        metadata=_matching(rf"{_SPECIFIER}(\s*,\s*{_SPECIFIER})*", 'such as "!=1.21.0" or ">=2,<3"')
    )
    reason: str = field(metadata=TEXT)


@dataclass(frozen=True)
class Software:
    """What the device runs: system, C library, minor versions of Python, pins of packages.

    `python` are the versions that packages are wanted for, the vendor's own first.
    `system_python` is the vendor's own where it is none of them, as it is too old to be used: one
    of `python` is then installed beside it.
    """

    python: tuple[str, ...] = field(metadata=_matching(r"3\.\d+", 'a list such as ["3.11"]'))
    os: str | None = field(default=None, metadata=TEXT)
    libc: str | None = field(default=None, metadata=TEXT)
    system_python: str | None = field(
        default=None, metadata=_matching(r"[23]\.\d+", 'a version such as "3.8"')
    )
    pins: tuple[Pin, ...] = field(default=(), metadata=_key("pin"))


@dataclass(frozen=True)
class EngineRung:
    """One rung of the ladder: an engine on one of its providers, and the precisions it may run."""

    engine: str = field(metadata=TEXT)
    provider: str = field(metadata=TEXT)
    precisions: tuple[str, ...] = field(metadata=_rule(_some_precisions))


@dataclass(frozen=True)
class Quantization:
    """How numbers are stored: int8 types and grids, and what fp16 means.

    `reduced_range` keeps weights to 7 bits. `fp16` is `weights` (stored in half precision, computed
    in single) or `compute` (computed in half precision as well). `io_type` is what an integer
    TFLite artifact takes and hands out: `float32` stands for the camera's bytes in and real
    numbers out; `uint8` and `int8` keep both sides in integers, for accelerators without floats.
    """

    activation_type: str = field(metadata=_among(("uint8", "int8")))
    weight_type: str = field(default="int8", metadata=_among(("uint8", "int8")))
    per_channel: bool = True
    symmetric_activations: bool = False
    reduced_range: bool = False
    fp16: str = field(default="weights", metadata=_among(("weights", "compute")))
    io_type: str = field(default="float32", metadata=_among(("float32", "uint8", "int8")))


@dataclass(frozen=True)
class Camera:
    """The source URI that is tried first on the device."""

    source: str = field(default="camera:0", metadata=TEXT)


@dataclass(frozen=True)
class Budget:
    """What one inference may cost: milliseconds, MiB of peak memory, MiB of files; None is free."""

    latency_ms: float | None = field(default=None, metadata=_rule(_positive))
    memory_mb: float | None = field(default=None, metadata=_rule(_positive))
    size_mb: float | None = field(default=None, metadata=_rule(_positive))


@dataclass(frozen=True)
class Figure:
    """A latency that somebody published or measured: one inference of `model`, one image.

    `engine` is what ran it, ours or not, with its version where that is told; `precision` as in
    `PRECISIONS`; `threads` is None where nobody says, and beside the point on an accelerator.
    """

    model: str = field(metadata=TEXT)
    engine: str = field(metadata=TEXT)
    precision: str = field(metadata=_among(PRECISIONS))
    latency_ms: float = field(metadata=_rule(_positive))
    source: str = field(metadata=TEXT)
    threads: int | None = field(default=None, metadata=_rule(_positive))


@dataclass(frozen=True)
class Cost:
    """What the device can do at the most; None where not known.

    `memory_gb_s` is bandwidth in 1e9 byte/s; `fp32_gflops_core` and `int8_gops_core` are 1e9
    operations/s of one core, `accelerator_int8_tops` 1e12 operations/s without sparsity, a
    multiply-add being two operations. `source` says who published or measured these; each of the
    `figures` says so for itself.
    """

    memory_gb_s: float | None = field(default=None, metadata=_rule(_positive))
    fp32_gflops_core: float | None = field(default=None, metadata=_rule(_positive))
    int8_gops_core: float | None = field(default=None, metadata=_rule(_positive))
    accelerator_int8_tops: float | None = field(default=None, metadata=_rule(_positive))
    source: str | None = field(default=None, metadata=TEXT)
    figures: tuple[Figure, ...] = field(default=(), metadata=_key("figure"))

    def __post_init__(self) -> None:
        peaks = [f.name for f in fields(self) if f.name not in ("source", "figures")]
        given = [name for name in peaks if getattr(self, name) is not None]
        if given and self.source is None:
            raise ProfileError(f"{given[0]} needs a source: say who published or measured it")


@dataclass(frozen=True)
class Emulation:
    """What stands for the device under an emulator.

    `cpu` is the emulator's name for the CPU (QEMU's `-cpu`), None where nothing stands in for it;
    `stands_in` says how it differs from the device's own, None where it is the very one. `debian`
    is the release whose Python and C library stand for the device's.
    """

    cpu: str | None = field(default=None, metadata=TEXT)
    debian: str = field(
        default="bookworm", metadata=_matching(r"[a-z]+", 'a release of Debian such as "bookworm"')
    )
    stands_in: str | None = field(default=None, metadata=TEXT)

    def __post_init__(self) -> None:
        if self.stands_in is not None and self.cpu is None:
            raise ProfileError("stands_in needs cpu: say which one stands in")
