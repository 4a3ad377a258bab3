"""From a lock to a folder: wheels are fetched once, checked, and unpacked without their scripts."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, OutputError, RequestError
from edge_sdk.wheels import _pip, site
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.site import download, site_folder
from edge_sdk.wheels.tags import Platform
from runtime.wheel_file import sha256
from tests.edge_sdk.wheels.tiny import Tiny, write_wheel

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER = f"3.{sys.version_info[1] + 1}"


def lock_of(*files: Path, python: str = HERE) -> Lock:
    wheels = []
    for file in files:
        name, version = file.name.split("-")[:2]
        digest = sha256(file)
        wheels.append(Wheel(name.replace("_", "-"), version, file.name, digest))
    return Lock("some-board", Platform("aarch64", python, "glibc 2.36"), tuple(wheels))


@pytest.fixture
def fetched(index: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the index, which gives what lies in the test's folder."""
    asked: list[str] = []

    def fetch(line: str, platform: Platform, folder: Path) -> None:
        asked.append(line)
        name = line.rpartition("# ")[2].split()[0]
        shutil.copy(index / name, folder)

    monkeypatch.setattr(_pip, "fetch", fetch)
    return asked


def test_pip_fetches_what_the_lock_says(index: Path, tmp_path: Path) -> None:
    """The real pip, and a program that imports what was unpacked."""
    lock = lock_of(write_wheel(index, Tiny("some-engine", "1.0")))
    folder = site_folder(lock)
    (index / lock.wheels[0].file).unlink()
    code = "import some_engine, importlib.metadata as m; print(m.version('some-engine'))"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1.0\n"
    assert download(lock, tmp_path / "wheelhouse")[0].is_file()


def test_pip_tells_other_bytes_under_the_same_name(index: Path) -> None:
    file = write_wheel(index, Tiny("some-engine", "1.0"))
    lock = lock_of(file)
    write_wheel(index, Tiny("some-engine", "1.0", files={"more.py": ""}))
    with pytest.raises(RequestError, match="other bytes than the lock says") as caught:
        site_folder(lock)
    assert "\n" not in str(caught.value)


def test_a_folder_is_made_once(index: Path, fetched: list[str], cache: Path) -> None:
    lock = lock_of(
        write_wheel(index, Tiny("some-engine", "1.0")), write_wheel(index, Tiny("numpy", "2.4.6"))
    )
    first = site_folder(lock)
    stamp = (first / "numpy.py").stat().st_mtime_ns
    assert site_folder(replace(lock, profile="another-board", notes=("x",))) == first
    assert (first / "numpy.py").stat().st_mtime_ns == stamp
    assert len(fetched) == 2
    shutil.rmtree(first)
    assert site_folder(lock) == first
    assert len(fetched) == 2, "the wheels are in the cache"
    assert [path.name for path in (cache / "sites").glob("[!.]*")] == [lock.digest]


def test_modules_are_compiled_for_a_device_with_this_python(
    index: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # where other Pythons are
    files = {"pkg/tests/test_x.py": "1\n", "pkg/broken.py": "def (:\n", "pkg/__init__.py": ""}
    file = write_wheel(index, Tiny("some-engine", "1.0", files=files))
    compiled = list(site_folder(lock_of(file)).rglob("*.pyc"))
    assert {path.name.split(".")[0] for path in compiled} == {"some_engine", "__init__"}
    assert all(path.read_bytes()[4:8] == b"\x01\0\0\0" for path in compiled), "PEP 552: unchecked"
    assert not list(site_folder(lock_of(file, python=OTHER)).rglob("*.pyc"))


def test_only_what_is_imported_is_unpacked(index: Path, fetched: list[str]) -> None:
    inside = {"purelib/pure.py": "", "platlib/plat.py": "", "scripts/run": "", "data/etc/x": ""}
    files = {f"some_engine-1.0.data/{name}": text for name, text in inside.items()}
    folder = site_folder(lock_of(write_wheel(index, Tiny("some-engine", "1.0", files=files))))
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "some_engine.py",
        "pure.py",
        "plat.py",
    }


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "a\\..\\evil.py"])
def test_a_wheel_that_leaves_its_folder_is_refused(
    name: str, index: Path, fetched: list[str], cache: Path
) -> None:
    lock = lock_of(write_wheel(index, Tiny("some-engine", "1.0", files={name: "x"})))
    with pytest.raises(RequestError, match="leaves its folder; refused"):
        site_folder(lock)
    assert not list(cache.rglob("evil.py"))
    assert not (cache / "sites" / lock.digest).exists()


def test_a_link_in_a_wheel_is_refused(index: Path, fetched: list[str]) -> None:
    file = write_wheel(index, Tiny("some-engine", "1.0"))
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(RequestError, match="'link', which leaves its folder"):
        site_folder(lock_of(file))


def _changed(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def _no_zip(file: Path) -> None:
    file.write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "locked_after", "why"),
    [(_changed, False, "does not have the SHA-256 of the lock"), (_no_zip, True, "is not a wheel")],
)
def test_a_bad_file_is_refused_and_not_kept(
    change: Callable[[Path], None],
    locked_after: bool,
    why: str,
    index: Path,
    fetched: list[str],
) -> None:
    file = write_wheel(index, Tiny("some-engine", "1.0"))
    lock = lock_of(file)
    change(file)
    lock = lock_of(file) if locked_after else lock
    with pytest.raises(RequestError, match=why):
        site_folder(lock)
    with pytest.raises(RequestError, match=why):
        site_folder(lock)


def test_a_full_disk_is_one_line(
    index: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_of(write_wheel(index, Tiny("some-engine", "1.0")))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(site, "unpack", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        site_folder(lock)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()


def test_a_wheelhouse_is_completed(index: Path, fetched: list[str], tmp_path: Path) -> None:
    lock = lock_of(
        write_wheel(index, Tiny("some-engine", "1.0")), write_wheel(index, Tiny("numpy", "2.4.6"))
    )
    house = tmp_path / "a" / "house"
    paths = download(lock, house)
    assert [path.name for path in paths] == [wheel.file for wheel in lock.wheels]
    paths[0].write_bytes(b"damaged")
    stamp = paths[1].stat().st_mtime_ns
    assert download(lock, house) == paths
    assert sha256(paths[0]) == lock.wheels[0].sha256
    assert paths[1].stat().st_mtime_ns == stamp
    assert sorted(house.iterdir()) == sorted(paths)
    (tmp_path / "file").touch()
    with pytest.raises(EdgeError, match="cannot be written"):
        download(lock, tmp_path / "file" / "house")
