"""A new environment takes from others the wheels that did not change: whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import OutputError, ReleaseError, RequestError
from runtime.agent import stage
from runtime.agent.environment import COMPLETE, Wanted, build, complete, held, key
from runtime.agent.facts import MARGIN_BYTES
from runtime.agent.layout import Layout
from runtime.agent.stage import Offer, receive
from runtime.agent.state import load
from runtime.bundle import file_entry
from runtime.lock_text import read_lock
from runtime.wheel_file import sha256
from tests.edge_sdk.wheels.tiny import Tiny, write_wheel
from tests.runtime.agent.environments import RUNTIME, ask, lock_of, silent
from tests.runtime.agent.releases import make_release

FILES = {"pkg/__init__.py": "A = 1\n", "pkg/data.bin": "x" * 5000, "pkg/tests/t.py": "1\n"}


def other(folder: Path, name: str, code: str) -> Path:
    """Make a wheelhouse of the same numpy and another edge-sdk."""
    folder = folder / name
    folder.mkdir()
    write_wheel(folder, Tiny("numpy", "1.0", files=FILES))
    write_wheel(folder, Tiny("edge-sdk", f"1.0+device.{name}", files={**RUNTIME, "ours.py": code}))
    return folder


def wanted_of(folder: Path, environments: Path) -> Wanted:
    text = lock_of(folder).to_text()
    return Wanted(text, folder, environments / key(text))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    """An environment, made once."""
    folder = tmp_path_factory.mktemp("made")
    wanted = wanted_of(other(folder, "a", "N = 1\n"), folder / "environments")
    build(wanted, silent)
    return wanted


@pytest.fixture
def first(tmp_path: Path, made: Wanted) -> Wanted:
    """The environment that is there already."""
    place = tmp_path / "environments" / made.place.name
    shutil.copytree(made.place, place, symlinks=True)
    return replace(made, place=place)


@pytest.fixture
def second(tmp_path: Path, first: Wanted) -> Wanted:
    """One that is to be made, of which only the changed wheel was sent."""
    wanted = wanted_of(other(tmp_path, "b", "N = 2\n"), first.place.parent)
    (wanted.wheels / "numpy-1.0-py3-none-any.whl").unlink()
    return wanted


def digest(wanted: Wanted, name: str = "numpy") -> str:
    (found,) = (w.sha256 for w in read_lock(wanted.lock_text).wheels if w.name == name)
    return found


def holds(wanted: Wanted) -> set[str]:
    """Return which wheels of `wanted` need not be sent."""
    wheels = read_lock(wanted.lock_text).wheels
    found = held(wanted.place.parent, [wheel.sha256 for wheel in wheels])
    return {wheel.name for wheel in wheels if wheel.sha256 in found}


def tree(place: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, date and content of every file."""
    return {
        str(path.relative_to(place)): (path.stat().st_mode, path.stat().st_mtime_ns, data)
        for path in place.rglob("*")
        if path.is_file() and not path.is_symlink()
        for data in [path.read_bytes()]
    }


def test_only_what_changed_is_unpacked(first: Wanted, second: Wanted) -> None:
    before = tree(first.place)
    assert holds(second) == {"numpy"}
    said: list[str] = []
    build(second, said.append)
    assert [line.split()[:2] for line in said] == [
        ["verifying", "1"],
        ["unpacking", "edge-sdk"],
        ["taking", "numpy"],
        ["compiling", "its"],
        ["starting", "its"],
    ]
    assert tree(first.place) == before, "nothing was written into what is there"
    same = {
        path.relative_to(second.place).as_posix().partition("site-packages/")[2]
        for path in second.place.rglob("*")
        if path.is_file() and path.stat().st_nlink == 2
    }
    assert {"numpy.py", "pkg/data.bin", "pkg/tests/t.py", "numpy-1.0.dist-info/RECORD"} < same
    tag = sys.implementation.cache_tag
    assert {f"__pycache__/numpy.{tag}.pyc", f"pkg/__pycache__/__init__.{tag}.pyc"} < same
    assert not any(name.startswith(("edge_sdk", "runtime", "ours")) for name in same)
    assert ask(second.place, "import numpy, ours; print(numpy.VERSION, ours.N)") == "1.0 2"
    assert ask(first.place, "import numpy, ours; print(numpy.VERSION, ours.N)") == "1.0 1"


