"""The virtual board: a whole system of a device under QEMU, reached over ssh.

For what a single emulated program cannot show: flashing, reboots and power cuts. `board.py` is one
board as it lies on this machine, `boot.py` starts it, `image.py` makes its disk from Debian's
packages, `machine.py` is QEMU's command line.
"""

from __future__ import annotations

from edge_sdk.board.board import Board, boards, find_board
from edge_sdk.board.boot import Lease, start

__all__ = ["Board", "Lease", "boards", "find_board", "start"]
