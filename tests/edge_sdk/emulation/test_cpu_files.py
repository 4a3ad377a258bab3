"""The files of a device's CPU say what the profile says, in the words of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.profile import Profile, load, names
from edge_sdk.emulation.cpu_files import cpu_files
from runtime.board import Board
from runtime.host import host

CPU = "sys/devices/system/cpu"

BIG_LITTLE = """
title = "Two kinds of cores"
[hardware]
arch = "aarch64"
big_cores = 2
little_cores = 4
features = ["neon", "dotprod", "fp16"]
[[hardware.cluster]]
name = "Cortex-A76"
cores = 2
max_mhz = 2400
min_mhz = 400
implementer = "0x41"
part = "0xd0b"
variant = "0x4"
revision = 1
l1d_kb = 64
l2_kb = 512
l2_cores = 1
l3_kb = 3072
[[hardware.cluster]]
name = "Cortex-A55"
cores = 4
max_mhz = 1800
implementer = "0x41"
part = "0xd05"
variant = "0x2"
revision = 0
l1d_kb = 32
l2_kb = 128
l2_cores = 2
l3_kb = 3072
[software]
python = ["3.11"]
[[engine]]
engine = "onnxruntime"
provider = "cpu"
precisions = ["fp32"]
[quantization]
activation_type = "int8"
[emulation]
cpu = "cortex-a76"
"""


@pytest.fixture
def big_little(tmp_path: Path) -> Profile:
    (tmp_path / "two.toml").write_text(BIG_LITTLE)
    return load(tmp_path / "two.toml")


def written(profile: Profile, root: Path) -> Path:
    for name, text in cpu_files(profile).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi_4_looks_like_one() -> None:
    files = cpu_files(load("raspberry-pi-4b"))
    block = (
        "processor\t: 3\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        "CPU part\t: 0xd08\nCPU revision\t: 3\n\nModel\t\t: Raspberry Pi 4 Model B\n"
    )
    assert files["proc/cpuinfo"].endswith(block)
    assert files[f"{CPU}/possible"] == "0-3\n"
    assert files[f"{CPU}/cpu2/cpufreq/cpuinfo_max_freq"] == "1500000\n"
    assert files[f"{CPU}/cpu0/regs/identification/midr_el1"] == "0x00000000410fd083\n"
    assert files[f"{CPU}/cpu0/cache/index2/size"] == "1024K\n"
    assert files[f"{CPU}/cpu0/cache/index2/shared_cpu_list"] == "0-3\n"


def test_small_cores_come_first_and_share_what_is_theirs(big_little: Profile) -> None:
    files = cpu_files(big_little)
    parts = [line[-5:] for line in files["proc/cpuinfo"].splitlines() if "part" in line]
    assert parts == ["0xd05"] * 4 + ["0xd0b"] * 2
    shared = {n: files[f"{CPU}/cpu{n}/cache/index1/shared_cpu_list"].strip() for n in range(6)}
    assert shared == {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3", 4: "4", 5: "5"}
    assert files[f"{CPU}/cpu5/cache/index2/shared_cpu_list"] == "0-5\n"
    assert files[f"{CPU}/cpu1/topology/cluster_cpus_list"] == "0-3\n"
    assert files[f"{CPU}/cpu4/topology/cluster_cpus_list"] == "4-5\n"
    assert files[f"{CPU}/cpufreq/policy4/related_cpus"] == "4 5\n"
    assert (
        files[f"{CPU}/cpu0/cpufreq/cpuinfo_min_freq"] == "1800000\n"
    )  # not known: it does not vary


def test_our_own_readers_see_the_device(big_little: Profile, tmp_path: Path) -> None:
    health = Board(written(big_little, tmp_path)).read()
    assert health.model == "Two kinds of cores"
    assert [cluster.max_mhz for cluster in health.clusters] == [1800, 2400]
    assert health.governor is None


@pytest.mark.parametrize("name", names())
def test_features_read_from_the_files_are_those_of_the_profile(name: str, tmp_path: Path) -> None:
    profile = load(name)
    root = written(profile, tmp_path)
    assert host(root / "proc/cpuinfo").features == set(profile.hardware.features)
    count = (root / "proc/cpuinfo").read_text().count("processor\t:")
    assert count == profile.hardware.cores
    assert (root / f"{CPU}/cpu{count - 1}/topology/core_id").read_text() == f"{count - 1}\n"


def test_a_generic_device_has_the_core_of_its_emulator() -> None:
    files = cpu_files(load("generic-arm64"))
    assert "CPU part\t: 0xd08\n" in files["proc/cpuinfo"]  # QEMU's cortex-a72


def test_a_32_bit_arm_says_so() -> None:
    text = cpu_files(load("raspberry-pi-2b"))["proc/cpuinfo"]
    assert "model name\t: ARMv7 Processor rev 5 (v7l)\n" in text
    assert "CPU architecture: 7\n" in text


def test_an_x86_has_flags_and_its_name_where_a_pc_has_it() -> None:
    files = cpu_files(load("generic-x86"))
    assert "CPU implementer" not in files["proc/cpuinfo"]
    assert " avx2 " in files["proc/cpuinfo"]
    assert files["sys/class/dmi/id/product_name"] == load("generic-x86").title + "\n"
    assert "proc/device-tree/model" not in files
