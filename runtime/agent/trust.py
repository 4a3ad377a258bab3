"""Trust: the public keys that a device pins, and whether a bundle is signed by one of them."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import ReleaseError, RequestError
from runtime.agent.ed25519 import verify
from runtime.agent.layout import sync_folder, unwritable, write_whole
from runtime.statements import Statement, payload

KIND = "edge-sdk-ed25519"
MAX_PUBLIC = 512

_RAW_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.@-]{0,62}[A-Za-z0-9_])?")
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key of 32 bytes, and what its owner calls it."""

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the 32 bytes."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def line(self) -> str:
        """The key in one line of text, which `parse_public` reads."""
        return f"{KIND} {base64.b64encode(self.raw).decode()} {self.name}"


def is_key_name(text: str) -> bool:
    """Say whether a key may be called so: the name becomes that of a file."""
    return _NAME.fullmatch(text) is not None


def parse_public(line: str) -> PublicKey:
    """Read a line such as `edge-sdk-ed25519 BASE64 NAME`; RequestError when it is none."""
    words = line.removesuffix("\n").split(" ")
    if len(line) > MAX_PUBLIC or len(words) != 3 or words[0] != KIND:
        raise _no_key(f"it is not one line of {KIND} BASE64 NAME")
    try:
        key = PublicKey(words[2], base64.b64decode(words[1], validate=True))
    except ValueError as error:
        raise _no_key("its middle is not Base64") from error
    if len(key.raw) != _RAW_BYTES or not is_key_name(key.name) or key.line != " ".join(words):
        raise _no_key(f"it does not hold {_RAW_BYTES} bytes in Base64 and a plain name")
    return key


def valid(
    bundle_id: str, statements: Iterable[Statement], keys: Iterable[PublicKey]
) -> list[tuple[Statement, PublicKey]]:
    """Return the statements on a bundle that one of `keys` signed, with that key.

    MissingError where there is nothing to verify with.
    """
    by_id = {key.id: key for key in keys}
    return [
        (statement, by_id[statement.key])
        for statement in statements
        if statement.key in by_id
        and statement.bundle == bundle_id
        and verify(by_id[statement.key].raw, statement.raw_signature, payload(statement))
    ]


def why_none(statements: Iterable[Statement], keys: Iterable[PublicKey]) -> str:
    """Say why none of `statements` is valid by any of `keys`."""
    signers, known = sorted({statement.key for statement in statements}), {key.id for key in keys}
    if not signers:
        return "the bundle is not signed"
    if not known.intersection(signers):
        return f"the bundle is signed by {', '.join(signers)}"
    return "the signature of the bundle is wrong"


class Pins:
    """The public keys that a device trusts: a file each, named by its id, in `folder`.

    One that is damaged is an error, never a key that was not pinned: else whoever can damage a
    file can have unsigned bundles accepted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keys(self) -> tuple[PublicKey, ...]:
        """Return the pinned keys by name; ReleaseError where one is damaged, or is no key."""
        try:
            found = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _doubtful(self.folder, error.strerror or "it cannot be read") from error
        # A power cut may leave the draft of a file, whose name begins with a dot: it never counted.
        keys = [self._read(self.folder / name) for name in found if not name.startswith(".")]
        return tuple(sorted(keys, key=lambda key: (key.name, key.id)))

    def holds(self, key: PublicKey) -> bool:
        """Tell whether a key is pinned already."""
        return key in self.keys()

    def pin(self, line: str) -> PublicKey:
        """Trust the key of a public line from now on; once more, where it is pinned already.

        RequestError when it is none, OutputError where it cannot be written.
        """
        key = parse_public(line)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self.folder.parent)
            write_whole(self._path(key.id), f"{key.line}\n".encode())
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return key

    def unpin(self, key_id: str) -> bool:
        """Trust a key no more; False where it was not pinned. A damaged one can be unpinned too."""
        if not _ID.fullmatch(key_id):
            raise RequestError(f"{key_id!r} is no id of a key; give its 16 hex digits")
        try:
            self._path(key_id).unlink()
            sync_folder(self.folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return True

    def _path(self, key_id: str) -> Path:
        return self.folder / f"{key_id}.pub"

    def _read(self, path: Path) -> PublicKey:
        try:
            with path.open("rb") as file:
                text = file.read(MAX_PUBLIC + 1).decode("ascii")
            key = parse_public(text)
        except OSError as error:
            raise _doubtful(path, error.strerror or "it cannot be read") from error
        except ValueError as error:  # RequestError and UnicodeDecodeError are some
            raise _doubtful(path, "it is damaged, or no key") from error
        if path != self._path(key.id):
            raise _doubtful(path, "it holds another key than its name says")
        return key


@dataclass(frozen=True)
class Accepted:
    """Why a bundle is trusted: the id and name of the pinned key that signed it, and as what."""

    key: str
    name: str
    channel: str
    version: int


def judge(
    bundle_id: str,
    statements: Iterable[Statement],
    keys: Iterable[PublicKey],
    seen: Mapping[str, Mapping[str, Any]],
    allow_downgrade: bool = False,
) -> Accepted | None:
    """Say why a bundle is trusted by a device that pins `keys`; None where it pins none.

    `seen` holds, by channel, the `version` and `bundle` that the device kept last; whoever keeps
    the bundle notes there what is returned. ReleaseError, with the reason, for a bundle that no
    pinned key signed, for an older version than was seen, for another bundle of the same version,
    and for a channel that a device which follows others has not seen: old bundles of it would be
    as good as new ones. The last three are accepted with `allow_downgrade`.
    """
    pinned, said = tuple(keys), tuple(statements)
    if not pinned:
        return None
    good = [
        Accepted(key.id, key.name, statement.channel, statement.version)
        for statement, key in valid(bundle_id, said, pinned)
    ]
    if not good:
        trusted = " or ".join(f"{key.name} ({key.id})" for key in pinned)
        raise ReleaseError(
            f"{why_none(said, pinned)}, and this device takes only what {trusted} signed; sign it: "
            "edge-sdk sign"
        )
    # A channel that is followed goes first, then the newest version.
    good.sort(key=lambda one: (one.channel not in seen, -one.version, one.channel, one.key))
    faults = [_downgrade(bundle_id, one, seen) for one in good]
    for one, fault in zip(good, faults, strict=True):
        if not fault or allow_downgrade:
            return one
    raise ReleaseError(f"{faults[0]}; flash a newer one, or this one with --allow-downgrade")


def _downgrade(bundle_id: str, one: Accepted, seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Say why a signed version is not to follow what was seen; nothing where it may."""
    last = seen.get(one.channel)
    if last is None:
        others = " and ".join(sorted(seen))
        return (
            others and f"the bundle is signed for channel {one.channel}, this device is on {others}"
        )
    if one.version < last["version"]:
        return (
            f"the bundle is version {one.version} of channel {one.channel}, and this device has "
            f"seen version {last['version']}"
        )
    if one.version == last["version"] and bundle_id != last["bundle"]:
        return (
            f"the bundle is version {one.version} of channel {one.channel}, and this device has "
            "another bundle of that version"
        )
    return ""


def _no_key(why: str) -> RequestError:
    return RequestError(f"this is no public key: {why}; see edge-sdk keys export")


def _doubtful(path: Path, why: str) -> ReleaseError:
    return ReleaseError(
        f"{path}: {why}; nothing is accepted while it is not known whom to trust: pin that key "
        "again, or remove the file"
    )
