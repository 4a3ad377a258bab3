"""Wheelhouses: whole or not at all, by the profile's pins, and used without a network."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, OutputError, RequestError
from device_profiles.profile import Profile, load
from edge_sdk.cli import main
from edge_sdk.shipping import device_wheel as module
from edge_sdk.shipping.device_wheel import device_wheel
from edge_sdk.wheels import _pip
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.tags import platform_of
from edge_sdk.workflows.wheelhouse import device_environment, open_wheelhouse, wheelhouse
from runtime.lock_text import read_lock
from runtime.wheel_file import sha256
from tests.edge_sdk.wheels.tiny import Tiny, write_wheel

NAMES = ["ai-edge-litert", "edge-sdk", "numpy", "onnxruntime", "opencv-python-headless"]


@pytest.fixture(autouse=True)
def our_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small packages in the place of ours, which nobody edits meanwhile."""
    home = tmp_path / "ours"
    for name in module.PACKAGES:
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"NAME = {name!r}\n")
    monkeypatch.setattr(module, "package_home", home.joinpath)


@pytest.fixture
def asked(filled: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the index, which gives what lies in its folder at once."""
    lines: list[str] = []

    def fetch(line: str, _: object, folder: Path) -> None:
        lines.append(line)
        shutil.copy(filled / line.rpartition("# ")[2].split()[0], folder)

    monkeypatch.setattr(_pip, "fetch", fetch)
    return lines


@pytest.fixture
def lock(filled: Path, asked: list[str], board: Profile, tmp_path: Path) -> Path:
    """A complete lock in a file, as `resolve` makes one."""
    wheels = []
    for path in filled.iterdir():
        name, version = path.name.split("-")[:2]
        if (name, version) != ("onnxruntime", "1.21.0"):
            wheels.append(Wheel(name.replace("_", "-"), version, path.name, sha256(path)))
    file = tmp_path / "lock.txt"
    file.write_text(Lock(board.name, platform_of(board), tuple(wheels)).to_text())
    return file


@pytest.fixture
def house(lock: Path, filled: Path, board: Profile, tmp_path: Path) -> Path:
    """A wheelhouse, with neither an index nor a cache any more."""
    wheelhouse(board, tmp_path / "house", lock=lock)
    shutil.rmtree(tmp_path / "cache" / "wheels")
    for wheel in filled.iterdir():
        wheel.unlink()
    return tmp_path / "house"


def state(folder: Path) -> dict[str, tuple[int, str]]:
    return {path.name: (path.stat().st_mtime_ns, sha256(path)) for path in folder.iterdir()}


def test_it_holds_all_that_is_installed(filled: Path, board: Profile, tmp_path: Path) -> None:
    made = wheelhouse(board, tmp_path / "a" / "house")
    assert [wheel.name for wheel in made.lock.wheels] == NAMES
    assert made.lock.version_of("onnxruntime") == "1.20.1", "1.21.0 is pinned away"
    assert made.lock.version_of("edge-sdk") == device_wheel().version
    text = made.lock_path.read_text()
    assert Lock.from_text(text) == made.lock and len(read_lock(text).wheels) == len(NAMES)
    assert sorted(path.name for path in made.folder.iterdir()) == sorted(
        ["lock.txt", *(wheel.file for wheel in made.lock.wheels)]
    )
    assert made.size == sum(wheel.size or 0 for wheel in made.lock.wheels) < made.unpacked


def test_pip_installs_from_it_alone(house: Path, board: Profile, tmp_path: Path) -> None:
    lock = open_wheelhouse(house, board).lock
    options = ["--no-index", "--find-links", str(house), "--require-hashes"]
    options += ["--target", str(tmp_path / "target"), *lock.platform.pip_options]
    command = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "install",
        *options,
        "-r",
        str(house / "lock.txt"),
    ]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    subprocess.run(
        [*command, "-r", str(house / "lock.txt")],
        env=variables | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        check=True,
    )
    there = {path.name for path in (tmp_path / "target").iterdir()}
    assert {"numpy.py", "onnxruntime.py", "edge_sdk", "runtime"} <= there


def test_nothing_is_fetched_again(
    house: Path, board: Profile, lock: Path, asked: list[str]
) -> None:
    before, count = state(house), len(asked)
    wheelhouse(board, house, lock=lock)
    assert len(asked) == count == len(NAMES) - 1
    after = state(house)
    assert {name: found for name, found in after.items() if name != "lock.txt"} == {
        name: found for name, found in before.items() if name != "lock.txt"
    }
    assert after["lock.txt"][1] == before["lock.txt"][1]


def test_a_pin_holds_and_says_why(
    filled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "w"
    words = ["wheelhouse", "--profile", "raspberry-pi-4b", "onnxruntime==1.21.0", "-o", str(into)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "onnxruntime==1.21.0 is refused for raspberry-pi-4b" in said
    assert "illegal instruction" in said and said.count("\n") == 1
    assert not into.exists()


def test_what_was_chosen_is_told(
    lock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "w"
    words = ["wheelhouse", "--profile", "raspberry-pi-4b", "-o", str(into)]
    words += ["--lock", str(lock)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [wheel["name"] for wheel in told["wheels"]] == NAMES
    assert told["lock"] == str(into / "lock.txt") and told["others"] == []
    assert "illegal instruction" in told["wheels"][3]["reason"]
    write_wheel(into, Tiny("mine", "1.0"))
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "not of this lock, and left alone: mine-1.0-py3-none-any.whl" in text
    assert "pinned to !=1.21.0" in text
    assert (into / "mine-1.0-py3-none-any.whl").is_file()


def test_requirements_add_and_narrow(
    filled: Path, asked: list[str], board: Profile, tmp_path: Path
) -> None:
    write_wheel(filled, Tiny("paho-mqtt", "2.1"))
    write_wheel(filled, Tiny("numpy", "2.5.0", "cp311-cp311-manylinux_2_28_aarch64"))
    lock = wheelhouse(board, tmp_path / "house", ["paho-mqtt", "numpy==2.4.6"]).lock
    assert (lock.version_of("paho-mqtt"), lock.version_of("numpy")) == ("2.1", "2.4.6")


def test_a_lock_says_it_all(house: Path, board: Profile, tmp_path: Path) -> None:
    """The lock of an older wheelhouse, whose device wheel gives way to the one of today."""
    older = Lock.from_text((house / "lock.txt").read_text())
    old = Wheel("edge-sdk", "0.0.1", "edge_sdk-0.0.1-py3-none-any.whl", "0" * 64)
    older = replace(older, wheels=(*(w for w in older.wheels if w.name != "edge-sdk"), old))
    (tmp_path / "older.txt").write_text(older.to_text())
    made = wheelhouse(board, house, lock=tmp_path / "older.txt")
    assert made.lock.version_of("edge-sdk") == device_wheel().version
    with pytest.raises(RequestError, match="leave it or the requirements out"):
        wheelhouse(board, house, ["numpy"], lock=tmp_path / "older.txt")


@pytest.mark.parametrize("there", [False, True])
def test_where_an_index_fails_nothing_is_new(
    there: bool, lock: Path, asked: list[str], filled: Path, board: Profile, tmp_path: Path
) -> None:
    into, away = tmp_path / "house", tmp_path / "away"
    if there:
        into.mkdir()
        write_wheel(into, Tiny("mine", "1.0"))
        (into / "lock.txt").write_text("# an older one\n")
    before = state(into) if there else {}
    (numpy,) = filled.glob("numpy*")
    shutil.move(numpy, away)
    with pytest.raises(EdgeError):
        wheelhouse(board, into, lock=lock)
    assert into.exists() == there and (not there or state(into) == before)
    shutil.move(away, numpy)
    wheelhouse(board, into, lock=lock)
    names = [line.partition("==")[0] for line in asked]
    assert names.count("ai-edge-litert") == 1, "what was fetched is not fetched again"


def test_where_the_disk_is_full_nothing_is_new(
    lock: Path, board: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = shutil.copyfile, 0

    def full(source: Path, path: Path) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, path)

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr(shutil, "copy", lambda source, into: real(source, into / source.name))
    with pytest.raises(OutputError, match="No space left on device"):
        wheelhouse(board, tmp_path / "house", lock=lock)
    assert not (tmp_path / "house").exists()


def test_an_open_one_is_verified(house: Path, board: Profile) -> None:
    write_wheel(house, Tiny("mine", "1.0"))
    opened = open_wheelhouse(house, board, "3.11")
    assert [wheel.name for wheel in opened.lock.wheels] == NAMES
    assert opened.others == ("mine-1.0-py3-none-any.whl",)
    assert all(path.is_file() for path in opened.wheels.values())


def _flip(house: Path) -> None:
    (file,) = house.glob("numpy*")
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)


def _lose(house: Path) -> None:
    next(house.glob("onnxruntime*")).unlink()


def _no_lock(house: Path) -> None:
    (house / "lock.txt").unlink()


def _open_lock(house: Path) -> None:
    text = (house / "lock.txt").read_text()
    (house / "lock.txt").write_text(f"{text}onnx==1.0\n")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_flip, "numpy-2.4.6.* is not what lock.txt says; remove it"),
        (_lose, "lacks onnxruntime-1.20.1"),
        (_no_lock, "is no wheelhouse, its lock.txt cannot be read; make it: edge-sdk wheelhouse"),
        (_open_lock, "names no file"),
    ],
)
def test_one_that_is_not_whole_is_refused(
    change: Callable[[Path], None], why: str, house: Path, board: Profile
) -> None:
    change(house)
    with pytest.raises(RequestError, match=why) as caught:
        open_wheelhouse(house, board)
    assert "\n" not in str(caught.value)


def test_one_of_another_device_or_python_is_refused(house: Path, board: Profile) -> None:
    with pytest.raises(RequestError, match="is for raspberry-pi-4b, not raspberry-pi-5"):
        open_wheelhouse(house, load("raspberry-pi-5"))
    with pytest.raises(RequestError, match=r"is for Python 3.11, not 3.13; .* --python 3.13"):
        open_wheelhouse(house, board, "3.13")
    other = replace(board, hardware=replace(board.hardware, arch="armv7l"))
    with pytest.raises(RequestError, match=r"does not fit Python 3.11 on armv7l"):
        open_wheelhouse(house, other)


def test_a_flash_takes_it_from_the_cache(lock: Path, board: Profile) -> None:
    found = device_environment(board, "3.11", lock=lock)
    assert [wheel.name for wheel in found.lock.wheels] == NAMES
    for wheel in found.lock.wheels:
        assert sha256(found.wheels[wheel.file]) == wheel.sha256
        assert found.wheels[wheel.file].stat().st_size == wheel.size
    assert found.device == device_wheel() and found.unpacked > found.device.size


def test_a_flash_takes_it_from_a_wheelhouse(house: Path, board: Profile) -> None:
    found = device_environment(board, "3.11", wheelhouse=house)
    for wheel in found.lock.wheels:
        path = found.wheels[wheel.file]
        assert sha256(path) == wheel.sha256 and (path.parent == house) == (wheel.name != "edge-sdk")
    _flip(house)
    with pytest.raises(EdgeError, match=r"is not what lock.txt says"):
        device_environment(board, "3.11", wheelhouse=house)
