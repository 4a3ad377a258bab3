"""Taking a release in: what it needs is there before anything is written, and it is whole after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import BundleError, ReleaseError
from runtime.agent.collect import clear_incoming
from runtime.agent.environment import complete, held
from runtime.agent.facts import MARGIN_BYTES, facts, free_bytes, unmet
from runtime.agent.held import is_whole, link_agents, link_held, verify
from runtime.agent.layout import (
    READY,
    Layout,
    remove,
    settle,
    sync_file,
    sync_folder,
    unwritable,
    write_whole,
)
from runtime.agent.release import BUNDLE, RELEASE, Release
from runtime.agent.state import State
from runtime.agent.trust import Accepted, Pins, judge
from runtime.archive import Archive
from runtime.manifest import FileEntry, Manifest
from runtime.statements import Statement, parse_statements, read_statements

PARTIAL = ".part"
"""Where a transfer keeps what it was cut in, to go on with it; of the folder that it sends to."""


@dataclass(frozen=True)
class Offer:
    """A release that a host wants to bring: its text, the wheels of its environment, what is signed
    (the bundle's member `signature`, empty where there is none). BundleError for a wheel whose name
    is none. What was `delivered` is installed at the next boot where this one is cut."""

    release: Release
    wheels: tuple[FileEntry, ...]
    signature: bytes = b""
    allow_downgrade: bool = False
    delivered: bool = False

    def __post_init__(self) -> None:
        for wheel in self.wheels:
            if os.path.basename(wheel.path) != wheel.path or not wheel.path.endswith(".whl"):
                raise BundleError(f"{wheel.path!r} is no name of a wheel")


@dataclass(frozen=True)
class Wanted:
    """What a device wants sent: files of the release and wheels, by name; and the folder (below
    the root) whose files of the same name are like them."""

    files: tuple[str, ...]
    wheels: tuple[str, ...]
    basis: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"files": list(self.files), "wheels": list(self.wheels), "basis": self.basis}


def receive(layout: Layout, state: State, offer: Offer) -> Wanted:
    """Say what is missing of a release, and make room for it.

    Nothing is written before its needs, its signature and the space on the disk were looked at:
    ReleaseError says what is in the way, OutputError that the disk cannot be written.
    """
    release = offer.release
    lacking = unmet(release.needs, facts())
    if lacking:
        raise ReleaseError(
            f"{release.name}, made for {release.needs.profile}, cannot run here: "
            f"{'; '.join(lacking)}"
        )
    statements = parse_statements(offer.signature) if offer.signature else ()
    _trusted(layout, state, release, statements, offer.allow_downgrade)
    draft = layout.incoming / release.id
    wheels, unpacked = _furniture(layout, offer)
    _room(layout, release, wheels, unpacked)
    try:
        for folder in (layout.releases, layout.environments, layout.wheels):
            folder.mkdir(parents=True, exist_ok=True)
        names = {wheel.path for wheel in wheels}
        stay = {release.id, READY} if offer.delivered else {release.id}
        clear_incoming(layout, stay, {*names, PARTIAL} if names else ())
        draft.mkdir(exist_ok=True)
        link_agents(layout, wheels)
        missing = link_held(layout, release, draft)
        write_whole(draft / RELEASE, release.to_bytes())
    except OSError as error:
        raise unwritable(layout.root, error) from error
    lacks = tuple(wheel.path for wheel in wheels if not is_whole(layout.wheels / wheel.path, wheel))
    linked = layout.current_id()
    basis = f"releases/{linked}" if linked and (layout.releases / linked).is_dir() else None
    return Wanted(tuple(entry.path for entry in missing), lacks, basis)


def _furniture(layout: Layout, offer: Offer) -> tuple[list[FileEntry], int]:
    """Return the wheels that no environment here has, and what the new environment takes, in bytes:
    nothing where it is there, and nothing for what it has in common with others."""
    release = offer.release
    if complete(layout.environments / release.environment):
        return [], 0
    here = held(layout.environments, [wheel.sha256 for wheel in offer.wheels])
    wheels = [wheel for wheel in offer.wheels if wheel.sha256 not in here]
    return wheels, max(0, release.unpacked - sum(found.taken for found in here.values()))


def _room(layout: Layout, release: Release, wheels: Sequence[FileEntry], unpacked: int) -> None:
    """Raise ReleaseError when the disk has no room for what is still to come."""
    draft = layout.incoming / release.id
    here = sum(_size(draft / entry.path) for entry in release.files)
    here += sum(_size(layout.wheels / wheel.path) for wheel in wheels)
    needed = release.size + sum(wheel.size for wheel in wheels) - here + unpacked
    free = free_bytes(layout.root)
    if needed + MARGIN_BYTES > free:
        raise ReleaseError(
            f"{layout.root} has {free / 1e6:.0f} MB free and the release needs "
            f"{needed / 1e6:.0f} MB ({MARGIN_BYTES / 1e6:.0f} MB stay free); free some space there"
        )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def admit(layout: Layout, state: State, release: Release, allow_downgrade: bool) -> Admitted:
    """Verify what came of a release and give it its place among the others.

    ReleaseError, with the reason, when it is not what was announced or not trusted; what came is
    removed then.
    """
    draft, place = layout.incoming / release.id, layout.releases / release.id
    folder = place if place.is_dir() else draft
    try:
        if folder is place:
            _mend(draft, place, release)
        else:
            remove(draft / PARTIAL)
        manifest = verify(folder, release)
        statements = _statements(folder / BUNDLE, release)
        accepted = _trusted(layout, state, release, statements, allow_downgrade)
    except ReleaseError:
        if folder is draft or release.id not in {
            layout.current_id(),
            state.current,
            state.previous,
        }:
            remove(folder)
        raise
    except OSError as error:
        raise ReleaseError(f"{folder} cannot be read: {error.strerror}; flash it again") from error
    if folder is draft:
        try:
            for name in os.listdir(draft):
                os.chmod(draft / name, 0o444)
            os.chmod(draft, 0o755)
            settle(draft, place)
        except OSError as error:
            raise unwritable(layout.root, error) from error
    return Admitted(manifest, accepted)


def _mend(draft: Path, place: Path, release: Release) -> None:
    """Put what came in the place of what a disk has damaged of a release that was here already."""
    text = release.to_bytes()
    about = FileEntry(RELEASE, hashlib.sha256(text).hexdigest(), len(text))
    for entry in (*release.files, about):
        if is_whole(draft / entry.path, entry) and not is_whole(place / entry.path, entry):
            sync_file(draft / entry.path)
            os.rename(draft / entry.path, place / entry.path)
            sync_folder(place)


@dataclass(frozen=True)
class Admitted:
    """A release that is here, whole: its bundle's manifest, and who vouches for it."""

    manifest: Manifest
    accepted: Accepted | None


def _statements(bundle: Path, release: Release) -> tuple[Statement, ...]:
    try:
        with bundle.open("rb", buffering=0) as file:
            return read_statements(Archive(file, BUNDLE), release.bundle)
    except BundleError as error:
        raise ReleaseError(str(error)) from error


def _trusted(
    layout: Layout,
    state: State,
    release: Release,
    statements: Sequence[Statement],
    allow_downgrade: bool,
) -> Accepted | None:
    seen: Mapping[str, Mapping[str, Any]] = state.channels
    return judge(release.bundle, statements, Pins(layout.keys).keys(), seen, allow_downgrade)
