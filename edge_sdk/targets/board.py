"""A virtual board, started where it is off and then reached over ssh: `board:PROFILE[,lock=FILE]`.

PROFILE is a name or the path of a TOML file; FILE says which wheels a new board has in place of
those of the profile. A board that was off is shut down when its last user closes it; to keep it on,
and save every command its boot: `edge-sdk board start PROFILE`.
"""

from __future__ import annotations

from edge_sdk.targets._leased import leased
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.targets.ssh import SshTarget


def open_target(rest: str) -> SshTarget:
    """Return the board, which the first use starts; RequestError for what names none."""
    board, uri = leased(rest), f"board:{rest}"
    return SshTarget(
        board.address,
        uri,
        profile=board.profile,
        emulated=True,
        notes=EmulatedTarget(uri, board.profile, board.lock).notes,
        prepare=board.prepare,
        release=board.release,
    )
