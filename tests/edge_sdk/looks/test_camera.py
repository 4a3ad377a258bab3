from __future__ import annotations

import fcntl
import grp
import os
import pwd
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from device_profiles.profile import load
from edge_sdk.looks import camera as looks
from edge_sdk.looks.base import Finding, Trial
from tests.edge_sdk.looks.scenes import only, scene
from tests.runtime.boards import plant

CAMERA = {"dev/video0": "", "sys/class/video4linux/video0/name": "HD Pro Webcam C920\n"}
CAPTURE, CODEC = 0x84200001, 0x84208000


def test_no_camera(tmp_path: Path) -> None:
    found = only(looks.look_at_cameras, scene(tmp_path))
    assert (found.level, found.detail) == ("note", "no /dev/video*")


def test_a_camera(tmp_path: Path) -> None:
    """Plain files do not say what they can do: they may be cameras."""
    plant(tmp_path, {**CAMERA, "dev/video10": ""})
    found = only(looks.look_at_cameras, scene(tmp_path))
    assert found == Finding("camera", "ok", "/dev/video0 (HD Pro Webcam C920), /dev/video10")


def test_nodes_that_give_no_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = {"dev/video10": "", "sys/class/video4linux/video10/name": "bcm2835-codec-decode\n"}
    plant(tmp_path, {**CAMERA, **codec})
    can = {"video0": CAPTURE, "video10": CODEC}
    monkeypatch.setattr(looks, "capabilities", lambda node: can[node.name])
    found = only(looks.look_at_cameras, scene(tmp_path))
    assert found.detail == "/dev/video0 (HD Pro Webcam C920); 1 more that give no frames"
    can["video0"] = CODEC
    found = only(looks.look_at_cameras, scene(tmp_path))
    assert (found.level, "2 nodes, and none gives frames" in found.detail) == ("note", True)
    assert "bcm2835-codec-decode" in found.detail
    assert "picamera://0" in found.remedy


def test_what_a_node_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "video0"
    assert looks.capabilities(node) is None  # it is not there
    node.touch()
    assert looks.capabilities(node) is None  # it is no device

    def answer(device: int, request: int, into: bytearray) -> int:
        assert (request, len(into)) == (0x80685600, 104)
        struct.pack_into("16s32s32sIII", into, 0, b"uvcvideo", b"", b"", 6, *said)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", answer)
    said = (0x84A00001, 0x04A00000)  # the device as a whole captures, this node (metadata) does not
    assert looks.capabilities(node) == 0x04A00000
    said = (0x1, 0)  # an old driver, which does not tell of nodes
    assert looks.capabilities(node) == 0x1


def test_a_camera_in_use(tmp_path: Path) -> None:
    plant(tmp_path, {**CAMERA, "proc/812/comm": "motion\n", "proc/813/comm": "other\n"})
    for process, node in ((812, "/dev/video0"), (813, "/dev/null")):
        (tmp_path / f"proc/{process}/fd").mkdir()
        (tmp_path / f"proc/{process}/fd/7").symlink_to(node)
    camera, held = looks.look_at_cameras(scene(tmp_path))
    assert camera.level == "ok"
    assert (held.level, held.detail) == ("note", "/dev/video0 is open in motion (812)")
    assert held.remedy.endswith("kill 812")


def test_a_camera_that_a_container_does_not_see(tmp_path: Path) -> None:
    plant(tmp_path, {"sys/class/video4linux/video0/name": "HD Pro Webcam C920\n"})
    found = only(looks.look_at_cameras, scene(tmp_path))
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
    found = only(looks.look_at_cameras, scene(plant(tmp_path, CAMERA)))
    assert found == Finding("camera", "fault", "no permission for /dev/video0", remedy)
    plant(tmp_path, {"dev/media0": "", "dev/dma_heap/system": ""})
    visible = {"picamera2": Trial(answer="0.3")}
    found = looks.look_at_libcamera(scene(tmp_path, tried=visible))[1]
    assert found == Finding(
        "libcamera", "fault", "no permission for /dev/media0, /dev/dma_heap/system", remedy
    )


def test_picamera2(tmp_path: Path) -> None:
    assert looks.look_at_libcamera(scene(tmp_path)) == []
    meant = only(looks.look_at_libcamera, scene(tmp_path, profile=load("raspberry-pi-5")))
    assert "the profile's camera is picamera" in meant.detail
    system = tmp_path / looks.SYSTEM_PACKAGES
    (system / "libcamera").mkdir(parents=True)
    found = only(looks.look_at_libcamera, scene(tmp_path))
    assert (found.level, found.remedy) == ("note", "sudo apt install python3-picamera2")
    (system / "picamera2").mkdir()
    found = only(looks.look_at_libcamera, scene(tmp_path))
    assert "not visible" in found.detail
    assert "--system-site-packages" in found.remedy
    visible = scene(tmp_path, tried={"picamera2": Trial(answer="0.3.31")})
    assert looks.look_at_libcamera(visible) == [Finding("picamera2", "ok", "visible")]


def test_picamera2_that_does_not_import(tmp_path: Path) -> None:
    other = Trial(failure="No module named 'libcamera._libcamera'")
    found = only(looks.look_at_libcamera, scene(tmp_path, tried={"picamera2": other}))
    assert (found.level, "/usr/bin/python3 -m venv" in found.remedy) == ("fault", True)
    abi = Trial(failure="numpy.dtype size changed, may indicate binary incompatibility.")
    where = scene(tmp_path, tried={"picamera2": abi}, packages={"numpy": "2.4.6"})
    assert only(looks.look_at_libcamera, where).remedy == "pip install 'numpy<2'"
