"""Start what is current, in this very process: the service is the run itself."""

from __future__ import annotations

import os

from device_profiles.errors import ReleaseError
from runtime.agent.golden import environment, python_of
from runtime.agent.health import STATS
from runtime.agent.layout import Layout
from runtime.agent.release import BUNDLE, RELEASE, Release
from runtime.agent.services import Place, service_of


def serve(layout: Layout, python: str) -> None:
    """Become the run of the current release; ReleaseError where there is nothing to run."""
    linked = layout.current_id()
    if linked is None:
        raise ReleaseError(f"{layout.root} has no release; flash one")
    folder = layout.releases / linked
    try:
        release = Release.from_bytes((folder / RELEASE).read_bytes())
    except OSError as error:
        raise ReleaseError(f"the release {linked} cannot be read: {error.strerror}") from error
    if not release.run.words:
        raise ReleaseError(f"{release.name} was flashed without a source: nothing is to run")
    work = service_of(Place(layout.root, python)).work
    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    program = str(python_of(layout, release))
    words = ["-I", "-m", "edge_sdk.cli", "run", str(folder / BUNDLE), *release.run.words]
    stats = ["--stats", str(work / STATS), "--log", "json"]
    os.execve(program, [program, *words, *stats], environment(work))
