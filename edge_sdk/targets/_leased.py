"""A virtual board for as long as somebody uses it, as whoever reaches it over ssh needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_profiles.profile import Profile
from edge_sdk.board import Lease, find_board
from edge_sdk.targets._connection import Address
from edge_sdk.targets._options import named


@dataclass(frozen=True)
class Leased:
    """A board: `prepare` starts it where it is off and returns where it is, `release` ends that."""

    address: Address
    profile: Profile
    lock: Path | None
    prepare: Callable[[], Address]
    release: Callable[[], None]


def leased(rest: str) -> Leased:
    """Return the board that `board:rest` names, which is not started yet; RequestError for none."""
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
    return Leased(address, profile, lock, prepare, release)
