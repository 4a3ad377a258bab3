from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, MissingError, OutputError
from edge_sdk.board import cpio, image, system
from edge_sdk.board.modules import modules

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
needs_e2fsprogs = pytest.mark.skipif(
    shutil.which("debugfs", path=SBIN) is None, reason="e2fsprogs is not installed"
)


def unpacked(data: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    """Read an archive back as the kernel's documentation describes it."""
    found, at = [], 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, length = fields[6], fields[11]
        name = data[at + 110 : at + 109 + length].decode()
        assert data[at + 109 + length] == 0
        begin = at + -(-(110 + length) // 4) * 4
        found.append((name, fields[1], data[begin : begin + size], (fields[2], fields[3])))
        at = begin + -(-size // 4) * 4
    return found


def test_an_archive_holds_what_it_was_given_and_is_roots() -> None:
    entries = [cpio.folder("bin"), cpio.file("bin/a", b"12345", 0o755), cpio.file("b", b"")]
    found = unpacked(cpio.archive(entries))
    assert [name for name, *_ in found] == ["bin", "bin/a", "b", "TRAILER!!!"]
    assert found[0][1] == stat.S_IFDIR | 0o755
    assert found[1][1:3] == (stat.S_IFREG | 0o755, b"12345")
    assert {owner for *_, owner in found} == {(0, 0)}
    assert len(unpacked(cpio.archive(entries) + cpio.archive(entries))) == 8


def module(folder: Path, path: str, depends: str | None = None) -> None:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    said = b"" if depends is None else b"\0depends=" + depends.encode() + b"\0name=x\0"
    content = b"ELF" + said
    place.write_bytes(lzma.compress(content) if place.suffix == ".xz" else content)


def test_modules_come_after_what_they_need(tmp_path: Path) -> None:
    module(tmp_path, "net/virtio_net.ko", "net_failover,virtio_ring")
    module(tmp_path, "net/net_failover.ko.xz", "failover")
    module(tmp_path, "core/failover.ko", "")
    module(tmp_path, "hw/virtio-rng.ko", "virtio_ring")
    module(tmp_path, "other/unwanted.ko", "virtio_ring")
    module(tmp_path, "virtio/virtio_ring.ko")
    found = modules(tmp_path, ("virtio_net", "virtio_rng", "built_in"))
    names = [name for name, _ in found]
    assert names == ["failover", "net_failover", "virtio_ring", "virtio_net", "virtio_rng"]
    assert {content[:3] for _, content in found} == {b"ELF"}


def test_a_module_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    module(tmp_path, "a/ext4.ko.zst")
    with pytest.raises(EdgeError, match="compressed in a way that is not known"):
        modules(tmp_path, ("ext4",))


@needs_e2fsprogs
def test_a_disk_belongs_to_root_whoever_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = tmp_path / "stage"
    (stage / "a folder").mkdir(parents=True)
    (stage / "a folder" / 'x "y"').write_text("content")
    (stage / "link").symlink_to("a folder")
    if os.geteuid() == 0:
        for path in (stage / "a folder", stage / "a folder" / 'x "y"', stage / "link"):
            os.chown(path, 1234, 1234, follow_symlinks=False)
        monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(image, "DISK_MB", 16)
    disk = tmp_path / "disk"
    image._format(stage, disk)
    for name in ("/", "/a folder", '/a folder/x ""y""', "/link"):
        command = [shutil.which("debugfs", path=SBIN) or "", "-R", f'stat "{name}"', str(disk)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert re.search(r"User:\s+0\s+Group:\s+0\b", said), (name, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "stage"]
    assert disk.stat().st_blocks * 512 < 4 << 20, "holes are not written"


@needs_e2fsprogs
def test_a_disk_that_is_too_small_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "big").write_bytes(os.urandom(9 << 20))
    monkeypatch.setattr(image, "DISK_MB", 8)
    with pytest.raises(OutputError, match="mke2fs cannot make"):
        image._format(stage, tmp_path / "disk")


def test_without_e2fsprogs_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingError, match="apt-get install e2fsprogs"):
        image.board_image("aarch64", "bookworm", "linux-image-cloud-arm64")


def test_a_tree_is_linked_without_what_is_left_out(tmp_path: Path) -> None:
    for name in ("boot/vmlinuz", "usr/lib/modules/x.ko", "usr/bin/python3", "etc/kept"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name)
    (tmp_path / "root/bin").symlink_to("usr/bin")
    image._link(tmp_path / "root", tmp_path / "stage")
    stage = tmp_path / "stage"
    found = {
        os.path.relpath(os.path.join(at, name), stage)
        for at, _, names in os.walk(stage)
        for name in names
    }
    assert found == {"usr/bin/python3", "etc/kept"}
    assert (stage / "bin").is_symlink()
    assert (stage / "etc/kept").stat().st_ino == (tmp_path / "root/etc/kept").stat().st_ino


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
@pytest.mark.parametrize("script", [system.FIRST, *system.PROGRAMS.values()])
def test_the_boards_scripts_are_scripts(script: str) -> None:
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
