from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, MissingError, OutputError, RequestError
from edge_sdk.targets import Start, _parcel, open_target
from edge_sdk.targets import ssh as ssh_target
from edge_sdk.targets._connection import Address
from edge_sdk.targets._session import Session
from edge_sdk.targets._there import source
from edge_sdk.targets.ssh import SshTarget, parse
from tests.edge_sdk.targets.ssh_server import SSHD, Server, ends, running, serving

HARD = ["it's", '"two" words', "$HOME `id` \\ ; # * ?", "", "-x", "a\nb", "ü%d!"]
SAY = "import sys; sys.stdout.write(repr(sys.argv[1:]))"
STAY = "import sys, time; print('up', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("sshd is not installed (openssh-server)")
    with serving(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def device(server: Server) -> Iterator[SshTarget]:
    target = open_target(server.uri())
    assert isinstance(target, SshTarget)
    yield target
    target.close()


@pytest.mark.parametrize(
    ("rest", "address"),
    [
        ("//pi", Address("pi")),
        ("//pi@10.0.0.7:2222", Address("10.0.0.7", "pi", 2222)),
        ("//pi@cam-1.local/opt/edge", Address("cam-1.local", "pi", folder="/opt/edge")),
        ("//[fe80::1%eth0]:22", Address("fe80::1%eth0", port=22)),
        ("//pi,accept-new", Address("pi", accept_new=True)),
        ("//pi,python=~/edge/bin/python", Address("pi", python="~/edge/bin/python")),
    ],
)
def test_an_address_is_read(rest: str, address: Address) -> None:
    assert parse(rest) == address


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("", "write ssh://user@host"),
        ("//", "write ssh://user@host"),
        ("//-oProxyCommand=touch", "write ssh://user@host"),
        ("//-l@host", "write ssh://user@host"),
        ("//a b@host", "write ssh://user@host"),
        ("//host:0", "write ssh://user@host"),
        ("//host:70000", "write ssh://user@host"),
        ("//host,pyton=x", "python"),
        ("//host,python", "write it as in"),
        ("//host,accept-new=yes", "write it as in"),
        ("//host,config=/nowhere/at/all", "/nowhere/at/all does not exist"),
    ],
)
def test_what_is_no_address_is_refused(rest: str, said: str) -> None:
    with pytest.raises(RequestError, match="ssh:") as caught:
        parse(rest)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def fake(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "ssh: connect to host pi port 22: No route to host",
            "No route to host; see that it is on",
        ),
        ("pi@pi: Permission denied (publickey).", "ssh-copy-id -p 2222 pi@pi"),
        ("No ED25519 host key is known for pi\nHost key verification failed.", ",accept-new"),
        (
            "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\n"
            '  ssh-keygen -f "/home/a/.ssh/known_hosts" -R "pi"\nHost key verification failed.',
            'ssh-keygen -f "/home/a/.ssh/known_hosts" -R "pi"',
        ),
        ("", "the connection ended"),
    ],
    ids=["route", "key", "unknown", "changed", "silent"],
)
def test_why_a_device_is_not_reached_is_one_line(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words").write_text(words)
    fake(tmp_path, "ssh", f"/bin/cat {tmp_path}/words >&2; exit 255")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        open_target("ssh://pi@pi:2222").start(["-c", "pass"])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pi@pi" in str(caught.value)


def test_without_ssh_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="openssh-client"):
        open_target("ssh://pi").start(["-c", "pass"])


def test_ssh_asks_nobody_and_never_ignores_a_host_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "ssh", f'echo "$@" > {tmp_path}/words; exit 255')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for uri, key in (("ssh://pi", False), ("ssh://pi,accept-new", True)):
        with pytest.raises(EngineError):
            open_target(uri).start(["-c", "pass"])
        words = (tmp_path / "words").read_text()
        assert "BatchMode=yes" in words
        assert ("StrictHostKeyChecking=accept-new" in words) == key
        assert words.count("StrictHostKeyChecking") == key


def test_a_plugin_is_refused() -> None:
    with pytest.raises(RequestError, match="emulated"):
        open_target("ssh://pi").start(["-c", "pass"], Start(plugin="x.so"))


def test_words_arrive_as_they_are(device: SshTarget) -> None:
    process = device.start(["-c", SAY, *HARD])
    out, err = process.communicate(timeout=60)
    assert (out.decode(), err, process.returncode) == (repr(HARD), b"", 0)


