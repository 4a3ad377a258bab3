from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import MissingError
from device_profiles.profile import load
from edge_sdk.emulation import qemu
from edge_sdk.looks import workplace as looks
from edge_sdk.looks.base import Trial
from tests.edge_sdk.looks.scenes import only, scene


def test_converters() -> None:
    torch, onnx = looks.look_at_converters(scene(packages={"edge-sdk": "0.1.0"}))
    assert (torch.level, torch.remedy) == ("note", "pip install 'edge-sdk[convert]'")
    assert (onnx.level, "not installed" in onnx.detail) == ("note", True)
    tried = {
        "edge_sdk.looks.workplace": Trial(failure="libcudart.so.13: cannot open shared object"),
        "onnx": Trial(answer="1"),
    }
    there = {"torch": "2.13.0", "onnx": "1.23.2"}
    torch, onnx = looks.look_at_converters(scene(tried=tried, packages=there))
    assert (torch.level, "libcudart.so.13" in torch.detail) == ("fault", True)
    assert (onnx.level, onnx.detail) == ("ok", "1.23.2")


def test_torch_is_loaded_for_real() -> None:
    assert looks._load_torch(None) == ""


def test_emulators(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(arch: str) -> qemu.Qemu:
        if arch == "armv7l":
            raise MissingError("qemu-arm is not there")
        return qemu.Qemu(Path("/usr/bin/qemu-aarch64"), (7, 2, 22))

    monkeypatch.setattr(qemu, "find_qemu", find)
    monkeypatch.setattr(qemu.Qemu, "takes_plugins", True)
    found = {finding.name: finding for finding in looks.look_at_emulators(scene())}
    assert (found["qemu-aarch64"].level, found["qemu-aarch64"].detail) == (
        "ok", "7.2.22, takes plugins",
    )  # fmt: skip
    assert (found["qemu"].level, "armv7l" in found["qemu"].detail) == ("note", True)
    assert found["qemu"].remedy == "sudo apt-get install qemu-user"
    # Only what the device needs.
    where = scene(profile=load("raspberry-pi-4b"))
    assert only(looks.look_at_emulators, where).name == "qemu-aarch64"


def test_an_emulator_that_takes_no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    static = qemu.Qemu(Path("/nowhere/qemu-aarch64-static"), (7, 2, 22))
    monkeypatch.setattr(qemu, "find_qemu", lambda arch: static)
    monkeypatch.setattr(qemu.Qemu, "takes_plugins", False)
    found = only(looks.look_at_emulators, scene(profile=load("raspberry-pi-4b")))
    assert (found.level, "counts no instructions" in found.detail) == ("note", True)


def test_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.shutil, "which", lambda name: None if name == "rsync" else name)
    summary, rsync = looks.look_at_programs(scene())
    assert summary.level == "ok"
    assert (rsync.level, rsync.remedy) == ("note", "sudo apt-get install rsync")


def test_the_keys_of_debian(tmp_path: Path) -> None:
    found = only(looks.look_at_keyring, scene(tmp_path))
    assert (found.level, found.remedy) == (
        "note", "sudo apt-get install debian-archive-keyring",
    )  # fmt: skip
    keys = tmp_path / "usr/share/keyrings"
    keys.mkdir(parents=True)
    (keys / "debian-archive-keyring.gpg").touch()
    assert looks.look_at_keyring(scene(tmp_path)) == []


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    assert f"{tmp_path}/cache, 0 MB" in only(looks.look_at_cache, scene()).detail
    (tmp_path / "cache/wheels").mkdir(parents=True)
    (tmp_path / "cache/wheels/big").write_bytes(b"x" * 3_000_000)
    assert f"{tmp_path}/cache, 3 MB" in only(looks.look_at_cache, scene()).detail
    monkeypatch.setattr(looks.os, "access", lambda path, mode: False)
    found = only(looks.look_at_cache, scene())
    assert (found.level, "EDGE_SDK_CACHE" in found.remedy) == ("fault", True)
