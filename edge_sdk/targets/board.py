"""A virtual board, started where it is off and then reached over ssh: `board:PROFILE[,lock=FILE]`.

PROFILE is a name or the path of a TOML file; FILE says which wheels a new board has in place of
those of the profile. A board that was off is shut down when its last user closes it; to keep it on,
and save every command its boot: `edge-sdk board start PROFILE`.
"""

from __future__ import annotations

from pathlib import Path

from device_profiles.errors import RequestError
from device_profiles.nearest import hint
from edge_sdk.board import Lease, find_board
from edge_sdk.targets._connection import Address
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.targets.ssh import SshTarget


def open_target(rest: str) -> SshTarget:
    """Return the board, which the first use starts; RequestError for what names none."""
    name, *options = rest.split(",")
    lock = None
    for option in options:
        key, _, value = option.partition("=")
        if key != "lock" or not value:
            raise RequestError(
                f"board:{rest}: no option is called {option!r}; {hint(key, ['lock'])}"
            )
        lock = Path(value).expanduser().absolute()
    if not name:
        raise RequestError("board: names no device; say such as board:raspberry-pi-4b")
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
