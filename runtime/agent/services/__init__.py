"""Services: what keeps a release running, by the system's manager or by our own supervision."""

from __future__ import annotations

import os
from pathlib import Path

from device_profiles.errors import RequestError
from runtime.agent.services.base import Liveness, Place, Service, ServiceOptions

__all__ = ["Liveness", "Place", "Service", "ServiceOptions", "enable_boot", "service_of"]

WHICH = "EDGE_SDK_SERVICE"
"""The variable that says which service is meant: `plain`, `systemd`, or one of these with a scope,
`systemd-system` and `systemd-user`, as our units say it to the processes that they start."""

FILES = "EDGE_SDK_SYSROOT"
"""The variable that says where /etc, /run and /var are, for tests: `/` without it."""


def service_of(place: Place) -> Service:
    """Return the service of an installation: systemd's where systemd runs the system, else ours.

    root has the system's units; others have their own where their manager answers.
    """
    files = Path(os.environ.get(FILES) or "/")
    root = os.geteuid() == 0
    wanted = os.environ.get(WHICH) or _found(files, root)
    if wanted == "plain":
        from runtime.agent.services.plain import Plain

        return Plain(place, files)
    scopes = {"systemd": root, "systemd-system": True, "systemd-user": False}
    if wanted not in scopes:
        raise RequestError(f"{WHICH}={wanted} is not known; say plain or systemd, or leave it out")
    from runtime.agent.services.systemd import Systemd

    return Systemd(place, scopes[wanted], files)


def enable_boot(place: Place, files: Path) -> list[str]:
    """Have `agent boot` called at the next boot of a system that lies in `files` and does not run.

    `place` is as that system will see it. Returns what a person should know or do.
    """
    from runtime.agent.services import at_boot, systemd

    if (files / "lib/systemd/systemd").exists() or (files / "usr/lib/systemd/systemd").exists():
        return [f"systemd installs it at boot ({systemd.enable_boot(place, files)})"]
    if at_boot.has_init(files):
        return [f"init installs it at boot ({at_boot.write_script(place, files)})"]
    return [at_boot.by_hand(place)]


def _found(files: Path, root: bool) -> str:
    """Return what runs this system, as sd_booted(3) finds out."""
    if not (files / "run/systemd/system").is_dir():
        return "plain"
    from runtime.agent.services.systemd import user_answers

    return "systemd" if root or user_answers() else "plain"
