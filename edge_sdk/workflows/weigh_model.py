"""Weigh by a model: the roofline of the device's published peaks.

Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for
multicore architectures", 2009: a node takes as long as its arithmetic or its traffic, whichever is
longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from device_profiles.profile import Profile
from edge_sdk.workflows.weight import Contender, Weight
from runtime.engines import traits

HOW = "modelled from published figures, uncalibrated"

REACHED = 0.25
"""What share of a peak engines reach at the least, mostly. Measured on one x86 core: 0.5 to 0.9 in
float, 0.3 to 0.5 in int8 (MobileNetV2, MobileNetV3-Small, ResNet-18; onnxruntime and LiteRT)."""

_CONVERTED = 5  # bytes: an integer and the real number that it stands for


def model(profile: Profile, contenders: Sequence[Contender]) -> list[Weight]:
    """Return the least that each can take, up to what `REACHED` makes of it.

    Unknown where the profile has no peaks of its CPU.
    """
    return [_weight(profile, contender) for contender in contenders]


def _weight(profile: Profile, contender: Contender) -> Weight:
    recipe = contender.recipe
    if recipe.provider not in traits(recipe.engine).in_process:
        return Weight.unknown(f"there is no model of {recipe.provider}")
    peaks = _peaks(profile)
    if peaks is None:
        return Weight.unknown("the profile knows no peaks of its CPU; measure: edge-sdk bench")
    least = 1e3 * sum(_seconds(profile, peaks, contender))
    return Weight(least, least, least / REACHED, HOW)


def _peaks(profile: Profile) -> dict[int, float] | None:
    """Return operations per second of all big cores, by the bits of the numbers."""
    cost, hardware = profile.cost, profile.hardware
    if cost.fp32_gflops_core is None or cost.int8_gops_core is None:
        return None
    single, integer = (
        1e9 * g * hardware.big_cores for g in (cost.fp32_gflops_core, cost.int8_gops_core)
    )
    # A vector holds twice as many halves.
    half = 2 * single if "fp16" in hardware.features else single
    return {32: single, 16: half, 8: integer}


def _seconds(profile: Profile, peaks: dict[int, float], contender: Contender) -> list[float]:
    bandwidth = profile.cost.memory_gb_s
    wide = contender.recipe.precision == "int16x8"
    converts = any(work.bits < 32 for work in contender.work) and contender.recipe.calibrates
    found = []
    for work in contender.work:
        island = work.node in contender.islands
        # Kernels of 16-bit integers are no faster than those of floats.
        bits = 32 if island or (wide and work.bits == 16) else work.bits
        traffic = work.bytes
        if converts and bits == 32:
            traffic += work.numbers * _CONVERTED
        moving = traffic / (1e9 * bandwidth) if bandwidth else 0.0
        found.append(max(2 * work.macs / peaks[bits], moving))
    return found
