"""A board's own keys, never shared: its host key, and the one that opens it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from device_profiles.errors import MissingError, OutputError
from edge_sdk.board import cpio

_HOST, _CLIENT, _KNOWN = "host_key", "client_key", "known_hosts"


def ensure_keys(folder: Path, name: str) -> None:
    """Make what is not there yet: two keys, and the file by which ssh knows the host."""
    for key in (_HOST, _CLIENT):
        if not (folder / f"{key}.pub").is_file():
            _make(folder / key, f"edge-board-{name}")
    public = (folder / f"{_HOST}.pub").read_text().split()
    write(folder / _KNOWN, f"{name} {public[0]} {public[1]}\n")


def boot_archive(folder: Path) -> bytes:
    """Return the archive that brings the keys to the board when it boots."""
    return cpio.archive(
        [
            cpio.folder("keys", 0o700),
            cpio.file("keys/host_key", (folder / _HOST).read_bytes(), 0o600),
            cpio.file("keys/authorized_keys", (folder / f"{_CLIENT}.pub").read_bytes(), 0o600),
        ]
    )


def ssh_config(folder: Path, name: str, port: int) -> str:
    """Return a file in the way of ssh_config(5) by which `ssh NAME` reaches the board."""
    return f"""Host {name}
  HostName 127.0.0.1
  Port {port}
  User root
  HostKeyAlias {name}
  IdentityFile {_quoted(folder / _CLIENT)}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {_quoted(folder / _KNOWN)}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
"""


def write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}; see df") from error


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


def _make(path: Path, comment: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(draft)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise MissingError(
            "ssh-keygen is not here, and a board is reached over ssh; install it with: sudo "
            "apt-get install openssh-client"
        ) from error
    if done.returncode:
        raise OutputError(f"ssh-keygen cannot make {path}: {done.stderr.strip() or 'see df'}")
    draft.replace(path)
    draft.with_name(f"{draft.name}.pub").replace(f"{path}.pub")
