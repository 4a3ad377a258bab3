"""Shuts a board down when its last user is gone: `python -m edge_sdk.board.watch NAME FOLDER`."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

from device_profiles.errors import EngineError
from edge_sdk.board.board import Board

_LAUNCH_S = 5.0
"""A user that was killed may have left a QEMU that is only about to be."""


def watch(board: Board) -> None:
    """Wait until nobody uses the board, and shut it down unless somebody wants it to stay."""
    with (board.folder / ".users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        end = time.monotonic() + _LAUNCH_S
        while board.pid() is None and time.monotonic() < end:
            time.sleep(0.2)
        temporary = board.folder / "temporary"
        if temporary.exists():
            try:
                board.stop()
            except EngineError:
                board.kill()
            temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    if os.fork() == 0:  # whoever started this goes on, and need not wait for the end
        watch(Board(sys.argv[1], Path(sys.argv[2])))
