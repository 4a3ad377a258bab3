"""Carriers of devices that answer: this machine, and a real sshd on the loopback."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, MissingError, OutputError, RequestError
from edge_sdk.shipping.carriers import Carrier, Item, Seat, _rsync, open_carrier, open_live
from edge_sdk.shipping.carriers import ssh as ssh_carrier
from edge_sdk.shipping.carriers.base import agent_folder
from edge_sdk.shipping.carriers.ssh import SshCarrier
from edge_sdk.shipping.device_wheel import DeviceWheel
from edge_sdk.targets._connection import Address
from edge_sdk.targets._there import seat, source
from tests.edge_sdk.targets.ssh_server import SSHD, Server, ends, serving

MAIN = """
import sys, time
def main():
    words = sys.argv[1:]
    print("up", *words, flush=True)
    if "stay" in words:
        time.sleep(600)
    sys.stdout.write(sys.stdin.read())
    return 7
"""


def made_wheel(folder: Path, text: str = MAIN) -> DeviceWheel:
    """A wheel whose agent says what it was told, says what it reads, and returns 7."""
    folder.mkdir(exist_ok=True)
    path = folder / "edge_sdk-0.1.0+device.00000000-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("runtime/__init__.py", "runtime/agent/__init__.py"):
            archive.writestr(name, "")
        archive.writestr("runtime/agent/__main__.py", text)
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return DeviceWheel(path, path.name, sha256, len(data), "0.1.0+device.00000000")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> DeviceWheel:
    return made_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("sshd is not installed (openssh-server)")
    with serving(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def root(server: Server) -> Iterator[Path]:
    """The folder of an installation, with a space in its name; not there yet."""
    yield server.kept / "the root"
    shutil.rmtree(server.kept / "the root", ignore_errors=True)


@pytest.fixture(params=["local", "rsync", "stream"])
def carrier(request: pytest.FixtureRequest, server: Server, root: Path) -> Iterator[Carrier]:
    yield from opened(request.param, server, root)


@pytest.fixture(params=["local", "rsync"])
def either(request: pytest.FixtureRequest, server: Server, root: Path) -> Iterator[Carrier]:
    """For what rsync has no part in."""
    yield from opened(request.param, server, root)


@pytest.fixture(params=["rsync", "stream"])
def remote(request: pytest.FixtureRequest, server: Server, root: Path) -> Iterator[Carrier]:
    yield from opened(request.param, server, root)


def opened(kind: str, server: Server, root: Path) -> Iterator[Carrier]:
    uri = f"local:{root}" if kind == "local" else address(server, root)
    found = open_live(uri)
    if kind == "stream":
        look = found.look
        found.look = lambda wheel: without_rsync(found, look(wheel))  # type: ignore[method-assign]
    yield found
    found.close()


def without_rsync(carrier: Carrier, found: Seat) -> Seat:
    assert isinstance(carrier, SshCarrier)
    carrier._seat = replace(found, rsync=False)
    return carrier._seat


def address(server: Server, root: Path, python: str = sys.executable) -> str:
    return f"ssh://device{root},config={server.config},python={python}"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_an_agent_is_sent_once_and_runs(either: Carrier, root: Path, wheel: DeviceWheel) -> None:
    found = either.look(wheel)
    assert (found.root, found.agent, found.fault) == (str(root), False, "")
    assert found.version == sys.version_info[:2] and found.uid == os.geteuid()
    assert not root.exists(), "looking writes nothing"
    assert either.send_agent(wheel).bytes_out > 0
    agent = agent_folder(wheel)
    assert files(root) == ["agents", agent, f"{agent}/agent.py", f"{agent}/{wheel.file}"]
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*.*") if path.is_file()} == {0o644}
    process = either.run(["a 'b'", "$HOME", ""])
    out, err = process.communicate(b"over", timeout=60)
    assert (out, err, process.returncode) == (b"up a 'b' $HOME \nover", b"", 7)
    assert either.send_agent(wheel).files == 0


def test_a_damaged_agent_is_mended(
    either: Carrier, root: Path, wheel: DeviceWheel, tmp_path: Path
) -> None:
    agent = root / agent_folder(wheel)
    agent.mkdir(parents=True)
    (agent / wheel.file).write_bytes(b"torn")
    assert not either.look(wheel).agent
    either.send_agent(wheel)
    found = either.look(wheel)
    assert found.agent and not found.resident
    assert files(root / "agents") == [
        agent.name,
        *(f"{agent.name}/{n}" for n in ("agent.py", wheel.file)),
    ]
    # Another agent is asked for, and the one that is there can be asked as well.
    (root / "agent").symlink_to(agent_folder(wheel))
    found = either.look(made_wheel(tmp_path / "other", MAIN.replace('"up"', '"other"')))
    assert found.resident and not found.agent
    assert either.run(["x"], "agent").communicate(b"", timeout=60)[0] == b"up x\n"


def release(root: Path, name: str) -> str:
    """Make what the agent makes for files that are to come."""
    (root / "incoming" / name).mkdir(parents=True)
    (root / "incoming" / "wheels").mkdir(exist_ok=True)
    return f"incoming/{name}"


def test_files_arrive_under_their_names(
    carrier: Carrier, root: Path, wheel: DeviceWheel, tmp_path: Path
) -> None:
    carrier.look(wheel)
    folder = release(root, "a")
    contents = {
        f"{folder}/bundle.edge": os.urandom(50_000),
        f"{folder}/lock file": b"",
        "incoming/wheels/numpy-2.4.6+x-cp311.whl": b"wheel" * 999,
    }
    items = []
    for number, (there, data) in enumerate(contents.items()):
        path = tmp_path / f"it's {number}"
        path.write_bytes(data)
        path.chmod(0o600)
        items.append(Item(path, there))
    sent = carrier.put(items)
    assert sent.files == 3 and sent.bytes_out > 50_000 and sent.seconds > 0
    found = {name: (root / name).read_bytes() for name in files(root) if (root / name).is_file()}
    assert found == contents
    assert {(root / name).stat().st_mode & 0o777 for name in contents} == {0o644}


def test_only_what_differs_is_sent(
    carrier: Carrier, root: Path, wheel: DeviceWheel, tmp_path: Path
) -> None:
    """The basis keeps what it holds, as a hard link of a release that runs must."""
    carrier.look(wheel)
    old = os.urandom(1_000_000)
    change = b"".join(b"%07.4f" % (n * 0.37 % 100) for n in range(15_000))
    new = old[:400_000] + change + old[400_000 + len(change) :]
    basis = root / "releases" / "old" / "bundle.edge"
    basis.parent.mkdir(parents=True)
    basis.write_bytes(old)
    link = root / "linked"
    link.hardlink_to(basis)
    folder = release(root, "new")
    path = tmp_path / "b.edge"
    path.write_bytes(new)
    os.utime(path, ns=(basis.stat().st_atime_ns, basis.stat().st_mtime_ns))  # the same, it seems
    sent = carrier.put([Item(path, f"{folder}/bundle.edge")], "releases/old")
    assert (root / folder / "bundle.edge").read_bytes() == new
    assert basis.read_bytes() == link.read_bytes() == old
    assert files(root / folder) == ["bundle.edge"]
    if isinstance(carrier, SshCarrier) and carrier._seat and carrier._seat.rsync:
        assert sent.bytes_out <= 1.1 * len(zlib.compress(change, 6))


def test_a_cut_transfer_leaves_whole_files_and_goes_on(
    remote: Carrier, server: Server, root: Path, wheel: DeviceWheel, tmp_path: Path
) -> None:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(20_000_000))
    folder = release(root, "a")
    (root / "lock").touch()
    rsync = remote.look(wheel).rsync
    cutter = threading.Thread(target=cut_when, args=(server, root / "incoming", 2_000_000))
    cutter.start()
    with pytest.raises(EngineError, match="cannot work on device over ssh"):
        remote.put([Item(path, f"{folder}/bundle.edge")])
    cutter.join()
    assert not (root / folder / "bundle.edge").exists()
    sent = remote.put([Item(path, f"{folder}/bundle.edge")])
    assert (root / folder / "bundle.edge").read_bytes() == path.read_bytes()
    assert files(root / folder) == ["bundle.edge"]
    assert (sent.bytes_out < 19_000_000) == rsync, "it goes on where it was cut"


def cut_when(server: Server, folder: Path, size: int) -> None:
    """Cut every connection as soon as so much of a file is there."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size > size:
                    return server.cut()
        time.sleep(0.001)