def test_it_is_what_it_would_be_alone(second: Wanted, tmp_path: Path) -> None:
    alone = wanted_of(other(tmp_path / "environments", "b", "N = 2\n"), tmp_path / "alone")
    build(second, silent)
    build(alone, silent)

    def files(place: Path) -> dict[str, tuple[int, bytes]]:
        # Bytecode and its hashes name the folder that it was compiled in.
        named = tree(place).items()
        odd = {name for name, _ in named if name.endswith(".pyc") or name.startswith("wheels/")}
        return {name: (mode, b"" if name in odd else data) for name, (mode, _, data) in named}

    assert files(second.place) == files(alone.place)


def test_what_was_taken_is_taken_again(first: Wanted, second: Wanted, tmp_path: Path) -> None:
    build(second, silent)
    shutil.rmtree(first.place)
    third = wanted_of(other(tmp_path, "c", "N = 3\n"), first.place.parent)
    shutil.rmtree(third.wheels)
    third.wheels.mkdir()
    write_wheel(
        third.wheels, Tiny("edge-sdk", "1.0+device.c", files={**RUNTIME, "ours.py": "N = 3\n"})
    )
    assert holds(third) == {"numpy"}
    build(third, silent)
    assert ask(third.place, "import numpy, ours; print(numpy.VERSION, ours.N)") == "1.0 3"


def test_nothing_is_sent_where_all_is_there(first: Wanted, tmp_path: Path) -> None:
    """As for the same wheels with the packages of the system, or fewer of them."""
    place = first.place.with_name(f"{first.place.name}-system")
    wanted = replace(first, wheels=tmp_path / "nothing", place=place, system_site=True)
    said: list[str] = []
    build(wanted, said.append)
    assert complete(place) and {line.split()[0] for line in said} == {"taking", "starting"}


def site(place: Path) -> Path:
    (found,) = place.glob("lib/*/site-packages")
    return found


