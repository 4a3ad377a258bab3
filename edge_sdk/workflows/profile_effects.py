"""What each fact of a device profile changes in a conversion or a run, in sentences.

A sentence follows from the fact and the facts beside it, never from the device's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from device_profiles.profile import Profile
from device_profiles.sections import (
    AUTOMATIC,
    Accelerator,
    Budget,
    Camera,
    Cluster,
    Cost,
    Emulation,
    EngineRung,
    Figure,
    Hardware,
    Pin,
    Quantization,
    Software,
)
from runtime.engines import traits

Effect = Callable[[Any, Profile], str]

#: Architecture -> feature -> what it means that it is there, and that it is not ("" is nothing).
#: Counts are of guest instructions under QEMU for a net of 25 million multiply-adds (onnxruntime).
FEATURES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "aarch64": {
        "neon": ("vectors of 128 bits, which every 64-bit Arm core has", ""),
        "dotprod": (
            "one instruction sums four int8 products: int8 takes 0.36 of the instructions of fp32",
            "int8 products are widened and added in pairs: int8 takes 0.66 of the instructions of "
            "fp32, where cores with it take 0.36, so that it gains less",
        ),
        "fp16": (
            "it could compute in fp16; the engines' kernels for this CPU mostly do not",
            "it computes no fp16; onnxruntime 1.21.0 dies on such cores",
        ),
        "i8mm": ("matrices of int8 are multiplied by one instruction: int8 gains most", ""),
        "bf16": ("products of bfloat16, which no artifact here uses", ""),
        "sve": ("longer vectors, which some kernels use", ""),
        "sve2": ("longer vectors, which some kernels use", ""),
        "sme": ("matrix tiles, which some kernels use", ""),
    },
    "armv7l": {
        "neon": ("vectors of 128 bits, which the kernels need to be fast", "kernels are slow"),
        "vfpv4": ("fused multiply-add, which the kernels of fp32 use", ""),
    },
    "x86_64": {
        "sse4.1": ("vectors of 128 bits", ""),
        "avx": ("vectors of 256 bits for fp32", ""),
        "avx2": ("vectors of 256 bits for int8", "int8 is computed in vectors of 128 bits"),
        "fma": ("fused multiply-add for fp32", ""),
        "f16c": ("fp16 weights are widened by one instruction", ""),
        "avx512": ("vectors of 512 bits", ""),
        "vnni": (
            "one instruction sums four int8 products in 32 bits: nothing saturates, weights use "
            "8 bits in full, and int8 gains most",
            "int8 kernels add pairs of products in 16 bits, which saturate: the weights' scales "
            "are bounded so that they cannot, and int8 gains at most 2 times over fp32",
        ),
        "amx": ("matrix tiles of int8, which some kernels use", ""),
    },
}


def on_cpu(rung: EngineRung) -> bool:
    """Whether a rung is plain code for the CPU."""
    return rung.provider in traits(rung.engine).in_process


def _says(sentence: str) -> Effect:
    return lambda value, profile: sentence.format(value=value)


def _cores(value: int, profile: Profile) -> str:
    if profile.hardware.little_cores:
        return "the fast ones: `bench` with as many threads tells whether more gain anything"
    return "an engine that is left to choose takes a thread for each"


def _accelerator(value: Accelerator, profile: Profile) -> str:
    used = [rung.provider for rung in profile.engines if not on_cpu(rung)]
    if not used:
        return "no rung of the ladder runs on it: artifacts are for the CPU"
    need = value.compute_capability
    code = f"; builds of engines must hold code for sm_{need.replace('.', '')}" if need else ""
    return f"rungs on {' and '.join(used)} run on it, the CPU is the fallback{code}"


def _cluster(value: Cluster, profile: Profile) -> str:
    if profile.emulation.cpu is None:
        return "what published figures and clocks are judged by"
    return "an emulated device shows these cores to its engines, which choose kernels by them"


def _clock(value: int, profile: Profile) -> str:
    return "what estimates of latency count with; `bench` says when the clock was held below it"


def _system_python(value: str, profile: Profile) -> str:
    beside = profile.software.python[0]
    return (
        f"too old for Edge SDK: install Python {beside} beside it (uv python install {beside}); "
        f"the vendor's own packages for {value} cannot be imported there"
    )


def _libc(value: str, profile: Profile) -> str:
    name, _, version = value.partition(" ")
    if name != "glibc":
        return "wheels for manylinux do not install"
    tag = f"manylinux_{version.replace('.', '_')}"
    return f"wheels that ask for a newer one than {tag} do not install"


def _precisions(value: tuple[str, ...], profile: Profile) -> str:
    tried = [level for level in AUTOMATIC if level in value]
    named = [level for level in value if level not in AUTOMATIC]
    said = f"tries {', '.join(tried)}, fewest bits first" if tried else "tries nothing by itself"
    return f"{said}; {', '.join(named)} when --precision names it" if named else said


def _provider(value: str, profile: Profile) -> str:
    return "first it is tried in a process of its own, as a driver may crash"


def _activations(value: str, profile: Profile) -> str:
    if value == "uint8":
        return "int8 files hold activations as unsigned bytes; the engines' kernels prefer them"
    return "int8 files hold activations as signed bytes"


def _per_channel(value: bool, profile: Profile) -> str:
    if value:
        return "each output channel has a scale of its own, which depthwise layers need"
    return "one scale for a whole weight tensor: depthwise layers lose accuracy by it"


def _symmetric(value: bool, profile: Profile) -> str:
    if value:
        return "zero points are 0, which the accelerator demands; half the range idles after ReLU"
    return "ranges need not be centred on 0: all 256 steps are used after ReLU"


def _reduced(value: bool, profile: Profile) -> str:
    if value:
        return "weights keep to 7 bits, so that pairs of products cannot saturate"
    if profile.saturates_int8_pairs:
        return "weights keep 8 bits; their scales are bounded, so that pairs of products fit 16"
    return "weights use 8 bits in full: products are summed in 32 bits"


def _fp16(value: str, profile: Profile) -> str:
    if value == "compute":
        return "fp16 files are half the size and computed in fp16"
    return "fp16 files are half the size and computed in fp32: no faster"


def _io(value: str, profile: Profile) -> str:
    if value == "float32":
        return "int8 .tflite files take the camera's bytes and hand out real numbers"
    return f"int8 .tflite files take and hand out {value}, for accelerators without floats"


def _bandwidth(value: float, profile: Profile) -> str:
    return f"to read 10 MB of weights takes {10 / value:.2g} ms at the least"


def _peak(value: float, profile: Profile) -> str:
    return f"a billion multiply-adds take {2e3 / value:.2g} ms on one core at the least"


def _peak_accelerator(value: float, profile: Profile) -> str:
    return f"a billion multiply-adds take {2 / value:.2g} ms there at the least"


def _figure(value: Figure, profile: Profile) -> str:
    return f"published, no promise for your model: {value.source}"


def _emulator(value: str, profile: Profile) -> str:
    return "`--on emulated:...` runs the device's own wheels and artifacts on it, here"


def _stands_in(value: str, profile: Profile) -> str:
    return "what an emulated check cannot tell of the device"


#: Section -> field -> the sentence. Fields of `name` and the like say what, not how: those of a
#: row are told of together, under the field that decides.
EFFECTS: Mapping[type[Any], Mapping[str, Effect]] = {
    Hardware: {
        "arch": _says("wheels are for it"),
        "big_cores": _cores,
        "little_cores": _says("slower ones: a thread there makes the others wait"),
        "cpu": _says("for people: what is done follows from the features"),
        "models": _says("how `profiles --detect` knows it again"),
        "features": _says(""),
        "memory_mb": _says("shared by the system, the engine and the frames"),
        "accelerators": _accelerator,
        "clusters": _cluster,
    },
    Accelerator: {"name": _accelerator, "compute_capability": _accelerator},
    Cluster: {
        **dict.fromkeys(("name", "cores", "implementer", "part", "variant"), _cluster),
        **dict.fromkeys(("revision", "hwcaps", "l1d_kb", "l1i_kb", "l2_kb"), _cluster),
        **dict.fromkeys(("l2_cores", "l3_kb", "l3_cores"), _cluster),
        **dict.fromkeys(("max_mhz", "min_mhz"), _clock),
    },
    Software: {
        "os": _says("where the versions below come from"),
        "system_python": _system_python,
        "python": _says("wheels are locked for the first of them"),
        "libc": _libc,
        "pins": _says("kept in every lock, and by the bundle"),
    },
    Pin: {name: _says("{value}") for name in ("package", "specifier", "reason")},
    EngineRung: {
        "engine": _says("{value}"),
        "provider": _provider,
        "precisions": _precisions,
    },
    Quantization: {
        "activation_type": _activations,
        "weight_type": _says("int8 files hold weights as {value}"),
        "per_channel": _per_channel,
        "symmetric_activations": _symmetric,
        "reduced_range": _reduced,
        "fp16": _fp16,
        "io_type": _io,
    },
    Camera: {"source": _says("edge-sdk run BUNDLE --source {value}")},
    Budget: {
        "latency_ms": _says("an artifact that is measured to take longer is not chosen"),
        "memory_mb": _says("stated for people; `bench` measures it"),
        "size_mb": _says("an artifact above {value:g} MiB is not chosen"),
    },
    Cost: {
        "memory_gb_s": _bandwidth,
        "fp32_gflops_core": _peak,
        "int8_gops_core": _peak,
        "accelerator_int8_tops": _peak_accelerator,
        "source": _says("who says so"),
        "figures": _figure,
    },
    Figure: dict.fromkeys(
        ("model", "engine", "precision", "latency_ms", "source", "threads"), _figure
    ),
    Emulation: {
        "cpu": _emulator,
        "debian": _says("its Python and C library stand for the device's"),
        "stands_in": _stands_in,
    },
}


def effect(section: type[Any], field: str, value: Any, profile: Profile) -> str:
    """Return what the `value` of a section's `field` changes, as one sentence."""
    return EFFECTS[section][field](value, profile)
