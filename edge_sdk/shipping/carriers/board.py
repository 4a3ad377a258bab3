"""A virtual board, started where it is off and then reached over ssh: `board:PROFILE[,lock=FILE]`.

A board that was off is shut down when the carrier is closed; to keep it on, and save every command
its boot: `edge-sdk board start PROFILE`.
"""

from __future__ import annotations

from edge_sdk.shipping.carriers.ssh import SshCarrier
from edge_sdk.targets._leased import leased


def open_carrier(rest: str) -> SshCarrier:
    """Return the way to the board, which the first use starts; RequestError for what names none."""
    board = leased(rest)
    return SshCarrier(board.address, f"board:{rest}", board.profile, board.prepare, board.release)
