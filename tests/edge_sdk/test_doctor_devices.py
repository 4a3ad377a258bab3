"""What the doctor says of cameras, boards and providers, on trees of files and broken wheels."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import onnxruntime
import pytest

from device_profiles.errors import EngineError
from edge_sdk import doctor
from edge_sdk.workflows import doctor_devices as devices
from edge_sdk.workflows import doctor_providers as providers
from edge_sdk.workflows.finding import Finding
from tests.runtime.boards import (
    LAPTOP,
    ORIN_NANO,
    PI_4_FIRMWARE,
    PI_4_HOT,
    PI_5,
    plant,
    policy,
)

CAMERA = {"dev/video0": "", "sys/class/video4linux/video0/name": "HD Pro Webcam C920\n"}


def test_no_camera(tmp_path: Path) -> None:
    (found,) = devices.look_at_cameras(tmp_path)
    assert (found.level, found.detail) == ("note", "no /dev/video*")


def test_a_camera(tmp_path: Path) -> None:
    plant(tmp_path, {**CAMERA, "dev/video10": ""})
    (found,) = devices.look_at_cameras(tmp_path)
    assert found == Finding("camera", "ok", "/dev/video0 (HD Pro Webcam C920), /dev/video10")


def test_a_camera_that_a_container_does_not_see(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/class/video4linux/video0/name": "HD Pro Webcam C920\n"})
    (found,) = devices.look_at_cameras(tmp_path)
    assert found.level == "fault"
    assert "HD Pro Webcam C920" in found.detail
    assert "--device /dev/video0" in found.remedy


@pytest.mark.parametrize(
    ("members", "remedy"),
    [
        ([], "sudo usermod -aG video me, then log in again"),
        (["me"], "log in again: you are in the group video, this session is not yet"),
        (None, "start the container with --group-add video, or as a user who may"),
    ],
)
def test_a_camera_of_others(
    members: list[str] | None, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def group(number: int) -> Any:
        if members is None:
            raise KeyError(number)
        return SimpleNamespace(gr_name="video", gr_mem=members)

    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="me"))
    (found,) = devices.look_at_cameras(plant(tmp_path, CAMERA))
    assert found == Finding("camera", "fault", "no permission for /dev/video0", remedy)


def test_picamera2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.look_at_libcamera(tmp_path) == []
    system = tmp_path / "usr/lib/python3/dist-packages"
    (system / "libcamera").mkdir(parents=True)
    (found,) = devices.look_at_libcamera(tmp_path)
    assert (found.level, found.remedy) == ("note", "sudo apt install python3-picamera2")
    (system / "picamera2").mkdir()
    (found,) = devices.look_at_libcamera(tmp_path)
    assert "not visible" in found.detail
    assert "--system-site-packages" in found.remedy
    monkeypatch.setattr(importlib.util, "find_spec", ModuleType)
    assert devices.look_at_libcamera(tmp_path) == [Finding("picamera2", "ok", "visible")]


def test_boards(tmp_path: Path) -> None:
    (found,) = devices.look_at_board(plant(tmp_path / "well", PI_5))
    model = "Raspberry Pi 5 Model B Rev 1.0"
    assert found == Finding("board", "ok", f"{model}, 51 °C, not throttled")
    (found,) = devices.look_at_board(plant(tmp_path / "hot", PI_4_HOT))
    assert found.level == "fault"
    assert "83 °C; slowed down now: frequency capped, throttled" in found.detail
    assert "heat sink" in found.remedy
    (found,) = devices.look_at_board(plant(tmp_path / "weak", {**PI_4_HOT, PI_4_FIRMWARE: "1"}))
    assert "slowed down now: under-voltage" in found.detail
    assert "supply" in found.remedy
    (found,) = devices.look_at_board(plant(tmp_path / "orin", ORIN_NANO))
    assert (found.level, "before: peak over-current" in found.detail) == ("note", True)
    (found,) = devices.look_at_board(tmp_path)
    assert found.level == "ok"
    assert "unknown model; it does not say" in found.detail


def test_clocks(tmp_path: Path) -> None:
    (found,) = devices.look_at_clocks(plant(tmp_path / "well", PI_5))
    assert found == Finding("governor", "ok", "ondemand")
    slow = policy(0, 600000, 1800000, "powersave")
    (found,) = devices.look_at_clocks(plant(tmp_path / "slow", slow))
    assert (found.level, found.detail) == ("note", "powersave: the clock stays low")
    folder = "/sys/devices/system/cpu/cpufreq/policy0"
    assert found.remedy == f"echo schedutil | sudo tee {folder}/scaling_governor"
    driver = {f"{folder[1:]}/scaling_driver": "intel_pstate\n"}
    (found,) = devices.look_at_clocks(plant(tmp_path / "laptop", {**LAPTOP, **driver}))
    assert found.level == "ok"
    capped = {**PI_5, f"{folder[1:]}/scaling_max_freq": "1500000\n"}
    found = devices.look_at_clocks(plant(tmp_path / "capped", capped))[1]
    assert (found.name, found.detail) == ("clock limit", "policy0 may use 1500 of 2400 MHz")
    assert found.remedy.startswith(f"echo 2400000 | sudo tee {folder}/scaling_max_freq")
    assert devices.look_at_clocks(tmp_path) == []


def test_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.look_at_time(tmp_path)[0].level == "ok"
    sync = tmp_path / "run/systemd/timesync"
    sync.mkdir(parents=True)
    assert devices.look_at_time(tmp_path)[0].level == "note"
    (sync / "synchronized").touch()
    assert devices.look_at_time(tmp_path)[0].level == "ok"
    monkeypatch.setattr(devices.time, "time", lambda: 3600.0)
    (found,) = devices.look_at_time(tmp_path)
    assert (found.level, found.detail) == (
        "fault", "it says 1970-01-01, before this was installed",
    )  # fmt: skip
    assert "timedatectl" in found.remedy


def test_the_doctor_looks_below_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_sdk.workflows.doctor.look_at_providers", list)
    report = doctor(plant(tmp_path, {**PI_4_HOT, **CAMERA}))
    details = {f["name"]: f["detail"] for f in report.facts["findings"]}
    assert "Raspberry Pi 4" in details["board"]
    assert "C920" in details["camera"]
    assert any(gate.name == "board" for gate in report.gates)


def test_the_sample_is_a_model() -> None:
    model = onnx.load_from_string(providers.sample_model())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]


def listing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


def test_a_provider_that_is_listed_and_dead_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried for real: this wheel has no CUDA, whatever the list in this process says."""
    listing(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    listed, cpu, cuda = providers.look_at_providers()
    assert listed.detail == "onnxruntime lists CUDA, CPU"
    assert cpu == Finding("provider cpu", "ok", "ran a convolution")
    assert (cuda.name, cuda.level) == ("provider cuda", "fault")
    assert cuda.detail.startswith("listed, but does not run: ")
    assert "without cuda" in cuda.remedy


def test_a_provider_that_crashes_or_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Bad:
        inputs = ()
        run_s = 0.0

        def __init__(self, *rest: object) -> None:
            assert providers.PATIENCE_S in rest

        def run(self, inputs: object) -> None:
            raise EngineError("onnxruntime on cpu crashed (SIGSEGV) when it ran")

        def close(self) -> None:
            closed.append(self)

    listing(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(providers, "Worker", Bad)
    found = providers.look_at_providers()[1]
    assert (found.level, "SIGSEGV" in found.detail) == ("fault", True)
    assert len(closed) == 1
