from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_sdk.looks import memory, storage
from edge_sdk.looks.base import Finding
from tests.edge_sdk.looks.scenes import only, pinned, scene
from tests.runtime.boards import plant


def disk(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_mb: int = 9000,
    read_only: bool = False,
    files: int = 10**6,
) -> Finding:
    found = SimpleNamespace(
        f_flag=os.ST_RDONLY if read_only else 0, f_bavail=free_mb, f_frsize=1 << 20,
        f_files=2 * 10**6, f_favail=files,
    )  # fmt: skip
    monkeypatch.setattr(storage.os, "statvfs", lambda path: found)
    return only(storage.look_at_disk, scene(root))


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk(tmp_path, monkeypatch) == Finding("disk", "ok", f"8.8 GiB free at {tmp_path}")
    found = disk(tmp_path, monkeypatch, free_mb=100)
    assert (found.level, found.detail) == ("fault", f"100 MiB free at {tmp_path}")
    assert "sudo apt clean" in found.remedy
    found = disk(tmp_path, monkeypatch, read_only=True)
    assert (found.level, "read-only" in found.detail) == ("fault", True)
    assert found.remedy.startswith("sudo mount -o remount,rw /")
    found = disk(tmp_path, monkeypatch, files=3)
    assert (found.level, found.detail[:17]) == ("fault", "3 files more fit ")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    found = only(storage.look_at_disk, scene(tmp_path / "gone"))
    assert (found.level, "mkdir" in found.remedy) == ("fault", True)


def test_an_overlay(tmp_path: Path) -> None:
    for started in ("console=tty1 root=PARTUUID=1 overlayroot=disabled", "quiet"):
        assert storage.look_at_overlay(scene(plant(tmp_path, {"proc/cmdline": started}))) == []
    for started in ("boot=overlay quiet", "overlayroot=tmpfs"):
        found = only(storage.look_at_overlay, scene(plant(tmp_path, {"proc/cmdline": started})))
        assert (found.level, "disable_overlayfs" in found.remedy) == ("note", True)


@pytest.mark.parametrize(
    ("life", "reserve", "level"),
    [("0x01 0x03", "0x01", "ok"), ("0x09 0x02", "0x01", "note"), ("0x01 0x0b", "0x01", "fault"),
     ("0x01 0x01", "0x03", "fault"), ("0x00 0x00", "0x00", None), ("nonsense", "0x01", None)],
)  # fmt: skip
def test_wear(life: str, reserve: str, level: str | None, tmp_path: Path) -> None:
    device = "sys/block/mmcblk0/device"
    plant(tmp_path, {f"{device}/life_time": life, f"{device}/pre_eol_info": reserve})
    found = storage.look_at_wear(scene(tmp_path))
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(finding.detail.startswith("mmcblk0") for finding in found)
    assert all(finding.remedy for finding in found if finding.level != "ok")


def meminfo(root: Path, total: int, free: int, swap: int = 0) -> Path:
    text = f"MemTotal: {total << 10} kB\nMemAvailable: {free << 10} kB\nSwapTotal: {swap << 10} kB"
    return plant(root, {"proc/meminfo": text})


def test_memory(tmp_path: Path) -> None:
    found = only(memory.look_at_memory, scene(meminfo(tmp_path, 8000, 7000)))
    assert found == Finding("memory", "ok", "8000 MiB, 7000 free")
    found = only(memory.look_at_memory, scene(meminfo(tmp_path, 4000, 100)))
    assert (found.level, "ps aux" in found.remedy) == ("note", True)
    assert memory.look_at_memory(scene(tmp_path / "nothing")) == []


def test_memory_against_the_profile(tmp_path: Path) -> None:
    profile = pinned()  # of 1024 MiB
    enough = scene(meminfo(tmp_path, 906, 700, 200), profile=profile)
    assert [finding.level for finding in memory.look_at_memory(enough)] == ["ok", "ok"]
    less = scene(meminfo(tmp_path, 426, 300, 200), profile=profile)
    assert memory.look_at_memory(less)[0].detail == "426 MiB, 300 free; the profile has 1024 MiB"


def test_memory_of_a_container(tmp_path: Path) -> None:
    meminfo(tmp_path, 8000, 7000)
    plant(tmp_path, {"sys/fs/cgroup/memory.max": f"{512 << 20}\n"})
    found, swap = memory.look_at_memory(scene(tmp_path, profile=pinned()))
    assert "of which this process may use 512" in found.detail
    assert (found.level, swap.level) == ("note", "note")
    plant(tmp_path, {"sys/fs/cgroup/memory.max": "max\n"})
    assert only(memory.look_at_memory, scene(tmp_path)).level == "ok"


def test_a_small_board_without_swap(tmp_path: Path) -> None:
    found = memory.look_at_memory(scene(meminfo(tmp_path, 426, 300)))[1]
    assert (found.level, found.remedy) == ("note", "sudo apt install zram-tools")
    found = memory.look_at_memory(scene(meminfo(tmp_path, 426, 300, 100)))[1]
    assert (found.level, found.detail) == ("ok", "100 MiB")
