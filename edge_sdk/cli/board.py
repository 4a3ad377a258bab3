"""`edge-sdk board`: virtual boards, to flash, reboot and cut the power of."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from device_profiles.errors import MissingError, RequestError
from edge_sdk.cli.base import Outcome
from edge_sdk.report import Table, table
from runtime.logs import KINDS

if TYPE_CHECKING:
    from edge_sdk.board import Board

HELP = "start, stop and use virtual boards: whole devices under QEMU"

_ACTIONS = {
    "start": "start a board that stays on, and wait until ssh answers",
    "stop": "shut a board down in order",
    "kill": "cut a board's power",
    "reset": "throw a board's disk away, its power cut; the next start makes one anew",
    "status": "tell how a board is",
    "list": "list the boards that there are",
    "ssh": "open a shell on a board, or run a command there",
    "console": "show what a board wrote on its console",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare an action each, with the options of all verbs in either place."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, said in _ACTIONS.items():
        action = actions.add_parser(name, help=said, description=said)
        if name != "list":
            action.add_argument("profile", help="a device, or a TOML file")
        if name == "start":
            action.add_argument(
                "--lock", metavar="FILE", help="the wheels of a new board (default: the profile's)"
            )
        if name == "ssh":
            action.add_argument("command", nargs="*", help="what to run there (behind --)")
        if name == "console":
            action.add_argument("--follow", action="store_true", help="go on as it is written")
        keep = argparse.SUPPRESS
        action.add_argument("--json", action="store_true", default=keep, help="one JSON object")
        action.add_argument("--log", choices=KINDS, default=keep, help="how logs are written")
        action.add_argument("--debug", action="store_true", default=keep, help="show tracebacks")


def run(arguments: argparse.Namespace) -> Outcome:
    """Do what is asked."""
    if arguments.action == "list":
        return _list()
    from edge_sdk.board import find_board, start

    board, profile = find_board(arguments.profile)
    if arguments.action == "start":
        from pathlib import Path

        lock = None if arguments.lock is None else Path(arguments.lock)
        began = time.monotonic()
        fresh = start(board, profile, lock)
        return _started(board, fresh, time.monotonic() - began)
    if arguments.action == "status":
        found = board.status()
        return Outcome(found, "\n".join(f"{key}: {value}" for key, value in found.items()))
    if arguments.action == "ssh":
        return _ssh(board, arguments.command)
    if arguments.action == "console":
        return _console(board, arguments.follow)
    return _ended(board, arguments.action)


def _started(board: Board, fresh: bool, seconds: float) -> Outcome:
    how = f"is on; ssh answered after {seconds:.1f} s" if fresh else "was on already"
    named = board.name
    text = (
        f"the board {named} {how}\n"
        f"use it: --on board:{named}, or edge-sdk board ssh {named}\n"
        f"as any device: {board.uri}\n"
        f"by hand: ssh -F {board.ssh_config} {named}\n"
        f"end it: edge-sdk board stop {named} (kill cuts its power)"
    )
    return Outcome({**board.status(), "started": fresh, "start_s": round(seconds, 1)}, text)


def _ended(board: Board, action: str) -> Outcome:
    if action == "reset":
        board.reset()
        return Outcome(board.status(), f"the board {board.name} starts from a new disk next time")
    done = board.stop() if action == "stop" else board.kill()
    how = "is off" if done else "was off already"
    return Outcome({**board.status(), "was_on": done}, f"the board {board.name} {how}")


def _list() -> Outcome:
    from edge_sdk.board import boards

    found = [board.status() for board in boards()]
    rows = tuple(
        (
            status["name"],
            status["state"],
            str(status.get("port") or ""),
            _megabytes(status.get("memory_mb")),
            _megabytes(status["disk_mb"]),
        )
        for status in found
    )
    text = table(Table("Boards", ("name", "state", "port", "memory", "disk"), rows))
    empty = "no boards yet; make one: edge-sdk board start PROFILE"
    return Outcome({"boards": found}, text if rows else empty)


def _megabytes(value: Any) -> str:
    return "" if value is None else f"{value:.0f} MB"


def _ssh(board: Board, command: list[str]) -> Outcome:
    if board.pid() is None:
        raise RequestError(
            f"the board {board.name} is off; start it: edge-sdk board start {board.name}"
        )
    sys.stdout.flush()
    try:
        code = subprocess.run(
            ["ssh", "-F", str(board.ssh_config), board.name, *command],
            # What it says is the answer, unless an object is wanted.
            stdout=sys.stdout.fileno(),
            check=False,
        ).returncode
    except FileNotFoundError as error:
        raise MissingError(
            "ssh is not here; install it with: sudo apt-get install openssh-client"
        ) from error
    return Outcome({"name": board.name, "code": code}, "", passed=code == 0)


def _console(board: Board, follow: bool) -> Outcome:
    if not board.console.is_file():
        raise RequestError(
            f"the board {board.name} was never on; start it: edge-sdk board start {board.name}"
        )
    with board.console.open("rb") as log:
        text = log.read().decode(errors="replace")
        if follow:
            _follow(board, text, log.read)
            return Outcome({"name": board.name}, "")
    return Outcome({"name": board.name, "console": text}, text.rstrip())


def _follow(board: Board, text: str, read: Any) -> None:
    while True:
        sys.stdout.write(text)
        sys.stdout.flush()
        if not text and board.pid() is None:
            return
        time.sleep(0.2)
        text = read().decode(errors="replace")
