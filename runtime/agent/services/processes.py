"""The processes of a service, its descendants too: they carry the folder in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from device_profiles.errors import EngineError

MARK = "EDGE_SDK_SUPERVISED"

_PATIENCE_S = 5.0


def processes_of(root: Path) -> list[int]:
    """Return those of our own processes that belong to the service in `root`.

    A parent, a session or a group can be left; the environment that was started with cannot.
    """
    wanted = f"{MARK}={root}".encode(errors="surrogateescape")
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # it ended, or it is another user's
            data = Path(f"/proc/{name}/environ").read_bytes()
            if wanted in data.split(b"\0"):
                found.append(int(name))
    return found


def end_all(root: Path) -> None:
    """Kill whatever runs of the service in `root`; EngineError for what does not end of it."""
    end = time.monotonic() + _PATIENCE_S
    pause = 0.002
    while left := processes_of(root):
        if time.monotonic() > end:
            numbers = ", ".join(map(str, left))
            raise EngineError(
                f"the service in {root} does not end (process {numbers}): a driver holds it; "
                "restart the device"
            )
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.1, 2 * pause)
