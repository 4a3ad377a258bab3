"""A virtual board, started where it is off and then reached over ssh: `board:PROFILE[,lock=FILE]`.

PROFILE is a name or the path of a TOML file; FILE says which wheels a new board has in place of
those of the profile. A board that was off is shut down when its last user closes it; to keep it on,
and save every command its boot: `edge-sdk board start PROFILE`.
"""

from __future__ import annotations

from edge_sdk.board import Lease, find_board
from edge_sdk.targets._connection import Address
from edge_sdk.targets._options import named
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.targets.ssh import SshTarget


def open_target(rest: str) -> SshTarget:
    """Return the board, which the first use starts; RequestError for what names none."""
    name, lock = named("board", rest)
    board, profile = find_board(name)
    leases: list[Lease] = []

    def prepare() -> Address:
        leases.append(Lease(board, profile, lock))
        return Address(board.name, config=board.ssh_config)

    def release() -> None:
        while leases:
            leases.pop().close()

    return SshTarget(
        Address(board.name, config=board.ssh_config),
        f"board:{rest}",
        profile=profile,
        emulated=True,
        notes=EmulatedTarget(f"board:{rest}", profile, lock).notes,
        prepare=prepare,
        release=release,
    )
