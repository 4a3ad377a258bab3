"""A virtual board, started where it is off and then reached over ssh: `board:PROFILE[,lock=FILE]`.

A board that was off is shut down when the carrier is closed; to keep it on, and save every command
its boot: `edge-sdk board start PROFILE`.
"""

from __future__ import annotations

from edge_sdk.board import Lease, find_board
from edge_sdk.shipping.carriers.ssh import SshCarrier
from edge_sdk.targets._connection import Address
from edge_sdk.targets._options import named


def open_carrier(rest: str) -> SshCarrier:
    """Return the way to the board, which the first use starts; RequestError for what names none."""
    name, lock = named("board", rest)
    board, profile = find_board(name)
    leases: list[Lease] = []

    def prepare() -> Address:
        leases.append(Lease(board, profile, lock))
        return Address(board.name, config=board.ssh_config)

    def release() -> None:
        while leases:
            leases.pop().close()

    address = Address(board.name, config=board.ssh_config)
    return SshCarrier(address, f"board:{rest}", profile, prepare, release)
