"""Workflow: who signed a bundle, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import GateError, RequestError
from runtime.agent.trust import PublicKey, valid, why_none
from runtime.bundle import open_bundle
from runtime.statements import Statement


@dataclass(frozen=True)
class Verified:
    """A bundle that is whole and signed: its id and name, the `valid` statements with the keys
    that signed them, and the `other` ones, of which nothing is known."""

    bundle: str
    name: str
    valid: tuple[tuple[Statement, PublicKey], ...]
    other: tuple[Statement, ...]


def verify(bundle: Path, keys: Sequence[PublicKey]) -> Verified:
    """Verify all of a bundle and that one of `keys` signed it, by what a device verifies with.

    Raises BundleError for a bundle that is not whole, GateError, which says why, where none of the
    keys signed it, MissingError without OpenSSL.
    """
    if not keys:
        raise RequestError(
            f"{bundle}: there is no key to verify it by; give the public key of who signed it: "
            "--key FILE.pub"
        )
    with open_bundle(bundle) as found:
        good = valid(found.id, found.statements, keys)
        if not good:
            known = " or ".join(f"{key.name} ({key.id})" for key in keys)
            raise GateError(
                f"{bundle}: {why_none(found.statements, keys)}, and what was asked for is {known}; "
                "get it again from whoever made it, or sign it: edge-sdk sign"
            )
        proven = [statement for statement, _ in good]
        other = tuple(one for one in found.statements if one not in proven)
        return Verified(found.id, found.manifest.name, tuple(good), other)
