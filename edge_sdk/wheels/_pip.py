"""pip, run for another machine than this one, and what its failures mean.

It runs as a program: its settings (indexes, proxies, certificates, credentials) are the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from device_profiles.errors import MissingError, OutputError, RequestError
from edge_sdk.wheels.tags import Platform

# Settings that are about the user's own machine and would bend what fits another.
_OURS = {
    "PIP_CONSTRAINT": os.devnull,
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_REQUIRE_VIRTUALENV": "0",
    "PIP_USER": "0",
}
_NOTHING = re.compile(r"No matching distribution found for (?P<wanted>.+)")
_VERSIONS = re.compile(r"\(from versions: (?P<versions>[^)]*)\)")
_UNREACHABLE = re.compile(r"Retrying \(Retry\(|Could not fetch URL|ConnectionError|ReadTimeout")
_LINES_KEPT = 3
_PATIENCE_S = 5.0


class NoWheelError(RequestError):
    """The index has no wheel that fits: `wanted`, the requirement, and the `versions` that do."""

    def __init__(self, wanted: str, versions: Sequence[str], platform: Platform) -> None:
        have = ", ".join(reversed(versions[-8:])) or "none"
        super().__init__(f"there is no wheel of {wanted} for {platform}; versions that fit: {have}")
        self.wanted = wanted
        self.versions = tuple(versions)


@dataclass(frozen=True)
class Found:
    """What pip would install: `requires` are the lines `Requires-Dist` of its metadata."""

    name: str
    version: str
    url: str
    sha256: str
    requires: tuple[str, ...]


def find(requirements: Sequence[str], platform: Platform) -> list[Found]:
    """Return the newest wheel of each requirement that fits; nothing is installed.

    Raises NoWheelError, or MissingError when pip is missing or too old or no index answers.
    """
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--ignore-installed", "--target", folder, "--report", str(report)]
        _run(["install", *options, *platform.pip_options, "--", *requirements], platform)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [_found(item) for item in installs]


def _found(item: dict[str, Any]) -> Found:
    metadata, source = item["metadata"], item["download_info"]
    hashes = source["archive_info"].get("hashes", {})
    name, version = metadata["name"], metadata["version"]
    if "sha256" not in hashes:
        raise RequestError(f"the index has no SHA-256 of {name} {version}; use one that has")
    requires = tuple(metadata.get("requires_dist", ()))
    return Found(name, version, source["url"], hashes["sha256"], requires)


def size_of(url: str) -> int | None:
    """Return the bytes behind the address of a wheel; None where its server does not say."""
    head = Request(url, method="HEAD")
    with contextlib.suppress(OSError, ValueError), urlopen(head, timeout=_PATIENCE_S) as answer:
        return int(answer.headers["Content-Length"])
    return None


def fetch(line: str, platform: Platform, folder: Path) -> None:
    """Download what a line of a lock names (with its hash) into `folder`.

    Raises as `find` does, and RequestError when the index has the file with other bytes.
    """
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as place:
        wanted = Path(place, "requirements.txt")
        wanted.write_text(line + "\n", encoding="utf-8")
        options = ["--dest", str(folder), "--require-hashes", *platform.pip_options]
        _run(["download", *options, "-r", str(wanted)], platform)


def _run(arguments: Sequence[str], platform: Platform) -> None:
    general = ["--progress-bar", "off", "--no-color", "--retries", "1"]
    command = [sys.executable, "-m", "pip", *arguments[:1], *general, *arguments[1:]]
    done = subprocess.run(
        command,
        env={**os.environ, **_OURS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise _failure(done.stdout, platform)


def _failure(said: str, platform: Platform) -> Exception:
    nothing = _NOTHING.search(said)
    if "No module named pip" in said:
        return MissingError("pip is not installed here; install it: python3 -m ensurepip")
    if "no such option" in said:
        return MissingError("pip is too old; renew it: python3 -m pip install -U 'pip>=23'")
    if "No space left on device" in said:
        return OutputError("the disk is full while wheels are fetched; free some space")
    if "DO NOT MATCH THE HASHES" in said:
        return RequestError(f"the index offers other bytes than the lock says: {_last(said)}")
    if _UNREACHABLE.search(said):
        return MissingError(
            "the package index cannot be reached; connect, or name a folder of wheels by "
            f"PIP_FIND_LINKS (pip said: {_last(said)})"
        )
    if nothing:
        listed = _VERSIONS.search(said)
        versions = listed["versions"].split(", ") if listed else []
        wanted = re.sub(r"\s*\(from .*|;.*", "", nothing["wanted"]).strip()
        return NoWheelError(wanted, [v for v in versions if v != "none"], platform)
    return RequestError(f"pip cannot choose wheels: {_last(said)}")


def _last(said: str) -> str:
    """Return what pip said last, as one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return " ".join(errors[-_LINES_KEPT:])[:400]
