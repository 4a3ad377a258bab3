"""Environments: whole or not at all, from verified wheels, by Python's standard library alone."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, OutputError, ReleaseError, RequestError
from runtime.agent import environment
from runtime.agent.environment import Wanted, build, complete, key
from runtime.wheel_file import unpacked_bytes
from tests.edge_sdk.wheels.tiny import Tiny, write_wheel
from tests.runtime.agent.environments import HERE, RUNTIME, ask, lock_of, silent

BROKEN = "raise ImportError('libopenblas.so: no such file')\n"
DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder, Tiny("numpy", "1.0", files={"pkg/broken.py": "def (:\n"}))
    write_wheel(folder, Tiny("edge-sdk", "1.0+device.x", files=RUNTIME))
    return folder


@pytest.fixture
def wanted(wheels: Path, tmp_path: Path) -> Wanted:
    text = lock_of(wheels).to_text()
    return Wanted(text, wheels, tmp_path / "environments" / key(text))


def remade(wanted: Wanted, **changes: object) -> Wanted:
    return replace(wanted, lock_text=lock_of(wanted.wheels).to_text(), **changes)  # type: ignore[arg-type]


def untouched(wanted: Wanted) -> bool:
    return not wanted.place.parent.exists() or not list(wanted.place.parent.iterdir())


def test_an_environment_is_made(wanted: Wanted) -> None:
    before = os.umask(0o077)
    said: list[str] = []
    try:
        build(wanted, said.append)
    finally:
        os.umask(before)
    place = wanted.place
    assert complete(place) and list(place.parent.iterdir()) == [place]
    assert ask(place, "import sys; print(sys.prefix)") == str(place)
    assert ask(place, "import numpy; print(numpy.VERSION)") == "1.0"
    assert ask(place, "import importlib.metadata as m; print(m.version('edge-sdk'))") == (
        "1.0+device.x"
    )
    compiled = list(place.rglob("*.pyc"))
    assert {path.name.split(".")[0] for path in compiled} == {"numpy", "edge_sdk", "bundle"} | {
        "__init__"
    }
    assert all(path.read_bytes()[4:8] == b"\x01\0\0\0" for path in compiled), "PEP 552: unchecked"
    for path in place.rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, "whatever the umask, the service reads it"
    assert [line.split()[0] for line in said] == [
        "verifying",
        "unpacking",
        "unpacking",
        "compiling",
        "starting",
    ]
    stamps = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    build(wanted, said.append)
    assert stamps == {path: path.stat().st_mtime_ns for path in place.rglob("*")}


def test_its_place_may_be_said_from_here(
    wanted: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build(replace(wanted, place=wanted.place.relative_to(tmp_path)), silent)
    assert complete(wanted.place)


def test_its_name_says_what_is_in_it(wanted: Wanted, wheels: Path) -> None:
    lock = lock_of(wheels)
    assert key(lock.to_text()) == lock.digest[:32] == wanted.place.name
    assert key(replace(lock, profile="other", notes=("x",)).to_text()) == wanted.place.name
    assert key(lock.to_text(), system_site=True) == f"{wanted.place.name}-system"
    write_wheel(wheels, Tiny("more", "1.0"))
    assert key(lock_of(wheels).to_text()) != wanted.place.name


@pytest.mark.parametrize("system_site", [False, True])
def test_the_packages_of_the_system_are_seen_when_wanted(wanted: Wanted, system_site: bool) -> None:
    wanted = replace(wanted, system_site=system_site)
    build(wanted, silent)
    code = "import sys, sysconfig; print(any('site-packages' in p and not p.startswith(sys.prefix)"
    assert ask(wanted.place, f"{code} for p in sys.path))") == str(system_site)


def _gone(wheel: Path) -> None:
    wheel.unlink()


def _longer(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"x")


def _flipped(wheel: Path) -> None:
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    wheel.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "why"),
    [(_gone, "was not sent"), (_longer, "not what its lock says"), (_flipped, "not what its lock")],
)
def test_wheels_are_verified_before_anything_is_written(
    change: Callable[[Path], None], why: str, wanted: Wanted
) -> None:
    change(next(wanted.wheels.glob("numpy*")))
    with pytest.raises(RequestError, match=why):
        build(wanted, silent)
    assert untouched(wanted)


def test_another_python_is_refused_before_anything_is_written(wanted: Wanted) -> None:
    text = lock_of(wanted.wheels, python="3.9").to_text()
    with pytest.raises(RequestError, match=f"for Python 3.9 and this device has {HERE}"):
        build(replace(wanted, lock_text=text), silent)
    assert untouched(wanted)


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil.py"])
def test_a_wheel_that_leaves_its_folder_leaves_nothing(name: str, wanted: Wanted) -> None:
    write_wheel(wanted.wheels, Tiny("numpy", "1.0", files={name: ""}))
    with pytest.raises(RequestError, match="leaves its folder"):
        build(remade(wanted), silent)
    assert untouched(wanted)


def test_scripts_and_data_are_left_out_and_named(wanted: Wanted) -> None:
    files = {f"more-1.0.data/{name}": "" for name in ("scripts/run", "data/etc/x", "purelib/p.py")}
    write_wheel(wanted.wheels, Tiny("more", "1.0", files=files))
    said: list[str] = []
    build(remade(wanted), said.append)
    assert [line for line in said if line.startswith("left out")] == [
        "left out of more, as nothing here needs it: more-1.0.data/scripts/run, "
        "more-1.0.data/data/etc/x"
    ]
    assert sorted(path.name for path in (wanted.place / "bin").iterdir()) == ["python", "python3"]
    assert ask(wanted.place, "import p") == ""


def test_a_program_of_a_package_can_be_started(wanted: Wanted) -> None:
    wheel = write_wheel(wanted.wheels, Tiny("more", "1.0"))
    program = zipfile.ZipInfo("more_files/tool")
    program.external_attr = 0o100755 << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(program, "#!/bin/sh\n")
    build(remade(wanted), silent)
    (tool,) = wanted.place.rglob("tool")
    assert tool.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("numpy", "why"),
    [
        (BROKEN, r"does not start \(it printed: ImportError: libopenblas.so: no such file\)"),
        (DIES, r"crashed with SIGILL"),
    ],
)
def test_an_environment_that_does_not_start_is_not_kept(
    numpy: str, why: str, wanted: Wanted
) -> None:
    write_wheel(wanted.wheels, Tiny("numpy", "1.0", files={"numpy/__init__.py": numpy}))
    with pytest.raises(ReleaseError, match=why) as caught:
        build(remade(wanted), silent)
    assert untouched(wanted) and "\n" not in str(caught.value)


def test_what_the_system_lacks_is_named(wanted: Wanted) -> None:
    (numpy,) = wanted.wheels.glob("numpy*")
    numpy.unlink()
    lock = lock_of(wanted.wheels, system=("python3-numpy",))
    with pytest.raises(ReleaseError, match="sudo apt-get install python3-numpy"):
        build(replace(wanted, lock_text=lock.to_text()), silent)
    assert untouched(wanted)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_line(
    number: int, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(environment, "unpack", full)
    with pytest.raises(OutputError, match=os.strerror(number)) as caught:
        build(wanted, silent)
    assert untouched(wanted) and "\n" not in str(caught.value)
    assert isinstance(caught.value, EdgeError)


KILLED = """
import os, signal, sys
from pathlib import Path
from runtime.agent import environment
text, wheels, place, at = Path(sys.argv[1]).read_text(), *map(Path, sys.argv[2:4]), int(sys.argv[4])
count = 0
def step(*_):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)
def before(module, name):
    real = getattr(module, name)
    def stepped(*arguments):
        step()
        real(*arguments)
    setattr(module, name, stepped)
