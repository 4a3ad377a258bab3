from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import EngineError, MissingError, OutputError, RequestError
from device_profiles.profile import Profile, load
from edge_sdk.board import Board, Lease, boards, boot, find_board, start
from edge_sdk.board import board as board_module
from edge_sdk.board.board import boards_root
from edge_sdk.board.keys import ssh_config
from edge_sdk.board.machine import MOST_MEMORY_MB, machine
from edge_sdk.targets import open_target
from tests.edge_sdk.board.fakes import small_image, write_programs
from tests.edge_sdk.cli_cases import Run

DEVICE = "raspberry-pi-4b"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Pretended programs, and a cache of their own."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed (openssh-client)")
    folder = tmp_path / "programs"
    folder.mkdir()
    write_programs(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    image = small_image(tmp_path / "image")
    monkeypatch.setattr(boot, "_image", lambda *_: image)
    yield folder
    for board in boards():
        board.kill()


@pytest.fixture
def pi(programs: Path) -> tuple[Board, Profile]:
    return find_board(DEVICE)


def off(board: Board, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while board.pid() is not None and time.monotonic() < end:
        time.sleep(0.05)
    return board.pid() is None


def test_a_board_starts_once_and_stops(pi: tuple[Board, Profile], programs: Path) -> None:
    board, profile = pi
    assert board.pid() is None
    assert start(board, profile) is True
    pid = board.pid()
    assert pid is not None
    assert start(board, profile) is False
    assert board.pid() == pid
    assert board.stop() is True
    assert board.pid() is None
    assert board.stop() is False
    assert (programs / "started").read_text().count("\n") == 1


def test_a_killed_board_starts_again_with_its_disk_and_port(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    start(board, profile)
    port = board.facts()["port"]
    (board.folder / "disk").write_text("written by the board")
    assert board.kill() is True
    assert (board.folder / "qemu.pid").is_file(), "a stale file is what a power cut leaves"
    assert board.pid() is None
    assert start(board, profile) is True
    assert board.facts()["port"] == port
    assert (board.folder / "disk").read_text() == "written by the board"


def test_reset_gives_a_new_disk_and_keeps_the_keys(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    start(board, profile)
    key = (board.folder / "client_key").read_text()
    (board.folder / "disk").write_text("written by the board")
    board.reset()
    assert board.pid() is None
    start(board, profile)
    assert (board.folder / "disk").read_text() == "disk" * 100
    assert (board.folder / "client_key").read_text() == key


def test_two_boards_run_at_once_and_share_nothing(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    other, its_profile = find_board("raspberry-pi-5")
    start(board, profile)
    start(other, its_profile)
    assert board.pid() != other.pid()
    assert board.facts()["port"] != other.facts()["port"]
    for key in ("client_key", "host_key"):
        assert (board.folder / key).read_text() != (other.folder / key).read_text()
    assert [found.name for found in boards()] == ["raspberry-pi-4b", "raspberry-pi-5"]
    board.kill()
    assert other.pid() is not None


def test_many_starters_start_one(pi: tuple[Board, Profile], programs: Path) -> None:
    board, profile = pi
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(start(board, profile))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [False, False, False, True]
    assert (programs / "started").read_text().count("\n") == 1


def test_a_pid_of_somebody_else_is_no_board(pi: tuple[Board, Profile]) -> None:
    board, _ = pi
    board.folder.mkdir(parents=True)
    for text in (str(os.getpid()), "1", "", "-5", "99999999", "x"):
        (board.folder / "qemu.pid").write_text(text)
        assert board.pid() is None
        assert board.kill() is False


def test_a_taken_port_is_left_to_its_owner(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    start(board, profile)
    port = board.facts()["port"]
    board.kill()
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", port))
        plug.listen()
        start(board, profile)
        assert board.facts()["port"] != port
    assert f"Port {board.facts()['port']}\n" in board.ssh_config.read_text()


def test_a_port_that_was_taken_meanwhile_is_changed(
    pi: tuple[Board, Profile], programs: Path
) -> None:
    board, profile = pi
    (programs / "refuse").write_text("qemu: Could not set up host forwarding rule 'tcp::1-:22'")
    assert start(board, profile) is True
    assert f":{board.facts()['port']}-:22" in (programs / "started").read_text()


def test_why_qemu_does_not_start_is_said(pi: tuple[Board, Profile], programs: Path) -> None:
    board, profile = pi
    (programs / "refuse").write_text("a warning\nqemu: cannot set up guest memory")
    with pytest.raises(EngineError, match="cannot set up guest memory"):
        start(board, profile)
    assert board.pid() is None
    assert start(board, profile) is True


def test_a_board_that_does_not_answer_is_ended_and_quoted(
    pi: tuple[Board, Profile], programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, profile = pi
    (programs / "deaf").touch()
    monkeypatch.setattr(boot, "BOOT_S", 0.5)
    with pytest.raises(EngineError, match="did not answer within") as caught:
        start(board, profile)
    assert "'edge: boot'" in str(caught.value)
    assert board.pid() is None


def test_a_board_that_does_not_shut_down_is_told_of(
    pi: tuple[Board, Profile], programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, profile = pi
    start(board, profile)
    (programs / "deaf").touch()
    monkeypatch.setattr(board_module, "STOP_S", 0.3)
    with pytest.raises(EngineError, match=f"edge-sdk board kill {DEVICE}"):
        board.stop()
    assert board.pid() is not None


def test_a_full_disk_leaves_no_half_board(
    pi: tuple[Board, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    board, profile = pi

    def full(source: Path, place: Path) -> None:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(boot, "_copy", full)
        with pytest.raises(OutputError, match="No space left on device; see df"):
            start(board, profile)
    assert not (board.folder / "disk").exists()
    assert not (board.folder / ".disk").exists()
    start(board, profile)
    assert (board.folder / "disk").read_text() == "disk" * 100


def test_what_cp_says_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        boot._copy(tmp_path / "absent", tmp_path / "copy")


def test_a_leased_board_ends_with_its_last_user(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    first = Lease(board, profile)
    second = Lease(board, profile)
    pid = board.pid()
    assert pid is not None
    assert board.status()["kept"] is False
    first.close()
    time.sleep(0.5)
    assert board.pid() == pid
    second.close()
    assert off(board)


def test_a_leased_board_that_somebody_starts_stays(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    lease = Lease(board, profile)
    assert start(board, profile) is False
    lease.close()
    time.sleep(1.0)
    assert board.pid() is not None
    again = Lease(board, profile)
    again.close()
    time.sleep(0.5)
    assert board.pid() is not None


_USER = """
import sys, time
from pathlib import Path
from edge_sdk.board import Lease, boot, find_board
from tests.edge_sdk.board.fakes import small_image
image = small_image(Path(sys.argv[1]))
boot._image = lambda *_: image
lease = Lease(*find_board(sys.argv[2]))
print("on", flush=True)
time.sleep(600)
"""


def test_a_killed_user_leaves_no_board_behind(pi: tuple[Board, Profile], tmp_path: Path) -> None:
    board, _ = pi
    root = str(Path(__file__).resolve().parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", _USER, str(tmp_path / "image"), DEVICE],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"on\n"
        assert board.pid() is not None
        user.kill()
    assert off(board)


def test_the_target_is_the_board_behind_ssh(pi: tuple[Board, Profile]) -> None:
    board, _ = pi
    target = open_target(f"board:{DEVICE}")
    assert target.uri == f"board:{DEVICE}"
    assert target.emulated is True
    assert target.profile is not None
    assert target.profile.name == DEVICE
    assert board.pid() is None, "nothing is started before it is used"
    target.close()


@pytest.mark.parametrize(
    ("rest", "said"),
    [("", "names no device"), (f"{DEVICE},lok=x", "lock"), ("raspberry-pi-4", "raspberry-pi-4b")],
)
def test_a_target_that_means_nothing_is_refused(rest: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        open_target(f"board:{rest}")


def test_a_board_that_cannot_be_kept_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "file"))
    board, profile = find_board(DEVICE)
    with pytest.raises(OutputError, match=r"cannot be kept in.*EDGE_SDK_CACHE"):
        start(board, profile)


def test_a_file_that_is_called_as_a_device_is_another_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path))
    (tmp_path / f"{DEVICE}.toml").write_text(f'inherits = "{DEVICE}"\n')
    own, _ = find_board(str(tmp_path / f"{DEVICE}.toml"))
    shipped, _ = find_board(DEVICE)
    assert own.folder != shipped.folder
    assert own.name.startswith(f"{DEVICE}-")


def test_where_boards_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", "/some/cache")
    assert boards_root() == Path("/some/cache/board")
    monkeypatch.delenv("EDGE_SDK_CACHE")
    monkeypatch.setenv("XDG_STATE_HOME", "/some/state")
    assert boards_root() == Path("/some/state/edge-sdk/board")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert boards_root() == Path.home() / ".local/state/edge-sdk/board"


def test_a_damaged_record_is_as_none(pi: tuple[Board, Profile]) -> None:
    board, profile = pi
    board.folder.mkdir(parents=True)
    for text in ("", "[1]", "{"):
        (board.folder / "board.json").write_text(text)
        assert board.facts() == {}
    (board.folder / "board.json").write_text('{"port": "no number"}')
    assert start(board, profile) is True
    assert isinstance(board.facts()["port"], int)


def test_the_machine_is_the_profiles(programs: Path) -> None:
    profile = load(DEVICE)
    found = machine(profile)
    words = found.command("pi", Path("/boards/pi"), Path("/cache/kernel"), 2222)
    told = " ".join(words)
    assert found.program == str(programs / "qemu-system-aarch64")
    assert "-cpu cortex-a72" in told
    assert f"-smp {profile.hardware.cores}" in told
    assert "restrict=on,hostfwd=tcp:127.0.0.1:2222-:22" in told
    assert "-no-reboot" not in words
    big = replace(profile, hardware=replace(profile.hardware, memory_mb=64 << 10))
    assert machine(big).memory_mb == MOST_MEMORY_MB


def test_a_cpu_that_qemu_lacks_is_refused(programs: Path) -> None:
    profile = load(DEVICE)
    strange = replace(profile, emulation=replace(profile.emulation, cpu="cortex-a73"))
    with pytest.raises(RequestError, match="has no CPU 'cortex-a73'"):
        machine(strange)
    nothing = replace(profile, emulation=replace(profile.emulation, cpu=None))
    if os.uname().machine != profile.hardware.arch:
        with pytest.raises(RequestError, match="names no CPU"):
            machine(nothing)


def test_without_qemu_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="apt-get install qemu-system-arm"):
        machine(load(DEVICE))


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed (openssh-client)")
def test_ssh_understands_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "a folder, 100%d"
    folder.mkdir()
    (folder / "config").write_text(ssh_config(folder, "pi", 2222))
    command = ["ssh", "-G", "-F", str(folder / "config"), "pi"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (said["hostname"], said["port"], said["user"]) == ("127.0.0.1", "2222", "root")
    assert said["stricthostkeychecking"] == "true"
    assert said["hostkeyalias"] == "pi"
    assert "a folder, 100%" in said["identityfile"]


def test_the_verb(edge: Run, pi: tuple[Board, Profile]) -> None:
    board, _ = pi
    assert "no boards yet" in edge("board", "list").out
    said = edge("board", "start", DEVICE)
    assert (said.code, f"--on board:{DEVICE}" in said.out) == (0, True)
    assert board.uri in said.out
    assert edge("board", "--json", "start", DEVICE).json["started"] is False
    status = edge("board", "status", DEVICE, "--json").json
    assert (status["state"], status["pid"]) == ("running", board.pid())
    assert DEVICE in edge("board", "list").out
    assert "edge: boot" in edge("board", "console", DEVICE).out
    assert edge("board", "stop", DEVICE).code == 0
    assert edge("board", "kill", DEVICE, "--json").json["was_on"] is False
    assert edge("board", "reset", DEVICE).code == 0
    assert json.loads((board.folder / "board.json").read_text())["port"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ssh", DEVICE), f"edge-sdk board start {DEVICE}"),
        (("console", DEVICE), "was never on"),
        (("status", "raspberry-pi-9"), "no profile is called"),
        (("start", "generic-x86"), "generic-x86"),
    ],
)
def test_the_verb_says_what_is_wrong(
    edge: Run, programs: Path, words: tuple[str, ...], said: str
) -> None:
    found = edge("board", *words)
    assert found.code in (2, 3)
    if words[0] != "start":
        assert said in found.last


def test_a_command_on_a_board(pi: tuple[Board, Profile], programs: Path) -> None:
    start(*pi)
    code = "import sys; from edge_sdk.cli import main; sys.exit(main())"
    words = ["board", "ssh", DEVICE, "--", "uname", "-a"]
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.endswith(f"{DEVICE} uname -a\n")) == (0, True), done