def test_code_variables_and_bytes_arrive(device: SshTarget) -> None:
    code = (
        "import os, sys, numpy, runtime, device_profiles; "
        "print(runtime.__file__, os.environ['GIVEN'], flush=True); "
        "sys.stdout.buffer.write(sys.stdin.buffer.read())"
    )
    data = bytes(range(256)) * 999
    process = device.start(["-c", code], Start({"GIVEN": "a 'b' = $c\n"}))
    out, err = process.communicate(data, timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.endswith(b" a 'b' = $c\n\n" + data)
    assert out.startswith(os.fsencode(device.address.folder))


@pytest.mark.parametrize(
    ("code", "returned"),
    [
        ("import sys; sys.exit(7)", 7),
        ("import os; os.kill(os.getpid(), 4)", 128 + signal.SIGILL),
        ("import sys; sys.stdout.close(); sys.stdin.read(); sys.exit(3)", 3),
    ],
    ids=["code", "signal", "closed"],
)
def test_how_it_ended_is_told(device: SshTarget, code: str, returned: int) -> None:
    process = device.start(["-c", code])
    process.communicate(timeout=60)
    assert process.returncode == returned


@pytest.mark.parametrize("how", ["kill", "close", "cut"])
def test_a_process_ends_with_its_connection(device: SshTarget, server: Server, how: str) -> None:
    marker = f"marked-{os.getpid()}-{how}"
    process = device.start(["-c", STAY, marker])
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert running(marker)
    {"kill": process.kill, "close": device.close, "cut": server.cut}[how]()
    assert ends(marker)
    process.communicate(timeout=20)
    assert process.returncode not in (0, None)


def test_a_cut_connection_is_made_again(device: SshTarget, server: Server) -> None:
    assert device.start(["-c", "print(1)"]).communicate(timeout=60)[0] == b"1\n"
    server.cut()
    assert device.start(["-c", "print(2)"]).communicate(timeout=60)[0] == b"2\n"


def test_nothing_of_the_connection_is_left(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    before = set(Path("/tmp").glob("edge-*"))
    device = open_target(server.uri())
    device.start(["-c", "pass"]).communicate(timeout=60)
    (folder,) = set(Path("/tmp").glob("edge-*")) - before
    assert folder.stat().st_mode & 0o777 == 0o700
    assert running(str(folder / "s")) or any(folder.iterdir())
    device.close()
    assert not folder.exists()
    device.close()


def test_a_session_runs_there(device: SshTarget) -> None:
    with Session(device) as session:
        assert session.about()["packages"]["numpy"]


@pytest.mark.parametrize("rsync", [True, False])
def test_a_file_is_sent_once(device: SshTarget, tmp_path: Path, rsync: bool) -> None:
    device.start(["-c", "pass"]).communicate(timeout=60)
    assert device._facts is not None
    object.__setattr__(device._facts, "rsync", rsync and device._facts.rsync)
    path = tmp_path / f"a 'file' {rsync}.bin"
    path.write_bytes(os.urandom(100_000))
    there = Path(device.send(path))
    assert there.name == path.name
    assert there.read_bytes() == path.read_bytes()
    before = there.stat().st_ino
    assert device.send(path) == str(there)
    assert there.stat().st_ino == before
    path.write_bytes(b"other")
    assert Path(device.send(path)).read_bytes() == b"other"
    assert there.stat().st_size == 100_000


@pytest.mark.parametrize("rsync", [True, False])
def test_a_folder_is_sent_whole(device: SshTarget, tmp_path: Path, rsync: bool) -> None:
    device.start(["-c", "pass"]).communicate(timeout=60)
    assert device._facts is not None
    object.__setattr__(device._facts, "rsync", rsync and device._facts.rsync)
    folder = tmp_path / f"data {rsync}"
    (folder / "in ner").mkdir(parents=True)
    (folder / "in ner" / "a.txt").write_text("a")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to(folder / "in ner" / "a.txt")
    there = Path(device.send(folder))
    found = sorted(str(path.relative_to(there)) for path in there.rglob("*"))
    assert found == ["empty", "in ner", "in ner/a.txt", "link"]
    assert (there / "link").read_text() == "a"
    assert not (there / "link").is_symlink()


def test_senders_at_once_do_not_harm_each_other(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "shared.bin"
    path.write_bytes(os.urandom(300_000))
    devices = [open_target(server.uri()) for _ in range(3)]
    found: list[str] = []
    threads = [threading.Thread(target=lambda d=d: found.append(d.send(path))) for d in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for device in devices:
        device.close()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert Path(found[0]).read_bytes() == path.read_bytes()


def test_what_cannot_be_sent_is_said(device: SshTarget, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="absent cannot be read: No such file"):
        device.send(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="neither a file nor a folder"):
        device.send(tmp_path)


def test_a_device_that_cannot_keep_it_says_why(
    device: SshTarget, server: Server, tmp_path: Path
) -> None:
    device.start(["-c", "pass"]).communicate(timeout=60)
    path = tmp_path / "file"
    path.write_text("x")
    files = server.kept / "files"
    files.rename(server.kept / "away")
    files.write_text("in the way")
    try:
        with pytest.raises(OutputError, match="device cannot keep what is sent"):
            device.send(path)
    finally:
        files.unlink()
        (server.kept / "away").rename(files)


def test_an_unknown_host_key_is_not_taken(server: Server) -> None:
    known = server.known_hosts.read_text()
    server.known_hosts.write_text("")
    try:
        device = open_target(server.uri())
        with pytest.raises(EngineError, match="host key of device is not known"):
            device.start(["-c", "pass"])
        assert server.known_hosts.read_text() == ""
        device = open_target(f"{server.uri()},accept-new")
        device.start(["-c", "pass"]).communicate(timeout=60)
        device.close()
        assert server.known_hosts.read_text().split()[1:3] == known.split()[1:3]
    finally:
        server.known_hosts.write_text(known)


def test_a_device_without_python_is_said(server: Server) -> None:
    device = open_target(server.uri(python="/nowhere/python"))
    with pytest.raises(MissingError, match=r"has no /nowhere/python.*,python=PATH"):
        device.start(["-c", "pass"])
    device.close()


def test_a_device_without_numpy_is_told_how(server: Server, tmp_path: Path) -> None:
    fake(tmp_path, "bare", f'exec {sys.executable} -I -S "$@"')
    device = open_target(server.uri(python=str(tmp_path / "bare")))
    with pytest.raises(MissingError, match="pip install numpy"):
        device.start(["-c", "pass"])
    assert device.send(tmp_path / "bare")
    device.close()


def test_a_device_that_chatters_is_said(server: Server, tmp_path: Path) -> None:
    fake(tmp_path, "odd", "echo welcome")
    device = open_target(server.uri(python=str(tmp_path / "odd")))
    with pytest.raises(EngineError, match="did not say what it is"):
        device.start(["-c", "pass"])
    device.close()


def there(name: str, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", source(name), *words]
    return subprocess.run(command, input=given, capture_output=True, check=False)


def test_an_archive_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    sink = io.BytesIO()
    (tmp_path / "big").write_bytes(os.urandom(50_000))
    _parcel.wrap(tmp_path / "big").write(sink)
    (tmp_path / "kept").mkdir()
    place = tmp_path / "kept" / "digest"
    done = there("store", str(place), "tar", given=sink.getvalue()[:30_000])
    assert done.returncode == 1
    assert b"\n" not in done.stderr.strip()
    assert list((tmp_path / "kept").iterdir()) == []
    assert there("store", str(place), "tar", given=sink.getvalue()).returncode == 0
    assert (place / "big").stat().st_size == 50_000


def test_what_was_not_used_for_a_week_is_removed(tmp_path: Path) -> None:
    for name in ("old", "new", "used"):
        (tmp_path / "code" / name).mkdir(parents=True)
        if name != "new":
            week_ago = time.time() - 8 * 24 * 3600
            os.utime(tmp_path / "code" / name, (week_ago, week_ago))
    there("store", str(tmp_path / "code" / "used"), "look")
    done = there("probe", str(tmp_path), "new")
    assert done.stdout.splitlines()[-1] == b"True"
    assert {path.name for path in (tmp_path / "code").iterdir()} == {"new", "used"}


def test_a_parcel_is_known_by_what_it_holds(tmp_path: Path) -> None:
    def made(name: str, text: str, mode: int = 0o644) -> str:
        folder = tmp_path / name / "data"
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
        (folder / "file").chmod(mode)
        return _parcel.wrap(folder).digest

    same = made("a", "x")
    assert made("b", "x") == same
    assert len({same, made("c", "y"), made("d", "x", 0o755)}) == 3


def test_our_code_travels_without_what_is_compiled() -> None:
    parcel = ssh_target._our_code()
    names = [name for name, _ in parcel.members]
    assert "packages/runtime/serve.py" in names
    assert not [name for name in names if "pycache" in name or name.endswith(".pyc")]
    sink = io.BytesIO()
    parcel.write(sink)
    sink.seek(0)
    with tarfile.open(fileobj=sink) as archive:
        assert {member.uid for member in archive} == {0}