before(environment, "remove")
before(environment, "sync_folder")
before(os, "rename")
environment.build(environment.Wanted(text, wheels, place), step)
"""


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_killed_at_any_step_it_is_made_by_the_next(
    beside: bool, wanted: Wanted, tmp_path: Path
) -> None:
    other: list[Path] = []
    if beside:
        build(wanted, silent)
        other = [wanted.place]
        write_wheel(wanted.wheels, Tiny("edge-sdk", "1.0+device.x", files={**RUNTIME, "n.py": ""}))
        wanted = remade(wanted)
        wanted = replace(wanted, place=wanted.place.with_name(key(wanted.lock_text)))
        next(wanted.wheels.glob("numpy*")).unlink()
    (tmp_path / "lock.txt").write_text(wanted.lock_text)
    arguments = map(str, (tmp_path / "lock.txt", wanted.wheels, wanted.place))
    command = [sys.executable, "-c", KILLED, *arguments]
    root = Path(__file__).resolve().parents[3]
    code, at = -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        at += 1
        code = subprocess.run([*command, str(at)], cwd=root, check=False).returncode
        if code == -signal.SIGKILL:
            assert not wanted.place.exists() or complete(wanted.place)
            assert all(ask(place, "import numpy; print(numpy.VERSION)") == "1.0" for place in other)
            shutil.rmtree(wanted.place, ignore_errors=True)
    assert code == 0 and at > 10
    assert complete(wanted.place)
    assert set(wanted.place.parent.iterdir()) == {wanted.place, *other}


def test_what_is_not_whole_is_made_anew(wanted: Wanted, tmp_path: Path) -> None:
    build(wanted, silent)
    for spoil in (
        lambda: (wanted.place / "complete").write_text("?"),
        lambda: (wanted.place / "complete").write_bytes(b"\xff"),
        (wanted.place / "complete").unlink,
        (wanted.place / "bin" / "python").unlink,
    ):
        spoil()
        assert not complete(wanted.place)
        build(wanted, silent)
        assert complete(wanted.place)
    assert not complete(tmp_path / "nothing")


def test_what_it_takes_is_known_before(wanted: Wanted) -> None:
    files = {f"pkg/m{i}.py": "x = 1  # what it is for\n" * 1000 for i in range(20)}
    write_wheel(wanted.wheels, Tiny("numpy", "1.0", files={**files, "pkg/tests/t.py": "1\n"}))
    wanted = remade(wanted)
    build(wanted, silent)
    site = wanted.place / "lib"
    taken = sum(path.lstat().st_blocks * 512 for path in (site, *site.rglob("*")))
    assert taken <= 1.1 * sum(map(unpacked_bytes, wanted.wheels.iterdir()))
