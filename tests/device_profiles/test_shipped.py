"""Every shipped profile, whichever they are: a new file is picked up by these tests."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from converters.recipe import recipes
from device_profiles.profile import Profile, load, names
from runtime.host import features_of

FOLDER = Path(load.__code__.co_filename).parent
EVERY = names()
ARM = [name for name in EVERY if load(name).hardware.arch != "x86_64"]

# What only says again what stands beside it, or chooses: no fact that needs a source.
PLAIN = {
    *("inherits", "title", "arch", "name", "package", "specifier", "reason", "engine", "provider"),
    *("precisions", "model", "precision", "threads", "latency_ms", "source", "debian", "figure"),
    *("weight_type", "per_channel", "symmetric_activations", "little_cores", "cores", "stands_in"),
    "memory_gb_s",  # the section has a source of its own
}


def text(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def test_the_devices_that_are_promised() -> None:
    assert set(EVERY) >= {
        *("raspberry-pi-zero-2w", "raspberry-pi-3b", "raspberry-pi-4b", "raspberry-pi-5"),
        *("jetson-nano", "jetson-xavier-nx", "jetson-orin-nano", "jetson-agx-orin"),
        *("coral-dev-board", "rock-5b", "generic-arm64", "generic-x86", "intel-nuc-vnni"),
        "workstation-cuda",
    }
    assert any(load(name).hardware.arch == "armv7l" for name in EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_it_loads_by_name_and_by_path_and_survives_json(name: str) -> None:
    profile = load(name)
    assert profile.name == name
    assert load(FOLDER / f"{name}.toml") == load(str(FOLDER / f"{name}.toml")) == profile
    again = Profile.from_json(profile.to_json())
    assert again == profile
    assert again.digest == profile.digest


def test_no_two_are_the_same_device() -> None:
    profiles = [load(name) for name in EVERY]
    titles = Counter(profile.title for profile in profiles)
    assert titles.most_common(1)[0][1] == 1


@pytest.mark.parametrize("name", EVERY)
def test_every_fact_has_its_source_above_it(name: str) -> None:
    sourced, bare = False, []
    for line in text(name).splitlines():
        if line.startswith("#"):
            sourced = True
        elif not line or line.startswith("["):  # a comment serves until the next gap
            sourced = False
        elif (key := line.partition("=")[0].strip()) not in PLAIN and not sourced:
            bare.append(key)
    assert bare == []


@pytest.mark.parametrize("name", EVERY)
def test_lines_are_as_long_as_elsewhere(name: str) -> None:
    # A list or a text of the kernel's cannot be broken.
    long = [line for line in text(name).splitlines() if len(line) > 100]
    assert [line for line in long if not line.startswith(("hwcaps", "stands_in", "reason"))] == []


@pytest.mark.parametrize("name", EVERY)
def test_the_features_are_those_that_the_kernel_tells_of(name: str) -> None:
    hardware = load(name).hardware
    told = [cluster.hwcaps for cluster in hardware.clusters if cluster.hwcaps]
    for hwcaps in told:
        assert set(hardware.features) == features_of(hwcaps.split())


@pytest.mark.parametrize("name", EVERY)
def test_cores_that_are_told_of_are_told_of_in_full(name: str) -> None:
    for cluster in load(name).hardware.clusters:
        assert cluster.l1d_kb
        assert cluster.l2_kb
        assert cluster.cores % (cluster.l2_cores or 1) == 0
        assert cluster.cores % (cluster.l3_cores or 1) == 0


@pytest.mark.parametrize("name", ARM)
def test_an_arm_device_can_be_emulated(name: str) -> None:
    profile = load(name)
    assert profile.emulation.cpu
    for cluster in profile.hardware.clusters:
        ids = (cluster.implementer, cluster.part, cluster.variant, cluster.revision, cluster.hwcaps)
        assert None not in ids
    very = {cluster.name.lower() for cluster in profile.hardware.clusters}
    if very - {profile.emulation.cpu}:
        assert profile.emulation.stands_in, "say how the emulated core differs"
    elif very:
        assert profile.emulation.cpu in very


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_recipes_follow_from_it(name: str, precision: str) -> None:
    profile = load(name)
    found = recipes(profile, precision=precision)
    assert found[-1].precision == "fp32", "the fallback"
    assert profile.engines[-1].provider == "cpu"
    if precision == "int8":
        assert found[0].precision == "int8"


@pytest.mark.parametrize("name", EVERY)
def test_an_engine_of_the_ladder_is_pinned_where_it_is_known_to_fail(name: str) -> None:
    profile = load(name)
    pins = {pin.package: pin.specifier for pin in profile.software.pins}
    packages = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert"}
    wanted = {packages[rung.engine] for rung in profile.engines if rung.provider == "cpu"}
    hardware = profile.hardware
    if hardware.arch == "aarch64" and "fp16" not in hardware.features:
        assert "!=1.21.0" in pins["onnxruntime"]
    if "ai-edge-litert" in wanted:
        assert "tflite-runtime" in pins or pins["ai-edge-litert"] == ">=2.3,<3"


@pytest.mark.parametrize("name", EVERY)
def test_a_python_of_the_ladder_runs_edge_sdk(name: str) -> None:
    software = load(name).software
    assert all(int(version.split(".")[1]) >= 10 for version in software.python)
    if software.system_python:
        assert software.system_python not in software.python
        assert tuple(map(int, software.system_python.split("."))) < (3, 10)


@pytest.mark.parametrize("name", EVERY)
def test_quantization_is_what_its_ladder_can_use(name: str) -> None:
    profile = load(name)
    gpu = any(rung.provider == "tensorrt" for rung in profile.engines)
    assert profile.quantization.symmetric_activations is gpu
    assert (profile.quantization.fp16 == "compute") is gpu
    if gpu:
        assert profile.quantization.activation_type == "int8"


@pytest.mark.parametrize("name", EVERY)
def test_a_published_figure_says_where(name: str) -> None:
    for figure in load(name).cost.figures:
        assert re.search(r"\w\.\w+/|github.com|/", figure.source)


@pytest.mark.parametrize(
    ("name", "cores", "features", "saturates"),
    [
        ("raspberry-pi-zero-2w", 4, ("neon",), False),
        ("raspberry-pi-4b", 4, ("neon",), False),
        ("raspberry-pi-5", 4, ("neon", "dotprod", "fp16"), False),
        ("rock-5b", 8, ("neon", "dotprod", "fp16"), False),
        ("jetson-xavier-nx", 6, ("neon", "fp16"), False),
        ("jetson-orin-nano", 6, ("neon", "dotprod", "fp16"), False),
        ("raspberry-pi-2b", 4, ("neon", "vfpv4"), False),
        ("generic-arm64", 1, ("neon",), False),
        ("generic-x86", 1, ("sse4.1", "avx", "avx2", "fma", "f16c"), True),
        (
            "intel-nuc-vnni",
            4,
            ("sse4.1", "avx", "avx2", "fma", "f16c", "avx512", "vnni"),
            False,
        ),
    ],
)
def test_the_facts_that_decide_a_conversion(
    name: str, cores: int, features: tuple[str, ...], saturates: bool
) -> None:
    profile = load(name)
    assert profile.hardware.cores == cores
    assert profile.hardware.features == features
    assert profile.saturates_int8_pairs is saturates
