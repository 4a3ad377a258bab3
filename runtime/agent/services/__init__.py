"""Services: what keeps a release running, by the system's manager or by our own supervision."""

from __future__ import annotations

import os
from pathlib import Path

from device_profiles.errors import RequestError
from runtime.agent.services.base import Liveness, Place, Service, ServiceOptions
from runtime.agent.services.plain import Plain

__all__ = ["Liveness", "Place", "Service", "ServiceOptions", "service_of"]

WHICH = "EDGE_SDK_SERVICE"
"""The variable that says which service is meant: plain, systemd, systemd-system, systemd-user."""

FILES = "EDGE_SDK_SYSROOT"
"""The variable that says where /etc, /run and /var are, for tests: `/` without it."""


def service_of(place: Place) -> Service:
    """Return the service of an installation: systemd's where systemd runs the system, else ours.

    root has the system's units; others have their own where their manager answers.
    """
    files = Path(os.environ.get(FILES) or "/")
    wanted = os.environ.get(WHICH, "")
    if wanted not in ("", "plain"):
        raise RequestError(f"{WHICH}={wanted} is not known; say plain, or leave it out")
    return Plain(place, files)
