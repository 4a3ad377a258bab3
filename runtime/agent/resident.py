"""The agent that stays on a device: unpacked and compiled, and the one that starts the service.

From its wheel it would be compiled anew at every call, which takes a small board a second.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from device_profiles.errors import ReleaseError, RequestError
from runtime.agent.layout import Layout, point, remove, settle, unwritable
from runtime.wheel_file import unpack

CODE = "code"
"""Where an agent's packages lie beside its wheel; `agent.py` prefers them to the wheel."""


def own_digest() -> str:
    """Return the name of the folder that the agent which runs was started from."""
    return os.path.basename(os.path.dirname(os.path.realpath(sys.argv[0])))


def prepare(layout: Layout) -> None:
    """Unpack the agent that runs, beside its wheel, unless that is done.

    ReleaseError where its wheel is damaged, OutputError where the disk does not take it.
    """
    folder = layout.agents / own_digest()
    code, draft = folder / CODE, folder / f".draft-{CODE}"
    wheels = sorted(folder.glob("*.whl"))
    if code.is_dir() or not wheels:
        return
    try:
        remove(draft)
        draft.mkdir()
        unpack(wheels[0], draft)
        _compile(draft)
        settle(draft, code)
    except RequestError as error:
        raise ReleaseError(f"the agent came damaged: {error}; flash again") from error
    except OSError as error:
        raise unwritable(layout.root, error) from error


def linked(layout: Layout) -> str | None:
    """Return the digest of the agent that starts the service; None where there is none yet."""
    try:
        return os.path.basename(os.readlink(layout.agent))
    except FileNotFoundError:
        return None


def adopt(layout: Layout) -> None:
    """Let the agent that runs be the one that starts the service from now on."""
    restore(layout, own_digest())


def restore(layout: Layout, digest: str | None) -> None:
    """Let another agent start the service, where it is there and does not do so already."""
    if digest is None or digest == linked(layout) or not (layout.agents / digest).is_dir():
        return
    try:
        point(layout.agent, f"agents/{digest}")
    except OSError as error:
        raise unwritable(layout.root, error) from error


def _compile(place: Path) -> None:
    """Compile the agent's own modules; what it does not import is left as it is."""
    import compileall

    for name in ("device_profiles", "runtime", "runtime/agent", "runtime/agent/services"):
        compileall.compile_dir(place / name, maxlevels=0, quiet=2)


def python() -> str:
    """Return this Python by its whole path: the one of the device, not of an environment's link."""
    return getattr(sys, "_base_executable", None) or sys.executable
