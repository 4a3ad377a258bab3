"""This machine's CPU, as Linux describes it, in the words of device profiles."""

from __future__ import annotations

import os
import platform
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from device_profiles.sections import FEATURES
from runtime.host import _FLAGS, Host, fingerprint, host, installed

PI_5 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc \
dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
PI_4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU part\t: 0xd08

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
PI_3_32_BIT = """\
processor\t: 0
model name\t: ARMv7 Processor rev 4 (v7l)
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32
"""
HASWELL = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM) i5-4570 CPU @ 3.20GHz
flags\t\t: fpu vme sse sse2 ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes avx f16c rdrand bmi1 \
avx2 bmi2
bugs\t\t: cpu_meltdown spectre_v1

processor\t: 1
flags\t\t: fpu avx512_vnni
"""
ALDER_LAKE = """\
processor\t: 0
model name\t: Intel(R) N100
flags\t\t: fpu sse4_1 sse4_2 avx f16c fma avx2 avx_vnni
vmx flags\t: vnmi preemption_timer avx512_vnni
"""
CASCADE_LAKE = "flags : sse4_1 avx f16c fma avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni\n"

X86 = frozenset({"sse4.1", "avx", "avx2", "fma", "f16c"})


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected", "saturates"),
    [
        ("aarch64", PI_5, Host("aarch64", frozenset({"neon", "dotprod", "fp16"})), False),
        ("aarch64", PI_4, Host("aarch64", frozenset({"neon"})), False),
        ("armv7l", PI_3_32_BIT, Host("armv7l", frozenset({"neon", "vfpv4"})), False),
        ("x86_64", HASWELL, Host("x86_64", X86), True),
        ("x86_64", ALDER_LAKE, Host("x86_64", X86 | {"vnni"}), False),
        ("AMD64", CASCADE_LAKE, Host("x86_64", X86 | {"avx512", "vnni"}), False),
        ("arm64", "", Host("aarch64", frozenset()), False),
    ],
)
def test_hosts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    cpuinfo: str,
    expected: Host,
    saturates: bool,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = host(tmp_path / "cpuinfo")
    assert found == expected
    assert found.saturates_int8_pairs == saturates


def test_a_system_without_cpuinfo(tmp_path: Path) -> None:
    assert host(tmp_path / "cpuinfo").features == frozenset()


def test_hosts_and_profiles_use_the_same_words() -> None:
    assert set(_FLAGS.values()) == {name for names in FEATURES.values() for name in names}


def test_this_machine() -> None:
    here = host()
    assert here.features <= set(FEATURES.get(here.arch, ()))


def test_a_fingerprint_changes_with_what_engines_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert fingerprint() == fingerprint()
    seen = [fingerprint(tmp_path)]
    for name, content in {
        "proc/cpuinfo": PI_5,
        "proc/driver/nvidia/version": "NVRM version: 570.1",
        "etc/ld.so.cache": "libraries",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        seen.append(fingerprint(tmp_path))
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: 580.1")
    seen.append(fingerprint(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda")
    seen.append(fingerprint(tmp_path))
    assert all(a != b for a, b in pairwise(seen))


def test_installed_packages_are_told_apart_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed(["no_such_package"]) == ""
    assert installed([]) == ""
    package = tmp_path / "bomb"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = installed(["no_such_package", "bomb"])
    assert str(package) in first
    (tmp_path / "bomb-2.dist-info").mkdir()  # a neighbour, or another version
    os.utime(tmp_path, ns=(1, 1))
    second = installed(["bomb"])
    (package / "__init__.py").write_text("raise SystemExit('imported again')")
    assert len({first, second, installed(["bomb"])}) == 3


def test_packages_that_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed(["no_such_package.part"]) == ""
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    assert installed(["made_by_hand"]) == "made_by_hand"
    monkeypatch.setitem(sys.modules, "made_by_hand", None)
    assert installed(["made_by_hand"]) == ""
