"""The service's own code, as a device has it: in a zip, with the bare standard library."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runtime.agent.services.base import Place
from runtime.agent.services.plain import Plain
from tests.runtime.agent.services.places import AGENT, REPOSITORY, place, until
from tests.runtime.agent.services.test_plain import WORKS

MODULES = (
    "runtime.agent.services", "runtime.agent.services.at_boot", "runtime.agent.services.plain",
    "runtime.agent.services.systemd", "runtime.agent.supervise", "runtime.agent.unit",
)  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "agent.whl"
    with zipfile.ZipFile(path, "w") as file:
        for package in ("runtime", "device_profiles"):
            for source in sorted((REPOSITORY / package).rglob("*.py")):
                file.write(source, source.relative_to(REPOSITORY))
    return path


@pytest.mark.parametrize("module", MODULES)
def test_it_needs_the_standard_library_alone(archive: Path, module: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(archive)!r}); import {module}"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True, timeout=60)


def test_a_supervisor_outlives_the_archive_that_it_came_from(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "edge"
    where: Place = place(root, WORKS)
    own = tmp_path / "own.whl"
    own.write_bytes(archive.read_bytes())
    agent = AGENT.replace(repr(str(REPOSITORY)), repr(str(own)))
    (root / "agent/agent.py").write_text(agent)
    service = Plain(where, root / "files")
    service.start()
    try:
        assert until(lambda: service.liveness().ready)
        own.write_bytes(b"another")  # as another release brings another agent
        pid = service.liveness().pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        assert until(lambda: service.liveness().restarts == 1 and service.liveness().ready)
        assert "SIGSEGV" in service.liveness().reason
        service.stop()
        assert (root / "log/supervisor.log").read_text() == ""  # no fault of its own
    finally:
        service.stop(1.0)
