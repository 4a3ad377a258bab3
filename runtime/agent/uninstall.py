"""Taking everything off a device again: the service, and all that lies in the root."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from runtime.agent.layout import DRAFT, Layout, remove, unwritable
from runtime.agent.resident import python
from runtime.agent.services import Place, service_of

_OURS = (
    "current", "state.json", "state.damaged", "releases", "environments", "incoming", "keys",
    "cache", "run", "log", "work", "agents", "agent", "lock",
)  # fmt: skip
"""In the order in which they go: the link, so that nothing is current from then on; and the agent
after what it is asked to remove, for whoever is cut and asks again."""


def uninstall(layout: Layout) -> dict[str, Any]:
    """Remove the service and what is ours in the root; what others put there stays and is named.

    OutputError where something cannot be removed.
    """
    with layout.alone():
        service = service_of(Place(layout.root, python()))
        service.stop()
        service.remove()
        try:
            drafts = (n for n in os.listdir(layout.root) if n.startswith(DRAFT))
            for name in (*_OURS, *drafts):
                remove(layout.root / name)
        except OSError as error:
            raise unwritable(layout.root, error) from error
    left = sorted(path.name for path in layout.root.iterdir())
    if not left:
        with contextlib.suppress(OSError):  # a folder that others are in, or a mount point
            layout.root.rmdir()
    return {"root": str(layout.root), "left": left}
