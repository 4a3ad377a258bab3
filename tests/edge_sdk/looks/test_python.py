from __future__ import annotations

import sys
from pathlib import Path

import pytest

from device_profiles.profile import load
from edge_sdk.looks import python as looks
from runtime.host import Host
from tests.edge_sdk.looks.scenes import only, scene

PI = load("raspberry-pi-4b")


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.sys, "version_info", (3, 9, 2))
    found = only(looks.look_at_version, scene())
    assert (found.level, found.remedy) == ("fault", "install Python 3.10 or newer")


def test_a_python_that_the_profile_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.sys, "version_info", (3, 12, 1))
    found = only(looks.look_at_version, scene(profile=PI))
    assert found.level == "note"
    assert "3.11" in found.detail
    assert only(looks.look_at_version, scene()).level == "ok"


@pytest.mark.parametrize(
    ("kernel", "bytes_", "profile", "level", "words"),
    [
        ("aarch64", 8, None, "ok", "aarch64"),
        ("aarch64", 4, None, "note", "armv7l Python on aarch64 kernel"),
        ("aarch64", 4, "raspberry-pi-4b", "fault", "the profile is for aarch64"),
        ("aarch64", 4, "raspberry-pi-2b", "note", "armv7l Python on aarch64 kernel"),
        ("x86_64", 8, "raspberry-pi-4b", "fault", "x86_64 Python on x86_64"),
        ("armv8l", 4, "raspberry-pi-2b", "note", "armv7l"),
    ],
)
def test_architectures(
    kernel: str,
    bytes_: int,
    profile: str | None,
    level: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(looks, "host", lambda: Host(kernel, frozenset()))
    monkeypatch.setattr(looks.struct, "calcsize", lambda code: bytes_)
    found = only(looks.look_at_bits, scene(profile=load(profile) if profile else None))
    assert found.level == level
    assert words in found.detail
    assert ("64-bit" in found.remedy) is (level != "ok" and bytes_ == 4)
    assert ("--on emulated:" in found.remedy) is (kernel == "x86_64")


def test_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "virtual" in only(looks.look_at_environment, scene()).detail
    monkeypatch.setattr(looks.sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(looks.sysconfig, "get_path", lambda name: str(tmp_path))
    assert only(looks.look_at_environment, scene()).level == "ok"
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    found = only(looks.look_at_environment, scene())
    assert (found.level, "PEP 668" in found.detail) == ("note", True)
    assert found.remedy.startswith("python3 -m venv --system-site-packages")


@pytest.mark.parametrize(
    ("libc", "level", "words"),
    [
        ("glibc 2.36", "ok", "up to manylinux_2_36"),
        ("glibc 2.27", "note", "2.28 or newer"),
        ("glibc 2.31", "note", "the profile's is glibc 2.36"),
        ("", "fault", "no glibc: wheels for manylinux do not load"),
    ],
)
def test_libc(libc: str, level: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "libc", lambda: libc)
    found = only(looks.look_at_libc, scene(profile=PI))
    assert (found.level, words in found.detail) == (level, True)
    assert bool(found.remedy) is (level != "ok")


def test_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "host", lambda path: Host("x86_64", frozenset({"avx2"})))
    assert "saturate" in only(looks.look_at_cpu, scene()).detail
    monkeypatch.setattr(looks, "host", lambda path: Host("aarch64", frozenset({"neon"})))
    assert only(looks.look_at_cpu, scene(profile=PI)).level == "ok"
    found = only(looks.look_at_cpu, scene(profile=load("raspberry-pi-5")))
    assert (found.level, "dotprod" in found.detail) == ("fault", True)


def test_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.locale, "getpreferredencoding", lambda set_it: "UTF-8")
    assert looks.look_at_encoding(scene()) == []
    monkeypatch.setattr(looks.locale, "getpreferredencoding", lambda set_it: "ANSI_X3.4-1968")
    assert only(looks.look_at_encoding, scene()).remedy == "export LC_ALL=C.UTF-8"
