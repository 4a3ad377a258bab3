"""Starting a board, for good or for as long as somebody uses it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from device_profiles.errors import EngineError, OutputError
from device_profiles.profile import Profile
from edge_sdk.board import keys
from edge_sdk.board.board import Board
from edge_sdk.board.image import Image, board_image
from edge_sdk.board.machine import Machine, machine
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.wheels import site_folder
from runtime.progress import step, track

BOOT_S = 240.0
"""How long a board may take from power to ssh; 10 to 20 s are usual."""

_PORTS_TRIED = 5
_CONSOLE_BYTES = 1 << 20


def start(board: Board, profile: Profile, lock: Path | None = None) -> bool:
    """Start a board that stays on when we are gone; False when it was on already.

    Returns when ssh answers. MissingError without QEMU, e2fsprogs, ssh or the network, OutputError
    where its folder cannot be written, EngineError with its last words when it does not boot.
    """
    with _users(board):
        return _ensure(board, profile, lock, stays=True)


class Lease:
    """A board that is on while somebody uses it: what nobody started is shut down by the last."""

    def __init__(self, board: Board, profile: Profile, lock: Path | None = None) -> None:
        self.board = board
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_users(board))
        try:
            _ensure(board, profile, lock, stays=False)
        except BaseException:
            self._stack.close()
            raise

    def close(self) -> None:
        """Use it no longer."""
        self._stack.close()


@contextlib.contextmanager
def _users(board: Board) -> Iterator[IO[str]]:
    """Be one of the users. The kernel ends it with the process, however that ends."""
    board.make()
    with (board.folder / ".users").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield lock


def _watch(board: Board) -> None:
    """Start what shuts the board down after its last user; it goes to the background."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-m", "edge_sdk.board.watch", board.name, str(board.folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise EngineError(
            f"what would shut the board {board.name} down later does not start; start it yourself: "
            f"edge-sdk board start {board.name}"
        )


def _ensure(board: Board, profile: Profile, lock: Path | None, *, stays: bool) -> bool:
    temporary = board.folder / "temporary"
    with board.alone():
        if stays:
            temporary.unlink(missing_ok=True)
        if board.pid() is not None:
            _await(board)
            return False
        hardware = machine(profile)
        image = _image(profile, hardware, lock)
        _furnish(board, image)
        if not stays:
            temporary.touch()
            _watch(board)
        try:
            _launch(board, hardware, image)
            _await(board)
        except BaseException:
            board.kill()
            raise
        return True


def _image(profile: Profile, hardware: Machine, lock: Path | None) -> Image:
    """Return the image with the wheels that the emulated device has as well."""
    wheels = EmulatedTarget(f"board:{profile.name}", profile, lock).lock
    return board_image(
        profile.hardware.arch,
        profile.emulation.debian,
        hardware.arch.kernel,
        wheels.system,
        site_folder(wheels),
    )


def _furnish(board: Board, image: Image) -> None:
    """Give it keys, what it boots from, and a disk where it has none."""
    keys.ensure_keys(board.folder, board.name)
    disk, beside = board.folder / "disk", board.folder / ".disk"
    facts = board.facts()
    try:
        if not disk.is_file():
            _copy(image.disk, beside)
            beside.replace(disk)
            facts["image"] = image.key
        boots_from = image.initrd.read_bytes() + keys.boot_archive(board.folder)
        draft = board.folder / ".initrd"
        draft.touch(0o600)
        draft.write_bytes(boots_from)
        draft.replace(board.folder / "initrd")
        if board.console.is_file() and board.console.stat().st_size > _CONSOLE_BYTES:
            board.console.unlink()
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(
            f"the board {board.name} cannot be kept in {board.folder}: {error.strerror}; see df, "
            "or name another folder by EDGE_SDK_CACHE"
        ) from error
    if facts.get("image") != image.key:
        step(
            f"the disk of {board.name} is of another image than today's; renew it with: edge-sdk "
            f"board reset {board.name}"
        )
    keys.write(board.folder / "board.json", json.dumps(facts))


def _copy(source: Path, place: Path) -> None:
    """Copy a file and its holes; on file systems that can, without copying anything."""
    done = subprocess.run(
        ["cp", "--reflink=auto", "--sparse=always", str(source), str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().rpartition(": ")[2] or "it was interrupted"
        raise OSError(0, said)


def _launch(board: Board, hardware: Machine, image: Image) -> None:
    step(f"starting the board {board.name} ({hardware.cpu}, {hardware.cores} cores)")
    port = _free_port(board.facts().get("port"))
    for _ in range(_PORTS_TRIED):
        facts = {**board.facts(), "port": port}
        keys.write(board.folder / "board.json", json.dumps(facts))
        keys.write(board.ssh_config, keys.ssh_config(board.folder, board.name, port))
        done = subprocess.run(
            hardware.command(board.name, board.folder, image.kernel, port),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=board.folder,
            check=False,
        )
        if done.returncode == 0:
            return
        if "host forwarding" not in done.stderr:
            break
        port = _free_port()  # somebody took it in between
    said = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
    raise EngineError(f"QEMU does not start the board {board.name}: {said}")


def _free_port(wanted: object = None) -> int:
    """Return a port of the loopback that nobody has: the one `wanted`, if it can be."""
    for port in (wanted, 0):
        if isinstance(port, int):
            with socket.socket() as plug, contextlib.suppress(OSError, OverflowError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                plug.bind(("127.0.0.1", port))
                found: int = plug.getsockname()[1]
                return found
    raise EngineError("no port of the loopback is free; see `ss -tln`")


def _await(board: Board) -> None:
    """Wait until ssh lets us in; EngineError with the board's last words when it does not."""
    for passed in track(_moments(BOOT_S), f"booting {board.name}"):
        # QEMU takes connections before anybody is behind them: short tries at first. A busy
        # machine's board needs time for its first words: longer ones later.
        if board.answers(int(2 + passed / 4)):
            return
        if board.pid() is None:
            words = board.last_words()
            raise EngineError(
                f"the board {board.name} went off while it booted; its last words: {words!r}; see "
                f"edge-sdk board console {board.name}"
            )
    raise EngineError(
        f"the board {board.name} did not answer within {BOOT_S:.0f} s; its last words: "
        f"{board.last_words()!r}; see edge-sdk board console {board.name}"
    )


def _moments(seconds: float) -> Iterator[float]:
    """Yield how many seconds have passed, again and again, until they are `seconds`."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        yield passed
        time.sleep(0.25)
