"""A Debian root: what apt is asked, what becomes of the packages, what is said of failures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from device_profiles.errors import MissingError, OutputError
from edge_sdk.emulation import debian
from edge_sdk.emulation.debian import debian_root

# Stands for apt: writes down what it is asked, and gives a package that is no package.
APT = """#!/bin/sh
echo "$*" >> "$FAKE/asked"
case "$*" in
*indextargets*) [ -f "$FAKE/mirror" ] && cat "$FAKE/mirror";;
*update*)
  if [ -f "$FAKE/offline" ]; then
    echo "W: something" >&2
    echo "E: Failed to fetch http://mirror: no route" >&2
    exit 100
  fi;;
*--print-uris*)
  echo "'http://m/p_2%2bb1.deb' python3_3.11.2-1+b1_arm64.deb 20 MD5Sum:0"
  echo "'http://m/libc6_1%3a2.36-9_arm64.deb' libc6_1%3a2.36-9_arm64.deb 10 MD5Sum:0";;
*--download-only*) cp "$3" "$FAKE/conf"; d=$(dirname "$3"); cp "$d/sources.list" "$FAKE/sources"
  touch "$d/archives/a.deb";;
esac
"""
DPKG = """#!/bin/sh
mkdir -p "$3"; cp -a "$FAKE/package/." "$3"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of what the stand-ins are asked and give."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "key.gpg").touch()
    monkeypatch.setattr(debian, "_KEYRINGS", (tmp_path / "none.gpg", tmp_path / "key.gpg"))
    monkeypatch.setattr(debian, "compile_modules", lambda place, python: None)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    _package(tmp_path / "package")
    return tmp_path


def _package(place: Path) -> None:
    """Lay out what packages of Debian 12 hold: both of the roots, and a link of each kind."""
    for name in ("lib/arm", "usr/lib/arm/lapack", "usr/lib/arm/gconv", "usr/bin", "usr/share/doc"):
        (place / name).mkdir(parents=True)
    (place / "lib/arm/libc.so.6").write_text("libc")
    (place / "lib/ld.so").symlink_to("arm/ld.so.1")
    (place / "usr/lib/arm/libm.so").symlink_to("/lib/arm/libm.so.6")
    (place / "usr/lib/arm/lapack/liblapack.so.3").write_text("lapack")
    (place / "usr/lib/arm/gconv/big5.so").touch()
    (place / "usr/bin/python3.11").write_text("python")
    (place / "usr/bin/python3").symlink_to("python3.11")


def test_a_root_is_made_once_and_tells_what_is_in_it(fake: Path) -> None:
    root = debian_root("aarch64", "bookworm", ["python3-numpy"])
    assert root.packages == ("libc6=1:2.36-9", "python3=3.11.2-1+b1")
    assert (root.python.read_text(), root.python_version) == ("python", "3.11")
    asked = (fake / "asked").read_text()
    assert "install libgomp1 libpython3-stdlib libstdc++6 python3-minimal python3-numpy" in asked
    (fake / "offline").touch()
    assert debian_root("aarch64", "bookworm", ["python3-numpy"]) == root
    assert (fake / "asked").read_text() == asked
    with pytest.raises(MissingError):  # another set of packages is another root
        debian_root("aarch64", "bookworm")


def test_the_root_is_merged_and_its_links_stay_inside(fake: Path) -> None:
    root = debian_root("aarch64", "bookworm").path
    assert os.readlink(root / "lib") == "usr/lib"
    assert (root / "lib/arm/libc.so.6").read_text() == "libc"
    assert os.readlink(root / "usr/lib/ld.so") == "arm/ld.so.1"
    assert os.readlink(root / "usr/lib/arm/libm.so") == "../../../lib/arm/libm.so.6"
    assert (root / "usr/lib/arm/liblapack.so.3").read_text() == "lapack"
    assert not (root / "usr/lib/arm/gconv").exists()
    assert not (root / "usr/share").exists()
    assert (root / "etc/ld.so.cache").read_bytes() == b""  # not this machine's
    assert sorted(path.name for path in root.parent.iterdir()) == ["packages", "root"]


def test_apt_has_a_state_of_its_own_and_checks_signatures(fake: Path) -> None:
    debian_root("armv7l", "trixie")
    source = (fake / "sources").read_text()
    key = fake / "key.gpg"
    assert source == f"deb [signed-by={key}] http://deb.debian.org/debian trixie main\n"
    conf = (fake / "conf").read_text()
    assert 'APT::Architectures { "armhf"; };' in conf
    for line in [line for line in conf.splitlines() if line.startswith("Dir::")]:
        value = json.loads(line.split(maxsplit=1)[1].rstrip(";"))
        assert value == "" or value.startswith(str(fake / "cache/debian")), line


def test_the_mirror_of_this_machine_is_used(fake: Path) -> None:
    lines = ["Google|X|http://x/", "Debian|Debian-Security|http://s/", "Debian|Debian|http://m/d/"]
    (fake / "mirror").write_text("\n".join(lines) + "\n")
    debian_root("aarch64", "bookworm")
    assert " http://m/d bookworm main" in (fake / "sources").read_text()


def test_without_a_network_nothing_is_left_and_the_reason_is_given(fake: Path) -> None:
    (fake / "offline").touch()
    with pytest.raises(MissingError, match=r"Failed to fetch http://mirror: no route; see the net"):
        debian_root("aarch64", "bookworm")
    left = [path for path in (fake / "cache/debian").iterdir() if path.suffix != ".lock"]
    assert left == []


def test_a_full_disk_is_no_missing_network(fake: Path) -> None:
    text = APT.replace("no route", "write (28: No space left on device)")
    (fake / "programs/apt-get").write_text(text)
    (fake / "offline").touch()
    with pytest.raises(OutputError, match=r"the disk is full.*EDGE_SDK_CACHE"):
        debian_root("aarch64", "bookworm")


def test_what_is_missing_here_is_named(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_KEYRINGS", (fake / "none.gpg",))
    with pytest.raises(MissingError, match="apt-get install debian-archive-keyring"):
        debian_root("aarch64", "bookworm")
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "dpkg-deb" else found(name))
    with pytest.raises(MissingError, match=r"dpkg-deb is not here.*apt-get install dpkg "):
        debian_root("aarch64", "bookworm")
