"""Tell where an installation is, or may be, on a device; nothing is written.

Arguments: its folder, empty for the user's own; the folder of an agent below it, and what that has
to hold (`SHA256 NAME`, each one word). Prints one JSON object on a line of its own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

OURS = {"agent", "agents", "lock", "state.json"}
#: What may lie in the folder before: of a file system of its own, and keys that an image brings.
IGNORED = {"lost+found", "keys"}


def default() -> str:
    """Return the folder of an installation of this user."""
    if os.geteuid() == 0:
        return "/opt/edge-sdk"
    return os.path.join(os.path.expanduser("~"), ".local", "share", "edge-sdk")


def fault(root: str) -> str:
    """Say why an installation cannot be there, and what to do; nothing where it can."""
    try:
        names = set(os.listdir(root)) - IGNORED
    except (FileNotFoundError, NotADirectoryError):
        names = set()
    if names and not names & OURS:
        return f"{root} holds other things; name a folder of its own, such as {root}/edge-sdk"
    place = root
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"{place} is no folder; name another one in the address"
    if os.access(place, os.W_OK | os.X_OK):
        return ""
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return f"{place} is on a read-only file system; mount it writable, or name another folder"
    return f"{place} may not be written by {user()}; log in as its owner, or name another folder"


def user() -> str:
    """Return the name of the user, or the number where there is no name."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def is_whole(path: str, sha256: str) -> bool:
    """Return whether a file is there and has that hash."""
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError:
        return False
    return digest.hexdigest() == sha256


def has_program(name: str) -> bool:
    """Return whether a program is on the PATH."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)


def facts(folder: str, agent: str, *files: str) -> dict[str, Any]:
    """Return the facts."""
    root = os.path.realpath(folder or default())
    try:
        reason = fault(root)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}; see its permissions"
    wanted = [line.partition(" ")[::2] for line in files]
    return {
        "root": root,
        "python": sys.executable,
        "version": list(sys.version_info[:2]),
        "uid": os.geteuid(),
        "user": user(),
        "rsync": has_program("rsync"),
        "agent": all(is_whole(os.path.join(root, agent, name), sha) for sha, name in wanted),
        "resident": os.path.isfile(os.path.join(root, "agent", "agent.py")),
        "fault": reason,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(*sys.argv[1:])) + "\n")
