"""The doctor where it looks: `python -m edge_sdk.looks REQUEST` writes findings as JSON.

REQUEST is a JSON object of what a `Scene` is made from. It starts on any Python 3.7 or newer,
with nothing installed.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_sdk.looks.base import Scene

OLDEST = (3, 10)
_EMULATED_PATIENCE_S = 300.0


def main(request: dict[str, Any]) -> None:
    """Look, and write `{"findings": [...]}` as the last line of standard output."""
    found = _too_old() or _look(request)
    sys.stdout.write("\n" + json.dumps({"findings": found}) + "\n")
    sys.stdout.flush()


def _too_old() -> list[dict[str, str]]:
    if sys.version_info >= OLDEST:
        return []
    detail = "%s at %s" % (sys.version.split()[0], sys.executable)  # noqa: UP031
    remedy = "install Python 3.10 or newer and name it, such as ssh://user@host,python=PATH"
    return [{"name": "python", "level": "fault", "detail": detail, "remedy": remedy}]


def _look(request: dict[str, Any]) -> list[dict[str, str]]:
    from edge_sdk.looks._examine import examine

    return [vars(finding) for finding in examine(_scene(request))]


def _scene(request: dict[str, Any]) -> Scene:
    from functools import partial
    from pathlib import Path

    from edge_sdk.looks._trial import attempt, exists
    from edge_sdk.looks.base import Scene

    root = Path(request["root"])
    board = (root / "proc/device-tree/model").exists()
    profile = None
    if request["profile"] is not None and (sys.version_info >= (3, 11) or exists("tomli")):
        from device_profiles.profile import Profile

        profile = Profile.from_json(request["profile"])
    return Scene(
        root=root,
        folder=Path(request["folder"]) if request["folder"] else Path.home(),
        profile=profile,
        emulated=request["emulated"],
        host=request["local"] and (exists("torch") or not board),
        attempt=partial(attempt, patience_s=_EMULATED_PATIENCE_S)
        if request["emulated"]
        else attempt,
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
