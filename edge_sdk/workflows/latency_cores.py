"""What instructions cost on the cores of profiles, at the best, as it was published.

Cycles are reciprocal throughputs: what one more instruction of a class adds where nothing waits.
Where a class holds instructions of several costs, it has that of those which convolutions use most.
Sources: Arm's software optimization guides, as the scheduling models of LLVM restate them for each
pipeline (llvm/lib/Target/AArch64/AArch64Sched*.td), and Intel's and AMD's optimization manuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from device_profiles.sections import Hardware


@dataclass(frozen=True)
class Core:
    """Cycles per instruction by class (those of instructions.h), and where they were published.

    `width` is the bytes that one access of memory moves at the most: a wider one counts as several.
    """

    cycles: Mapping[str, float]
    width: int
    source: str


_ORDER = (
    *("scalar", "branch", "load", "store", "float", "vector_load", "vector_store", "vector_move"),
    *("vector_float", "vector_fma", "vector_half", "vector_int", "vector_multiply", "vector_dot"),
)


def _core(source: str, width: int, *cycles: float) -> Core:
    known = dict(zip(_ORDER, cycles, strict=True))
    # A matrix product is two dot products (Arm's guides); of the rest there is next to nothing.
    rest = {"vector_matmul": 2 * known["vector_dot"], "crypto": 1.0, "other": 1.0}
    return Core({**known, **rest}, width, source)


# In order, 64 bits wide: a vector of 128 bits takes two cycles. The model says so of floats too,
# but a Raspberry Pi 3 was measured to take one (github.com/pigirons/cpufp: 8 operations a cycle).
_IN_ORDER = _core(
    "Cortex-A53 in LLVM's AArch64SchedA53.td, floats as cpufp measured them",
    *(16, 0.5, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 2, 2, 2),
)
# The same with a pipeline for one float: measured 2 operations a cycle, a vector of four in four.
_IN_ORDER_32 = _core(
    "Cortex-A53 in LLVM's AArch64SchedA53.td, floats as measured on a Cortex-A7",
    *(16, 0.5, 1, 1, 1, 1, 2, 2, 1, 4, 4, 2, 2, 2, 2),
)
# Three instructions a cycle, one load, one store, two pipelines for 64 bits of a vector each.
_THREE_WIDE = _core(
    "Arm's Cortex-A72 Software Optimization Guide (UAN 0016A), its twin in LLVM's "
    "AArch64SchedA57.td",
    *(16, 0.5, 1, 1, 1, 0.5, 1, 2, 1, 1, 1, 1, 0.5, 1, 1),
)
# Four instructions a cycle, two loads, two pipelines for 128 bits.
_FOUR_WIDE = _core(
    "Arm's Cortex-A76 Software Optimization Guide, its twin in LLVM's AArch64SchedNeoverseN1.td",
    *(16, 1 / 3, 1, 0.5, 0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 0.5),
)
_AVX2 = _core(
    "Intel's Optimization Reference Manual (Haswell) and AMD's for family 19h",
    *(32, 0.25, 0.5, 0.5, 1, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
)

# By implementer and part, as Linux tells them of Arm's cores.
_PARTS = {
    ("0x41", "0xc07"): _IN_ORDER_32,  # Cortex-A7
    ("0x41", "0xd03"): _IN_ORDER,  # A53
    ("0x41", "0xd04"): _IN_ORDER,  # A35
    ("0x41", "0xd07"): _THREE_WIDE,  # A57
    ("0x41", "0xd08"): _THREE_WIDE,  # A72
    ("0x41", "0xd0b"): _FOUR_WIDE,  # A76
    ("0x41", "0xd0c"): _FOUR_WIDE,  # Neoverse N1
    ("0x41", "0xd41"): _FOUR_WIDE,  # A78
    ("0x41", "0xd42"): _FOUR_WIDE,  # A78AE
}
_OTHERS = {"x86_64": _AVX2, "aarch64": _THREE_WIDE, "armv7l": _IN_ORDER_32}


def core_of(hardware: Hardware) -> Core:
    """Return what is known of the fastest cores, or of common ones of their instruction set."""
    for cluster in hardware.clusters[:1]:
        known = _PARTS.get((str(cluster.implementer), str(cluster.part)))
        if known is not None:
            return known
    return _OTHERS[hardware.arch]


def hertz_of(hardware: Hardware, fp32_gflops_core: float | None) -> float | None:
    """Return the clock of the fastest cores; where no cluster tells, the one at which the peak of
    float32 is reached; None where nothing tells."""
    if hardware.clusters:
        return 1e6 * hardware.clusters[0].max_mhz
    if fp32_gflops_core is None:
        return None
    core = core_of(hardware)
    flops = 2 * core.width / 4
    return 1e9 * fp32_gflops_core / flops * core.cycles["vector_fma"]
