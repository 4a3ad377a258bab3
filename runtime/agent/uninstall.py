"""Taking everything off a device again: the service, and all that lies in the root."""

from __future__ import annotations

import contextlib
from typing import Any

from runtime.agent.layout import Layout, remove, unwritable
from runtime.agent.resident import python
from runtime.agent.services import Place, service_of

_OURS = (
    "current", "state.json", "state.damaged", "releases", "environments", "incoming", "agent",
    "agents", "keys", "cache", "run", "log", "work", "lock",
)  # fmt: skip


def uninstall(layout: Layout) -> dict[str, Any]:
    """Remove the service and what is ours in the root; what others put there stays and is named.

    OutputError where something cannot be removed.
    """
    with layout.alone():
        service = service_of(Place(layout.root, python()))
        service.stop()
        service.remove()
        try:
            for name in _OURS:  # the link first: nothing is current from then on
                remove(layout.root / name)
        except OSError as error:
            raise unwritable(layout.root, error) from error
    left = sorted(path.name for path in layout.root.iterdir())
    if not left:
        with contextlib.suppress(OSError):  # a folder that others are in, or a mount point
            layout.root.rmdir()
    return {"root": str(layout.root), "left": left}
