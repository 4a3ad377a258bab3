"""What the kernel of a device tells of its CPU, as plain files that an emulator serves.

Engines choose their kernels by these files (XNNPACK, and onnxruntime's thread pool, through the
library cpuinfo), and onnxruntime's Python package dies at import where they name other CPUs than
the emulator has.

    proc/cpuinfo                            arch/arm64/kernel/cpuinfo.c, arch/arm/kernel/setup.c
    proc/device-tree/model                  what the board is called
    sys/devices/system/cpu/...              ABI/testing/sysfs-devices-system-cpu (Documentation/)

From 8.2 on QEMU answers `proc/cpuinfo` itself (its linux-user/aarch64/target_proc.h): with the
features and the identity of its CPU, and as many cores as this machine has.

The memory's size is not among them: what is free in `proc/meminfo` is this machine's, truly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from device_profiles.profile import Profile
from device_profiles.sections import Cluster

NOT_HERE = ("sys/class/devfreq", "sys/class/hwmon", "sys/class/thermal")
"""Folders that are empty on an emulated device: this machine's heat and clocks are not its own."""

_CPU = "sys/devices/system/cpu"
_ARM = 0x41
# Arm's and Fujitsu's numbers of the cores that QEMU has: MIDR_EL1 in their technical reference
# manuals. For profiles that stand for many devices and so name no core.
_PARTS = {
    "a64fx": (0x46, 0x001),
    "cortex-a7": (_ARM, 0xC07),
    "cortex-a8": (_ARM, 0xC08),
    "cortex-a9": (_ARM, 0xC09),
    "cortex-a15": (_ARM, 0xC0F),
    "cortex-a35": (_ARM, 0xD04),
    "cortex-a53": (_ARM, 0xD03),
    "cortex-a55": (_ARM, 0xD05),
    "cortex-a57": (_ARM, 0xD07),
    "cortex-a72": (_ARM, 0xD08),
    "cortex-a76": (_ARM, 0xD0B),
    "cortex-a710": (_ARM, 0xD47),
    "neoverse-n1": (_ARM, 0xD0C),
    "neoverse-n2": (_ARM, 0xD49),
    "neoverse-v1": (_ARM, 0xD40),
}
# What the kernel calls a profile's features, behind what every such CPU has.
_ALWAYS = {
    "aarch64": "fp asimd evtstrm cpuid",
    "armv7l": "half thumb fastmult vfp edsp vfpv3 tls",
    "x86_64": "fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16 sse4_2 popcnt",
}
_CALLED = {
    "aarch64": {
        "dotprod": "asimddp",
        "fp16": "fphp asimdhp",
        "bf16": "bf16",
        "i8mm": "i8mm",
        "sve": "sve",
        "sve2": "sve2",
        "sme": "sme",
    },
    "armv7l": {"neon": "neon", "vfpv4": "vfpv4"},
    "x86_64": {
        "sse4.1": "sse4_1",
        "avx": "avx",
        "avx2": "avx2",
        "fma": "fma",
        "f16c": "f16c",
        "avx512": "avx512f avx512dq avx512bw avx512vl",
        "vnni": "avx_vnni",
        "amx": "amx_int8",
    },
}


@dataclass(frozen=True)
class _Core:
    """One core: its number, its cluster and that one's number and cores."""

    number: int
    cluster: Cluster
    group: int
    first: int

    def shared_by(self, cores: int | None, of: int) -> str:
        """Return the list of the cores that share a thing with it, `cores` of its `of` at once."""
        if cores is None:
            return f"0-{of - 1}"
        first = self.first + (self.number - self.first) // cores * cores
        last = min(first + cores, self.first + self.cluster.cores) - 1
        return str(first) if first == last else f"{first}-{last}"


def cpu_files(profile: Profile) -> dict[str, str]:
    """Return the files of a device, by their path below the root of its file system.

    The cores are numbered from the slowest cluster to the fastest, as device trees of Arm have
    them. What the profile does not know is left out, as kernels do.
    """
    cores = list(_cores(profile))
    files = {"proc/cpuinfo": _cpuinfo(profile, cores)}
    everyone = _range(len(cores))
    files |= {f"{_CPU}/{name}": everyone for name in ("possible", "present", "online")}
    files[f"{_CPU}/offline"] = ""
    files[f"{_CPU}/kernel_max"] = "255"
    for core in cores:
        below = f"{_CPU}/cpu{core.number}"
        files |= {f"{below}/{name}": text for name, text in _core_files(core, cores)}
        files |= {f"{_CPU}/{name}": text for name, text in _policy(core)}
        midr = _midr(profile, core.cluster)
        if midr is not None:
            files[f"{below}/regs/identification/midr_el1"] = f"0x{midr:016x}"
    if profile.hardware.arch == "x86_64":
        files["sys/class/dmi/id/product_name"] = profile.title
    else:
        files["proc/device-tree/model"] = profile.title + "\0"
        files["sys/firmware/devicetree/base/model"] = profile.title + "\0"
    return {name: text if text.endswith("\0") else f"{text}\n" for name, text in files.items()}


def _range(count: int) -> str:
    return "0" if count == 1 else f"0-{count - 1}"


