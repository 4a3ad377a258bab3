from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import OutputError, ReleaseError, RequestError
from runtime.agent.trust import Accepted, Pins, PublicKey, judge, parse_public, valid
from runtime.statements import Statement
from tests.runtime.agent.signer import Signer

BUNDLE, OTHER = "a" * 64, "b" * 64


@dataclass(frozen=True)
class Voice:
    """A key that vouches for bundles."""

    signer: Signer

    @property
    def public(self) -> PublicKey:
        return self.signer.public

    def says(self, version: int, bundle: str = BUNDLE, channel: str = "stable") -> Statement:
        said = Statement(bundle, channel, "", "", "2026-11-29", version)
        return self.signer.signed(said)


ME, YOU = Voice(Signer("me", b"1" * 32)), Voice(Signer("you", b"2" * 32))
SEEN = {"stable": {"version": 5, "bundle": OTHER}}


def test_a_public_line_is_read_back() -> None:
    line = ME.public.line
    assert parse_public(line) == parse_public(f"{line}\n") == ME.public
    assert line.split(" ")[0] == "edge-sdk-ed25519"
    assert len(ME.public.id) == 16


@pytest.mark.parametrize(
    "change",
    [
        lambda line: "",
        lambda line: line.replace("edge-sdk", "ssh"),
        lambda line: line.replace(" ", "  "),
        lambda line: line + "\n\n",
        lambda line: line + " more",
        lambda line: line.replace("= me", "=="),
        lambda line: line.replace("= me", " me"),
        lambda line: line.replace(" me", " ../me"),
        lambda line: line.replace(" me", " \x1b[2J"),
        lambda line: line.replace(" me", " m\u00e9"),
        lambda line: line.replace(" me", " " + "m" * 65),
        lambda line: line.replace(line.split(" ")[1], "AAAA"),
        lambda line: line.replace(line.split(" ")[1], "\u00e9" * 44),
        lambda line: line + "m" * 600,
    ],
)
def test_lines_that_are_no_public_key(change: Callable[[str], str]) -> None:
    with pytest.raises(RequestError, match=r"this is no public key: .*; see edge-sdk keys export"):
        parse_public(change(ME.public.line))


def test_nothing_is_judged_where_nothing_is_pinned() -> None:
    assert judge(BUNDLE, [], [], {}) is None
    assert judge(BUNDLE, [ME.says(1)], [], SEEN) is None


def test_a_pinned_key_is_accepted() -> None:
    keys = [YOU.public, ME.public]
    expected = Accepted(ME.public.id, "me", "stable", 6)
    assert judge(BUNDLE, [ME.says(6)], keys, {}) == expected
    assert judge(BUNDLE, [ME.says(6)], keys, SEEN) == expected


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([], "the bundle is not signed, and this device takes only what me "),
        ([YOU.says(6)], f"the bundle is signed by {YOU.public.id}, and this device"),
        ([ME.says(6, bundle=OTHER)], "the signature of the bundle is wrong"),
        ([replace(ME.says(6), version=7)], "the signature of the bundle is wrong"),
        ([replace(ME.says(6), channel="beta")], "the signature of the bundle is wrong"),
        ([replace(ME.says(6), signed="2026-11-30")], "the signature of the bundle is wrong"),
        ([replace(ME.says(6, bundle=OTHER), bundle=BUNDLE)], "the signature of the bundle is wr"),
        ([replace(YOU.says(6), key=ME.public.id)], "the signature of the bundle is wrong"),
    ],
)
@pytest.mark.parametrize("allow_downgrade", [False, True])
def test_what_no_pinned_key_signed_is_refused(
    statements: list[Statement], message: str, allow_downgrade: bool
) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        judge(BUNDLE, statements, [ME.public], SEEN, allow_downgrade)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("sign it: edge-sdk sign")


@pytest.mark.parametrize(
    ("statement", "bundle", "message"),
    [
        (ME.says(4), BUNDLE, "is version 4 of channel stable, and this device has seen version 5"),
        (ME.says(5), BUNDLE, "version 5 of channel stable, and this device has another bundle of"),
        (ME.says(9, channel="beta"), BUNDLE, "signed for channel beta, this device is on stable;"),
    ],
)
def test_a_downgrade_is_refused_unless_it_is_asked_for(
    statement: Statement, bundle: str, message: str
) -> None:
    with pytest.raises(ReleaseError, match=f"{message}.*flash a newer one, or .*allow-downgrade"):
        judge(bundle, [statement], [ME.public], SEEN)
    accepted = judge(bundle, [statement], [ME.public], SEEN, allow_downgrade=True)
    assert accepted == Accepted(ME.public.id, "me", statement.channel, statement.version)


