"""This machine, with the Python that runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import EngineError, RequestError
from edge_sdk.targets._code import packages
from edge_sdk.targets.base import Start


def open_target(rest: str) -> LocalTarget:
    """Return this machine; RequestError where more was said than `local`."""
    if rest:
        raise RequestError(f"local takes nothing behind it, not {rest!r}; say --on local")
    return LocalTarget()


class LocalTarget:
    """This machine. Its timings are true of it, and one process at a time keeps them so."""

    uri = "local"
    profile = None
    emulated = False
    lanes = 1
    shares_files = True
    notes: tuple[str, ...] = ()

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:  # noqa: B008
        """Start this Python; EngineError when the system does not let us."""
        if given.plugin is not None:
            raise RequestError("instructions are counted by an emulator; say --on emulated:PROFILE")
        code = packages()
        paths = [str(code), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {**os.environ, **given.env, "PYTHONPATH": os.pathsep.join(paths)}
        try:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=given.apart,
                cwd=code,  # with -m, Python looks there first
            )
        except OSError as error:
            raise EngineError(
                f"cannot start a process ({error.strerror}); see the limits on processes, open "
                "files and memory"
            ) from error

    def send(self, path: Path) -> str:
        """Return the absolute path: it is here already."""
        return str(path.absolute())

    def close(self) -> None:
        """Hold nothing."""