def rewritten(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode & 0o777
    path.unlink()
    path.write_bytes(data)
    path.chmod(mode)


def _file(place: Path) -> None:
    rewritten(site(place) / "pkg" / "data.bin", b"y" + b"x" * 4999)


def _shorter(place: Path) -> None:
    rewritten(site(place) / "pkg" / "data.bin", b"")


def _missing(place: Path) -> None:
    (site(place) / "pkg" / "tests" / "t.py").unlink()


def _bytecode(place: Path) -> None:
    (path,) = site(place).glob("__pycache__/numpy.*.pyc")
    rewritten(path, path.read_bytes()[:-1] + b"?")


def _unreadable(place: Path) -> None:
    (site(place) / "numpy.py").chmod(0o600)


def _link(place: Path) -> None:
    path = site(place) / "numpy.py"
    path.rename(path.with_name("there.py"))
    path.symlink_to("there.py")


def _record(place: Path) -> Path:
    (path,) = (path for path in (place / "wheels").iterdir() if b"numpy.py" in path.read_bytes())
    return path


def _no_record(place: Path) -> None:
    _record(place).unlink()


def _torn_record(place: Path) -> None:
    rewritten(_record(place), _record(place).read_bytes()[:-20])


def _flipped_record(place: Path) -> None:
    rewritten(_record(place), _record(place).read_bytes().replace(b"pkg/data.bin", b"pkg/data.bim"))


def _other_python(place: Path) -> None:
    path = _record(place)
    fields = json.loads(path.read_bytes().partition(b"\n")[2])
    data = json.dumps({**fields, "python": "cpython-39"}).encode()
    rewritten(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def _not_complete(place: Path) -> None:
    (place / COMPLETE).unlink()


def _no_python(place: Path) -> None:
    (place / "bin" / "python").unlink()


def _draft(place: Path) -> None:
    place.rename(place.with_name(f".draft-{place.name}"))


SPOILT = [_file, _shorter, _missing, _bytecode, _unreadable, _link, _no_record, _torn_record,
          _flipped_record, _other_python, _not_complete, _no_python, _draft]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_is_odd_counts_as_not_there(
    spoil: Callable[[Path], None], first: Wanted, second: Wanted
) -> None:
    assert holds(second) == {"numpy"}
    spoil(first.place)
    assert holds(second) == set()
    with pytest.raises(RequestError, match=r"numpy-.* was not sent"):
        build(second, silent)
    assert not second.place.exists()


def test_damage_does_not_spread(first: Wanted, second: Wanted) -> None:
    _file(first.place)
    shutil.copy(next(first.wheels.glob("numpy*")), second.wheels)
    build(second, silent)
    assert (site(second.place) / "pkg" / "data.bin").read_text() == FILES["pkg/data.bin"]


@pytest.mark.parametrize("name", ["a_new", "z_new"])  # unpacked before numpy and after it
def test_a_wheel_that_brings_the_same_file_does_not_write_into_another_environment(
    name: str, first: Wanted, second: Wanted, tmp_path: Path
) -> None:
    before = tree(first.place)
    write_wheel(second.wheels, Tiny(name, "1", files={"pkg/__init__.py": "A = 2\n"}))
    shutil.copy(next(first.wheels.glob("numpy*")), second.wheels)
    wanted = wanted_of(second.wheels, first.place.parent)
    next(second.wheels.glob("numpy*")).unlink()
    build(wanted, silent)
    assert tree(first.place) == before
    last = "2" if name > "numpy" else "1"
    assert ask(wanted.place, "import pkg; print(pkg.A)") == last
    assert ask(first.place, "import pkg; print(pkg.A)") == "1"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_where_a_disk_has_no_links_it_is_copied(
    number: int, second: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    build(second, silent)
    assert ask(second.place, "import numpy, ours; print(numpy.VERSION, ours.N)") == "1.0 2"
    assert all(p.stat().st_nlink == 1 for p in second.place.rglob("*") if p.is_file())
    assert holds(second) == {"numpy", "edge-sdk"}


def test_a_full_disk_is_one_line(
    first: Wanted, second: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OutputError, match="No space left"):
        build(second, silent)
    assert list(first.place.parent.iterdir()) == [first.place]


def test_a_device_asks_for_what_it_lacks_alone(
    tmp_path: Path, first: Wanted, second: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    numpy = held(layout.environments, [digest(first)])[digest(first)]
    wheels = tuple(
        file_entry(path.name, path.read_bytes())
        for path in (next(first.wheels.glob("numpy*")), next(second.wheels.glob("edge*")))
    )
    assert sha256(next(first.wheels.glob("numpy*"))) == digest(second)
    small = make_release(tmp_path / "small")
    release = replace(small, environment=second.place.name, unpacked=numpy.taken + 1000)
    offer = Offer(release, wheels)
    needed = MARGIN_BYTES + release.size + wheels[1].size + 1000

    monkeypatch.setattr(stage, "free_bytes", lambda _: needed - 1)
    with pytest.raises(ReleaseError, match="free some space"):
        receive(layout, load(layout), offer)
    monkeypatch.setattr(stage, "free_bytes", lambda _: needed)
    assert receive(layout, load(layout), offer).wheels == (wheels[1].path,)

    _file(first.place)
    monkeypatch.setattr(stage, "free_bytes", lambda _: 1 << 40)
    assert set(receive(layout, load(layout), offer).wheels) == {w.path for w in wheels}