def test_the_same_version_of_the_same_bundle_may_come_again() -> None:
    seen = {"stable": {"version": 5, "bundle": BUNDLE}}
    assert judge(BUNDLE, [ME.says(5)], [ME.public], seen) is not None


@pytest.mark.parametrize(
    ("statements", "seen", "expected"),
    [
        ([YOU.says(3), ME.says(6)], SEEN, (ME, "stable", 6)),
        ([ME.says(6), ME.says(9, channel="beta")], SEEN, (ME, "stable", 6)),
        ([ME.says(6), YOU.says(7)], SEEN, (YOU, "stable", 7)),
        ([ME.says(6), ME.says(9, channel="beta")], {}, (ME, "beta", 9)),
        ([replace(YOU.says(1), version=9), ME.says(6)], SEEN, (ME, "stable", 6)),
    ],
)
def test_one_good_statement_among_others_is_enough(
    statements: list[Statement],
    seen: Mapping[str, Mapping[str, Any]],
    expected: tuple[Voice, str, int],
) -> None:
    voice, channel, version = expected
    accepted = Accepted(voice.public.id, voice.public.name, channel, version)
    assert judge(BUNDLE, statements, [ME.public, YOU.public], seen) == accepted


def test_valid_names_the_key_of_each_statement() -> None:
    mine, yours = ME.says(1), YOU.says(2)
    keys = [ME.public, YOU.public]
    assert valid(BUNDLE, [mine, yours], keys) == [(mine, ME.public), (yours, YOU.public)]
    assert valid(BUNDLE, [mine, yours], [YOU.public]) == [(yours, YOU.public)]
    assert valid(OTHER, [mine, yours], keys) == []


def test_keys_are_pinned_and_unpinned(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "edge" / "keys")
    assert pins.keys() == ()
    assert not pins.holds(ME.public)
    assert pins.pin(f"{YOU.public.line}\n") == YOU.public
    assert pins.pin(ME.public.line) == pins.pin(ME.public.line) == ME.public
    assert pins.keys() == (ME.public, YOU.public)
    assert pins.holds(ME.public)
    path = pins.folder / f"{ME.public.id}.pub"
    assert path.read_text() == f"{ME.public.line}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert pins.unpin(ME.public.id)
    assert not pins.unpin(ME.public.id)
    assert pins.keys() == (YOU.public,)


def test_the_draft_of_a_pin_that_was_cut_off_is_no_pin(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.pin(ME.public.line)
    (tmp_path / f".draft-{YOU.public.id}.pub").write_bytes(b"edge-")
    assert pins.keys() == (ME.public,)
    pins.pin(YOU.public.line)
    assert pins.keys() == (ME.public, YOU.public)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(bytes(60)),
        lambda path: path.write_bytes(b"\xff" * 60),
        lambda path: path.write_text(f"{YOU.public.line}\n"),
        lambda path: path.rename(path.with_suffix(".bak")),
        lambda path: path.with_name("notes.txt").write_text("mine"),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "short", "zeros", "ones", "other key", "renamed", "stranger", "folder"],
)
def test_a_damaged_pin_is_never_no_pin(damage: Callable[[Path], object], tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.pin(ME.public.line)
    damage(tmp_path / f"{ME.public.id}.pub")
    with pytest.raises(ReleaseError, match=r"nothing is accepted .* pin that key again, or remove"):
        pins.keys()


def test_any_flipped_bit_of_a_pin_is_found_unless_it_names_the_same_key(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.pin(ME.public.line)
    path = tmp_path / f"{ME.public.id}.pub"
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        try:
            keys = pins.keys()
        except ReleaseError:
            continue
        assert [key.raw for key in keys] == [ME.public.raw]


def test_a_damaged_pin_is_mended_by_pinning_it_again(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.pin(ME.public.line)
    (tmp_path / f"{ME.public.id}.pub").write_bytes(b"")
    pins.pin(ME.public.line)
    assert pins.keys() == (ME.public,)


@pytest.mark.parametrize("key_id", ["", "../state", "A" * 16, "a" * 15, "a" * 17])
def test_only_an_id_is_unpinned(key_id: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is no id of a key"):
        Pins(tmp_path).unpin(key_id)


def test_a_folder_that_cannot_be_read_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = Pins(tmp_path / "keys")
    (tmp_path / "keys").write_text("")
    with pytest.raises(OutputError, match="keys cannot be written"):
        pins.pin(ME.public.line)
    with pytest.raises(ReleaseError, match="keys: Not a directory; nothing is accepted"):
        pins.keys()

    def denied(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", denied)
    with pytest.raises(ReleaseError, match="keys: Permission denied; nothing is accepted"):
        pins.keys()
