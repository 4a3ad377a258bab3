"""The files that a device holds: which are what they should be, and where there is one already."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from device_profiles.errors import BundleError, ReleaseError
from runtime.agent.layout import Layout, remove
from runtime.agent.release import BUNDLE, RELEASE, Release
from runtime.archive import Archive
from runtime.manifest import FileEntry, Manifest
from runtime.statements import SIGNATURE
from runtime.wheel_file import sha256

MANIFEST = "manifest.json"


def is_whole(path: Path, entry: FileEntry) -> bool:
    """Say whether `path` is a plain file of that size and hash."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == entry.size and (
        sha256(path) == entry.sha256
    )  # fmt: skip


def link_held(layout: Layout, release: Release, draft: Path) -> list[FileEntry]:
    """Put what other releases hold of a release into its draft, and return what is missing.

    The same content is the same file, by a hard link; it is read first, since disks err.
    """
    missing = []
    for entry in release.files:
        place = draft / entry.path
        if is_whole(place, entry):
            continue
        source = next((path for path in _like(layout, entry) if is_whole(path, entry)), None)
        if source is None:
            missing.append(entry)
            continue
        remove(place)
        os.link(source, place)
    return missing


def link_agents(layout: Layout, wheels: Iterable[FileEntry]) -> None:
    """Put the wheels that an agent came in beside those that are sent: they need not come twice."""
    for wheel in wheels:
        place = layout.wheels / wheel.path
        for source in sorted(layout.agents.glob(f"*/{wheel.path}")):
            if is_whole(source, wheel) and not place.exists():
                os.link(source, place)


def _like(layout: Layout, entry: FileEntry) -> Iterator[Path]:
    for folder in sorted(layout.releases.glob("*")):
        path = folder / entry.path
        if path.is_file() and path.stat().st_size == entry.size:
            yield path


def verify(folder: Path, release: Release) -> Manifest:
    """See that a folder holds a release and nothing else, whole, and return its bundle's manifest.

    ReleaseError, which names the file, for anything else; the bundle inside is verified by its own
    manifest as well.
    """
    expected = {RELEASE, *(entry.path for entry in release.files)}
    found = set(os.listdir(folder))
    if found != expected:
        odd = ", ".join(sorted(found ^ expected))[:200]
        raise ReleaseError(f"what came is not the release: it differs in {odd}; flash it again")
    if (folder / RELEASE).read_bytes() != release.to_bytes():
        raise ReleaseError(f"{RELEASE} is not what was announced; flash it again")
    for entry in release.files:
        if not is_whole(folder / entry.path, entry):
            raise ReleaseError(
                f"{entry.path} came damaged (wrong size or SHA-256, or no plain file); flash it "
                "again"
            )
    return _bundle(folder / BUNDLE, release)


def _bundle(path: Path, release: Release) -> Manifest:
    try:
        with path.open("rb", buffering=0) as file:
            archive = Archive(file, BUNDLE)
            data = archive.read(MANIFEST) if MANIFEST in archive.members else b""
            manifest = Manifest.from_bytes(data)
            if manifest.id != release.bundle:
                raise BundleError(f"{BUNDLE} is another bundle than its release names")
            named = {MANIFEST, SIGNATURE, *(entry.path for entry in manifest.files())}
            if not named.issuperset(archive.members):
                raise BundleError(f"{BUNDLE} holds files that its manifest does not name")
            for entry in manifest.files():
                member = archive.members.get(entry.path)
                if member is None or archive.digest(entry.path) != entry.sha256:
                    raise BundleError(f"{BUNDLE}: {entry.path} is not what its manifest names")
    except BundleError as error:
        raise ReleaseError(str(error)) from error
    return manifest