def test_an_agent_outlives_its_connection(server: Server, root: Path, wheel: DeviceWheel) -> None:
    """It is told by the end of its input, and ends itself here, as the fake one does then."""
    marker = f"marked-{os.getpid()}"
    for carrier in opened("ssh", server, root):
        carrier.look(wheel)
        carrier.send_agent(wheel)
        process = carrier.run(["stay", marker])
        assert process.stdout is not None and process.stdout.readline().startswith(b"up stay")
        server.cut()
        process.communicate(timeout=20)
        assert process.returncode == 255
        assert not ends(marker, 0.5), "nobody ended it"
    kill(marker)


def kill(marker: str) -> None:
    """End the process that a test left, by its id."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        if marker.encode() in words.read_bytes().split(b"\0"):
            os.kill(int(words.parent.name), 9)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("emulated:raspberry-pi-4b", "cannot be flashed; give an address that begins with one of:"),
        ("nonsense", "cannot be flashed"),
        ("ssh://", "is no address"),
        ("local:here", "no folder of its own"),
        ("local:/", "no folder of its own"),
        ("board:", "names no device"),
    ],
)
def test_what_cannot_be_flashed_is_refused(uri: str, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_carrier(uri)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_each_scheme_has_its_way() -> None:
    board = open_live("board:raspberry-pi-4b")
    assert isinstance(board, SshCarrier) and board.profile is not None
    assert board.profile.name == "raspberry-pi-4b"
    assert open_live("local").uri == "local"
    assert open_live("ssh://pi/opt/cam").uri == "ssh://pi/opt/cam"


def test_where_it_is_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert seat.default() == "/opt/edge-sdk"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert seat.default() == "/home/a b/.local/share/edge-sdk"


def test_why_nothing_can_be_written_is_said(tmp_path: Path, wheel: DeviceWheel) -> None:
    (tmp_path / "file").write_text("x")
    for root, said in ((tmp_path / "file", "is no folder"), (tmp_path, "holds other things")):
        carrier = open_live(f"local:{root}")
        assert said in carrier.look(wheel).fault
        with pytest.raises(OutputError, match=said):
            carrier.send_agent(wheel)
        with pytest.raises(OutputError, match=said):
            carrier.put([Item(tmp_path / "file", "incoming/file")])
    assert files(tmp_path) == ["file"]
    (tmp_path / "file").unlink()
    for name in ("current", "incoming", "keys", "releases"):  # of another program that deploys
        (tmp_path / name).mkdir()
    assert "holds other things" in open_live(f"local:{tmp_path}").look(wheel).fault
    for name in ("current", "incoming", "releases"):
        (tmp_path / name).rmdir()
    (tmp_path / "lost+found").mkdir()
    assert open_live(f"local:{tmp_path}").look(wheel).fault == ""


def test_a_folder_that_others_own_is_said(
    tmp_path: Path, wheel: DeviceWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    fault = open_live(f"local:{tmp_path}/new").look(wheel).fault
    assert fault.startswith(f"{tmp_path} may not be written by ")
    flags = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: ReadOnly(flags))
    assert "is on a read-only file system" in open_live(f"local:{tmp_path}/new").look(wheel).fault


class ReadOnly:
    def __init__(self, flags: os.statvfs_result) -> None:
        self.f_flag = flags.f_flag | os.ST_RDONLY


def test_a_disk_that_errs_is_said(
    remote: Carrier, root: Path, wheel: DeviceWheel, tmp_path: Path
) -> None:
    remote.look(wheel)
    (tmp_path / "file").write_text("x")
    root.mkdir()
    (root / "incoming").write_text("in the way")
    with pytest.raises(OutputError, match=r"device cannot keep what is sent: .+; .+") as caught:
        remote.put([Item(tmp_path / "file", "incoming/a/file")])
    assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match=r"absent cannot be read: No such file"):
        remote.put([Item(tmp_path / "absent", "incoming/a/file")])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            b'rsync: [receiver] write failed on "/x": No space left on device (28)\n',
            'write failed on "/x": No space left on device; free some space there',
        ),
        (
            b'rsync: [Receiver] mkdir "/x" failed: Read-only file system (30)\nrsync error: ...',
            'mkdir "/x" failed: Read-only file system; mount it writable',
        ),
        (b"", "interrupted; see its disk"),
    ],
)
def test_the_reason_of_rsync_is_one_line(said: bytes, told: str) -> None:
    error = _rsync.refused(Address("pi"), _rsync._reason(said))
    assert told in str(error)


def test_without_rsync_here_a_stream_does_it(
    server: Server, root: Path, wheel: DeviceWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ssh", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = release(root, "a")
    (root / "lock").touch()
    (tmp_path / "file").write_text("x")
    for carrier in opened("ssh", server, root):
        assert carrier.look(wheel).rsync, "the device has it"
        carrier.put([Item(tmp_path / "file", f"{folder}/file")])
        assert (root / folder / "file").read_text() == "x"


SEAT = '{"version": [3, 9], "root": "/", "python": "", "uid": 0, "user": "", "rsync": true, ' \
    '"agent": false, "resident": false}'  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("exit 127", MissingError, "has no "),
        ("echo SyntaxError: future feature >&2; exit 1", MissingError, "3.6 or older"),
        (f"echo '{SEAT}'", MissingError, "has Python 3.9; install 3.10 or newer"),
        ("echo welcome", EngineError, "did not say what it is"),
    ],
    ids=["none", "ancient", "old", "chatty"],
)
def test_a_device_without_a_python_for_it_is_said(
    server: Server, wheel: DeviceWheel, tmp_path: Path, text: str, error: type[Exception], said: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{text}\n")
    python.chmod(0o755)
    carrier = open_live(address(server, tmp_path / "root", str(python)))
    with pytest.raises(error, match=said) as caught:
        carrier.look(wheel)
    assert "\n" not in str(caught.value)
    carrier.close()


def test_a_lease_is_given_back(monkeypatch: pytest.MonkeyPatch, wheel: DeviceWheel) -> None:
    """A board's carrier asks for its board first, once, and gives it back at the end."""
    log: list[str] = []

    class Faked:
        def __init__(self, address: Address) -> None:
            log.append(f"to {address.host}")

        def open(self) -> None:
            log.append("opened")

        def run(self, _words: object) -> subprocess.CompletedProcess[bytes]:
            return subprocess.CompletedProcess([], 0, SEAT.replace("9]", "11]").encode(), b"")

        def close(self) -> None:
            log.append("closed")

    def prepare() -> Address:
        log.append("prepared")
        return Address("board")

    monkeypatch.setattr(ssh_carrier, "Connection", Faked)
    carrier = SshCarrier(
        Address("off"), "board:x", prepare=prepare, release=lambda: log.append("released")
    )
    carrier.look(wheel)
    assert carrier.look(wheel).version == (3, 11)
    carrier.close()
    carrier.close()
    assert log == ["prepared", "to board", "opened", "closed", "released"]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", source("take"), str(tmp_path / "root")]
    stream = subprocess.run([sys.executable, "-c", PACK], capture_output=True, check=True).stdout
    done = subprocess.run(
        command, input=stream[: len(stream) // 2], capture_output=True, check=False
    )
    assert done.returncode == 1 and b"\n" not in done.stderr.strip()
    assert [path for path in (tmp_path / "root").rglob("*") if path.is_file()] == []
    assert files(tmp_path / "root" / "incoming" / "a") == []
    assert subprocess.run(command, input=stream, check=False).returncode == 0
    assert (tmp_path / "root/incoming/a/b").stat().st_size == 99_999


PACK = """
import io, os, sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
    member = tarfile.TarInfo("incoming/a/b")
    member.size = 99_999
    archive.addfile(member, io.BytesIO(os.urandom(99_999)))
"""


def test_the_programs_agree_with_old_pythons() -> None:
    """What is asked of a device says its version: so it has to be read by any that it may have."""
    assert json.loads(
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", source("seat"), "/nowhere", "agents/x"],
            capture_output=True, check=True,
        ).stdout
    )["version"] == list(sys.version_info[:2])  # fmt: skip
