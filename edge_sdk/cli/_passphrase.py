"""Where a passphrase comes from: a file, the environment, or a terminal; never the command line."""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import stat
import sys
from pathlib import Path

from device_profiles.errors import RequestError

VARIABLE = "EDGE_SDK_PASSPHRASE"
_WAYS = f"--passphrase-file F or {VARIABLE}"
_MAX_BYTES = 4096


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Add --passphrase-file."""
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="F",
        help=f"its first line is the passphrase of the key (else {VARIABLE}, else it is asked for)",
    )


def given(file: Path | None) -> bytes | None:
    """Return the passphrase that a file or the environment gives, if one does."""
    if file is not None:
        return _first_line(file)
    return os.environ[VARIABLE].encode() if os.environ.get(VARIABLE) else None


def asked_for(key: Path) -> bytes:
    """Ask for the passphrase of a key."""
    return _ask(f"passphrase of {key}: ")


def chosen() -> bytes:
    """Ask for a new passphrase, twice."""
    first = _ask("passphrase: ")
    if _ask("once more: ") != first:
        raise RequestError("the two passphrases differ; try again")
    return first


def _ask(prompt: str) -> bytes:
    if not sys.stdin.isatty():
        raise RequestError(f"a passphrase is needed and this is no terminal; give {_WAYS}")
    return getpass.getpass(prompt, stream=sys.stderr).encode()


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:  # a pipe is nobody else's
                raise RequestError(
                    f"{path} is open to others; close it: chmod 600 {shlex.quote(str(path))}"
                )
            line = file.readline(_MAX_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}; see its path") from error
    if not line:
        raise RequestError(f"{path}: its first line is empty; write the passphrase there")
    return line
