"""Start what is current, in this very process: the service is the run itself."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from device_profiles.errors import ReleaseError
from runtime.agent.golden import environment, python_of
from runtime.agent.health import STATS
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, RELEASE, Release
from runtime.agent.services import Place, service_of
from runtime.agent.unit import IDLE

_PROBE_BYTES = 16384
"""What the first stats take, and more."""


class IdleError(ReleaseError):
    """There is nothing to run, and no reason to start it again: a unit is told so by the code."""

    exit_code = IDLE


def serve(layout: Layout, python: str) -> None:
    """Become the run of the current release; ReleaseError where there is nothing to run."""
    linked = layout.current_id()
    if linked is None:
        raise IdleError(f"{layout.root} has no release; flash one")
    folder = layout.releases / linked
    try:
        release = Release.from_bytes((folder / RELEASE).read_bytes())
    except OSError as error:
        raise ReleaseError(f"the release {linked} cannot be read: {error.strerror}") from error
    if not release.run.words:
        raise IdleError(f"{release.name} was flashed without a source: nothing is to run")
    work = service_of(Place(layout.root, python)).work
    kept = _can_write(work)
    os.chdir(work if kept else "/")
    program = str(python_of(layout, release))
    words = ["-I", "-m", "edge_sdk.cli", "run", str(folder / BUNDLE), *release.run.words]
    stats = ["--stats", str(work / STATS)] if kept else []
    os.execve(program, [program, *words, *stats, "--log", "json"], environment(layout))


def _can_write(work: Path) -> bool:
    """Say whether the folder takes what the run writes there; a full disk ends no service."""
    probe = work / ".probe"
    try:
        work.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(bytes(_PROBE_BYTES))
        probe.unlink()
    except OSError:
        with contextlib.suppress(OSError):
            probe.unlink()
        return False
    return True
