"""Installations whose agent is a stand-in: it notes that it guards, and serves a short program."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from runtime.agent.services.base import Place

REPOSITORY = Path(__file__).resolve().parents[4]

AGENT = f"""
import os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
command, root = sys.argv[1:3]
if command == "guard":
    with open(root + "/guarded", "a") as file:
        file.write("once\\n")
elif command == "serve":
    os.execv(sys.executable, [sys.executable, root + "/current/service.py", root])
elif command == "supervise":
    from pathlib import Path
    from runtime.agent.services.base import Place
    from runtime.agent.supervise import supervise
    supervise(Place(Path(root), sys.executable))
"""

SERVICE = f"""
import os, signal, sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from runtime.service import Service
root = sys.argv[1]
service = Service.from_environment()
"""


def place(root: Path, program: str) -> Place:
    """Return an installation that runs `program`: `service` and `root` are there for it."""
    (root / "agent").mkdir(parents=True)
    (root / "agent/agent.py").write_text(AGENT)
    switch(root, program)
    return Place(root, sys.executable)


def switch(root: Path, program: str) -> None:
    """Let `program` be current."""
    (root / "current").mkdir(exist_ok=True)
    (root / "current/service.py").write_text(SERVICE + program)


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something holds; tell whether it does."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