def _cores(profile: Profile) -> Iterator[_Core]:
    hardware = profile.hardware
    # A generic device: as many cores as it has, at a clock that nothing depends on.
    some = Cluster(hardware.cpu or profile.title, hardware.cores, max_mhz=1000)
    first = 0
    for group, cluster in enumerate(reversed(hardware.clusters or (some,))):
        for number in range(first, first + cluster.cores):
            yield _Core(number, cluster, group, first)
        first += cluster.cores


def _cpuinfo(profile: Profile, cores: list[_Core]) -> str:
    arm = profile.hardware.arch != "x86_64"
    tell = _arm_lines if arm else _x86_lines
    blocks = ["\n".join(tell(profile, core, len(cores))) + "\n" for core in cores]
    if arm:
        blocks.append(f"Model\t\t: {profile.title}")
    return "\n".join(blocks)


def _arm_lines(profile: Profile, core: _Core, _: int) -> Iterator[str]:
    midr = _midr(profile, core.cluster)
    old = profile.hardware.arch == "armv7l"
    yield f"processor\t: {core.number}"
    if old and midr is not None:
        yield f"model name\t: ARMv7 Processor rev {midr & 15} (v7l)"
    yield "BogoMIPS\t: 108.00"
    yield f"Features\t: {core.cluster.hwcaps or _hwcaps(profile)}"
    if midr is not None:
        yield f"CPU implementer\t: 0x{midr >> 24:02x}"
        yield f"CPU architecture: {7 if old else 8}"
        yield f"CPU variant\t: 0x{midr >> 20 & 15:x}"
        yield f"CPU part\t: 0x{midr >> 4 & 0xFFF:03x}"
        yield f"CPU revision\t: {midr & 15}"


def _x86_lines(profile: Profile, core: _Core, cores: int) -> Iterator[str]:
    yield f"processor\t: {core.number}"
    yield f"model name\t: {core.cluster.name}"
    yield f"cpu MHz\t\t: {core.cluster.max_mhz:.3f}"
    yield "physical id\t: 0"
    yield f"siblings\t: {cores}"
    yield f"core id\t\t: {core.number}"
    yield f"cpu cores\t: {cores}"
    yield f"apicid\t\t: {core.number}"
    yield f"flags\t\t: {core.cluster.hwcaps or _hwcaps(profile)}"


def _hwcaps(profile: Profile) -> str:
    arch = profile.hardware.arch
    called = _CALLED[arch]
    return " ".join([_ALWAYS[arch], *(called[f] for f in profile.hardware.features if f in called)])


def _midr(profile: Profile, cluster: Cluster) -> int | None:
    """Return the main identification register of a core of Arm's; None where it has none."""
    implementer, part = _PARTS.get(profile.emulation.cpu or "", (None, None))
    if cluster.implementer is not None and cluster.part is not None:
        implementer, part = int(cluster.implementer, 16), int(cluster.part, 16)
    if implementer is None or part is None:
        return None
    variant = int(cluster.variant or "0", 16)
    return implementer << 24 | variant << 20 | 0xF << 16 | part << 4 | (cluster.revision or 0)


def _core_files(core: _Core, cores: list[_Core]) -> Iterator[tuple[str, str]]:
    alone, everyone = str(core.number), _range(len(cores))
    yield "online", "1"
    yield "topology/physical_package_id", "0"
    yield "topology/cluster_id", str(core.group)
    yield "topology/core_id", alone
    yield "topology/cluster_cpus_list", core.shared_by(core.cluster.cores, len(cores))
    for name in ("core_siblings_list", "package_cpus_list"):
        yield f"topology/{name}", everyone
    for name in ("thread_siblings_list", "core_cpus_list"):
        yield f"topology/{name}", alone
    yield from _clock(core, "cpufreq/")
    cluster = core.cluster
    caches = (
        (1, "Data", cluster.l1d_kb, 1),
        (1, "Instruction", cluster.l1i_kb, 1),
        (2, "Unified", cluster.l2_kb, cluster.l2_cores or 1),
        (3, "Unified", cluster.l3_kb, cluster.l3_cores),
    )
    known = [cache for cache in caches if cache[2] is not None]
    for index, (level, kind, kb, sharing) in enumerate(known):
        yield f"cache/index{index}/level", str(level)
        yield f"cache/index{index}/type", kind
        yield f"cache/index{index}/size", f"{kb}K"
        yield f"cache/index{index}/coherency_line_size", "64"
        yield f"cache/index{index}/shared_cpu_list", core.shared_by(sharing, len(cores))


def _policy(core: _Core) -> Iterator[tuple[str, str]]:
    """Yield what cores of one clock share, for the first of them. No governor: none governs."""
    if core.number == core.first:
        last = core.first + core.cluster.cores
        yield (
            f"cpufreq/policy{core.first}/related_cpus",
            " ".join(map(str, range(core.first, last))),
        )
        yield from _clock(core, f"cpufreq/policy{core.first}/")


def _clock(core: _Core, below: str) -> Iterator[tuple[str, str]]:
    fastest, slowest = core.cluster.max_mhz, core.cluster.min_mhz
    yield f"{below}cpuinfo_max_freq", str(1000 * fastest)
    yield f"{below}cpuinfo_min_freq", str(1000 * (slowest or fastest))
