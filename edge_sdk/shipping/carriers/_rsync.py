"""Files by rsync: only what differs from what is there, and on from where it was cut."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import OutputError
from edge_sdk.shipping.carriers.base import Item, Sent
from edge_sdk.targets._connection import CUT, Address, Connection
from edge_sdk.targets._there.take import PARTIAL

# Usage, protocol, and a feature that the other side lacks: another rsync than we know how to ask.
_OTHER = (1, 2, 4)

# Whole files appear by a rename, and never change what may be a hard link of what runs. The time of
# a file says nothing of what it holds: --ignore-times compares. Level 9 is of zstd where both sides
# have it, which packs as zlib does at 6 in less time.
_OPTIONS = ("-LIzps", "--chmod=F644", "--compress-level=9", f"--partial-dir={PARTIAL}", "--stats")


def put(connection: Connection, root: str, files: Sequence[Item], basis: str | None) -> Sent | None:
    """Send files below `root`; None where there is no rsync here, or one that cannot do it."""
    folders: dict[str, list[Item]] = {}
    for item in files:
        folders.setdefault(posixpath.dirname(item.there), []).append(item)
    sent = Sent()
    for folder, items in folders.items():
        start = time.monotonic()
        done = _run(connection, root, folder, (items, basis))
        if done is None or done.returncode in _OTHER:
            return None
        if done.returncode in CUT:
            raise connection.lost(done.stderr)
        if done.returncode:
            raise refused(connection.address, _reason(done.stderr))
        counts = _stats(done.stdout)
        sent += Sent(len(items), *counts, time.monotonic() - start)
    return sent


def _run(
    connection: Connection, root: str, folder: str, what: tuple[Sequence[Item], str | None]
) -> subprocess.CompletedProcess[bytes] | None:
    """Send files into one folder, which is there or whose parent is."""
    items, basis = what
    shell, host = connection.rsync()
    place = posixpath.join(root, folder)
    options = [*_OPTIONS, f"--temp-dir={posixpath.dirname(place) if folder else root}"]
    if basis is not None:
        options.append(f"--copy-dest={posixpath.join(root, basis)}")
    with tempfile.TemporaryDirectory(prefix="edge-") as stage:
        # Under their names there, which rsync cannot give to several at once.
        for item in items:
            os.symlink(item.local.absolute(), Path(stage, posixpath.basename(item.there)))
        names = sorted(str(path) for path in Path(stage).iterdir())
        command = ["rsync", *options, *shell, "--", *names, f"{host}:{place}/"]
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return None


def _stats(said: bytes) -> tuple[int, int]:
    """Return the bytes that rsync says it sent and received."""
    found = dict(re.findall(rb"Total bytes (sent|received): ([\d,.]+)", said))
    return tuple(  # type: ignore[return-value]
        int(re.sub(rb"\D", b"", found.get(name, b"0"))) for name in (b"sent", b"received")
    )


def _reason(said: bytes) -> str:
    """Return the first line in which rsync says what failed."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    line = next((line for line in lines if line.startswith("rsync")), "".join(lines[:1]))
    return re.sub(r"^rsync(?: error)?: (?:\[\w+\] )?|\s*\(\d+\)(?: at .*)?$", "", line)


def refused(address: Address, why: str) -> OutputError:
    """Return the error for a device that does not keep what is sent."""
    remedies = {
        errno.ENOSPC: "free some space there",
        errno.EDQUOT: "free some space there",
        errno.EROFS: "mount it writable, or name another folder in the address",
        errno.EACCES: "log in as its owner, or name another folder in the address",
    }
    known = (remedy for code, remedy in remedies.items() if os.strerror(code) in why)
    remedy = next(known, "see its disk (df) and its permissions")
    return OutputError(f"{address} cannot keep what is sent: {why or 'interrupted'}; {remedy}")
