"""An emulated device without its emulator: what is laid out, and how its programs are started."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import MissingError, RequestError
from device_profiles.profile import Profile, load
from edge_sdk.emulation import device as module
from edge_sdk.emulation.debian import DebianRoot
from edge_sdk.emulation.device import EmulatedDevice, emulated_device

# Says how it was started, one word a line.
QEMU = """#!/bin/sh
case $1 in --version) echo "qemu-aarch64 version 7.2.1"; exit;; esac
case $2 in help) echo "  cortex-a72"; exit 1;; esac
for word in "$@"; do echo "$word"; done
"""


@pytest.fixture
def profile() -> Profile:
    return load("raspberry-pi-4b")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "debian/root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/share/things").mkdir(parents=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "usr/bin/python3.11").touch()
    (root / "lib").symlink_to("usr/lib")
    monkeypatch.setattr(module, "debian_root", lambda *asked: DebianRoot(root, ("libc6=2.36",)))
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "a cache"))
    monkeypatch.setenv("EDGE_SDK_QEMU", str(tmp_path / "qemu"))
    (tmp_path / "qemu").mkdir()
    (tmp_path / "qemu/qemu-aarch64").write_text(QEMU)
    (tmp_path / "qemu/qemu-aarch64").chmod(0o755)
    return root


@pytest.fixture
def device(system: Path, profile: Profile) -> EmulatedDevice:
    return emulated_device(profile, modules=[Path("/code"), Path("/site")])


def test_its_root_is_debian_with_the_files_of_its_cpu(device: EmulatedDevice, system: Path) -> None:
    assert (device.root / "usr").resolve() == system / "usr"
    assert "0xd08" in (device.root / "proc/cpuinfo").read_text()
    assert list((device.root / "sys/class/thermal").iterdir()) == []


def test_it_is_built_once_for_all_who_name_it(device: EmulatedDevice, profile: Profile) -> None:
    again = emulated_device(profile)
    assert again.home == device.home
    software = replace(profile.hardware, clusters=())
    assert emulated_device(replace(profile, hardware=software)).home != device.home


def test_its_python_starts_under_the_emulator(device: EmulatedDevice, system: Path) -> None:
    command = device.command(["-c", "pass"])
    emulator = [str(device.qemu.path), "-cpu", "cortex-a72", "-L", str(device.root)]
    assert command[:5] == emulator
    assert command[-3:] == [str(system / "usr/bin/python3.11"), "-c", "pass"]
    assert command[command.index("-0") + 1] == str(device.python)
    done = subprocess.run(
        [device.python, "-c", "two words"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == device.command(["-c", "two words"])[1:]


def test_a_plugin_is_not_for_child_processes(device: EmulatedDevice) -> None:
    command = device.command(["x.py"], plugin="count.so,out=f")
    assert command[command.index("-plugin") + 1] == "count.so,out=f"
    assert "-plugin" not in device.python.read_text()


def test_nothing_of_this_python_leaks_into_its_environment(
    device: EmulatedDevice, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONSTARTUP", "QEMU_CPU", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/of/this/machine")
    monkeypatch.setenv("http_proxy", "kept")
    found = device.environment({"OMP_NUM_THREADS": "1"})
    assert "/of/this/machine" not in found.values()
    assert (found["http_proxy"], found["OMP_NUM_THREADS"]) == ("kept", "1")
    assert found["PYTHONPATH"] == f"/code{os.pathsep}/site"
    assert found["PYTHONHOME"] == str(system / "usr")
    assert found["PYTHONHASHSEED"] == "0"


def test_files_that_the_device_would_hide_are_reached_past_it(
    device: EmulatedDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert device.path(tmp_path) == str(tmp_path)
    assert device.path(Path("/usr/share/mine/a.edge")) == "/usr/share/mine/a.edge"
    assert device.path(Path("/usr/share/things")) == "/proc/self/root/usr/share/things"
    assert device.path(Path("/proc/cpuinfo")) == "/proc/self/root/proc/cpuinfo"
    monkeypatch.chdir(tmp_path)
    assert device.path(Path("a.edge")) == str(tmp_path / "a.edge")


def test_a_device_that_nothing_emulates_is_refused(system: Path, profile: Profile) -> None:
    none = replace(profile.emulation, cpu=None)
    with pytest.raises(RequestError, match=r"nothing emulates a Raspberry Pi 4 Model B.*\.cpu in"):
        emulated_device(replace(profile, emulation=none))
    with pytest.raises(RequestError, match="has no CPU 'cortex-a76'"):
        emulated_device(replace(profile, emulation=replace(profile.emulation, cpu="cortex-a76")))


def test_without_an_emulator_nothing_is_fetched(
    system: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SDK_QEMU", "/nowhere")
    monkeypatch.setattr(module, "debian_root", lambda *asked: pytest.fail("fetched"))
    with pytest.raises(MissingError, match="sudo apt-get install qemu-user"):
        emulated_device(profile)
