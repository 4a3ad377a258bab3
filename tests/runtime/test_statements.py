"""Signed bundles: what a signature may look like, what it leaves as it is, and forged ones."""

from __future__ import annotations

import base64
import json
import os
import random
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import BundleError, OutputError
from runtime import archive
from runtime.agent.trust import valid
from runtime.bundle import open_bundle, write_bundle, write_statements
from runtime.manifest import Manifest
from runtime.statements import (
    MAX_STATEMENTS,
    SIGNATURE,
    Statement,
    parse_statements,
    payload,
    statement_bytes,
)
from tests.runtime.agent.signer import Signer

Parts = tuple[Manifest, dict[str, bytes]]

ME = Signer("me", b"k" * 32)
KEY = ME.public
PLAIN = Statement("a" * 64, "stable", KEY.id, base64.b64encode(bytes(64)).decode(), "2026-11-29", 7)


@pytest.fixture
def signed_bundle(null_bundle: Path) -> Path:
    """Return the path of a bundle that KEY signed."""
    with open_bundle(null_bundle) as bundle:
        statement = ME.signed(replace(PLAIN, bundle=bundle.id))
        write_statements(bundle, [statement], null_bundle)
    return null_bundle


def test_what_is_signed_is_all_that_is_said_and_what_it_is() -> None:
    """The bytes are part of the format: a device of today must verify what is signed in years."""
    assert payload(PLAIN) == (
        b"edge-sdk bundle statement 1\n"
        b'{"bundle":"' + b"a" * 64 + b'","channel":"stable","key":"' + KEY.id.encode() + b'",'
        b'"signed":"2026-11-29","version":7}'
    )


def test_statements_are_read_back_in_one_order() -> None:
    beta = replace(PLAIN, channel="beta")
    data = statement_bytes([PLAIN, beta])
    assert parse_statements(data) == (beta, PLAIN)
    assert statement_bytes([beta, PLAIN]) == data


def test_signing_changes_nothing_else(null_bundle: Path, tmp_path: Path) -> None:
    before = null_bundle.read_bytes()
    signed = tmp_path / "signed.edge"
    with open_bundle(null_bundle) as bundle:
        assert bundle.statements == ()
        statement = ME.signed(replace(PLAIN, bundle=bundle.id))
        write_statements(bundle, [statement], signed)
    with open_bundle(signed) as after:
        assert (after.id, after.manifest, after.labels) == (
            bundle.id,
            bundle.manifest,
            bundle.labels,
        )
        assert after.statements == (statement,)
        assert after.golden() is not None
        write_statements(after, [], signed)
    assert null_bundle.read_bytes() == before
    assert signed.read_bytes() == before


def test_the_signature_is_the_last_file_and_all_before_it_is_byte_for_byte(
    null_bundle: Path, tmp_path: Path
) -> None:
    before = null_bundle.read_bytes()
    signed = tmp_path / "signed.edge"
    with open_bundle(null_bundle) as bundle:
        write_statements(bundle, [replace(PLAIN, bundle=bundle.id)], signed)
    with zipfile.ZipFile(signed) as source:
        assert source.testzip() is None
        last = source.infolist()[-1]
        assert last.filename == SIGNATURE
        assert signed.read_bytes()[: last.header_offset] == before[: last.header_offset]


def test_what_a_newer_minor_schema_says_is_kept(
    null_parts: Callable[..., Parts], tmp_path: Path
) -> None:
    manifest, files = null_parts()
    fields = {**json.loads(manifest.to_bytes()), "schema": "1.7", "novelty": {"x": 1}}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path = tmp_path / "newer.edge"
    path.write_bytes(
        b"".join(archive.pack({"manifest.json": text.encode(), **dict(sorted(files.items()))}))
    )
    with open_bundle(path) as bundle:
        write_statements(bundle, [replace(PLAIN, bundle=bundle.id)], path)
    with open_bundle(path) as signed, zipfile.ZipFile(path) as source:
        assert signed.id == bundle.id
        assert source.read("manifest.json") == text.encode()


def test_a_link_stays_a_link_and_a_mode_a_mode(null_bundle: Path, tmp_path: Path) -> None:
    null_bundle.chmod(0o600)
    link = tmp_path / "link.edge"
    link.symlink_to(null_bundle)
    with open_bundle(link) as bundle:
        write_statements(bundle, [replace(PLAIN, bundle=bundle.id)], link)
    assert link.is_symlink()
    with open_bundle(null_bundle) as signed:
        assert len(signed.statements) == 1
    assert stat.S_IMODE(null_bundle.stat().st_mode) == 0o600


def test_a_rewrite_that_fails_leaves_the_bundle_as_it_was(
    null_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = null_bundle.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with open_bundle(null_bundle) as bundle:
        statement = replace(PLAIN, bundle=bundle.id)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            write_statements(bundle, [statement], null_bundle)
    assert null_bundle.read_bytes() == before
    assert os.listdir(null_bundle.parent) == [null_bundle.name]


def test_statements_of_another_bundle_are_not_written(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle, pytest.raises(BundleError, match="another bundle"):
        write_statements(bundle, [PLAIN], null_bundle)


def test_a_bundle_that_changed_meanwhile_is_not_signed(null_bundle: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        with null_bundle.open("r+b") as file:
            file.seek(50)
            file.write(b"\0")
        with pytest.raises(BundleError, match="damaged"):
            write_statements(bundle, [replace(PLAIN, bundle=bundle.id)], null_bundle)


def test_signed_bundles_are_held_to_the_limits(null_bundle: Path, tmp_path: Path) -> None:
    with open_bundle(null_bundle) as bundle:
        plain = replace(PLAIN, bundle=bundle.id)
        many = [replace(plain, channel=f"c{i}") for i in range(300)]
        with pytest.raises(BundleError, match="the limit is 65536"):
            write_statements(bundle, many, tmp_path / "x.edge")


@pytest.mark.parametrize("name", ["signature", "Signature"])
def test_no_file_of_a_manifest_takes_the_name(
    name: str, null_parts: Callable[..., Parts], tmp_path: Path
) -> None:
    manifest, files = null_parts()
    old = manifest.extra_files[0]
    files[name] = files.pop(old.path)
    manifest = replace(manifest, extra_files=(replace(old, path=name),))
    with pytest.raises(BundleError, match="names a file signature"):
        write_bundle(tmp_path / "x.edge", manifest, files)
    content = {"manifest.json": manifest.to_bytes(), **dict(sorted(files.items()))}
    (tmp_path / "x.edge").write_bytes(b"".join(archive.pack(content)))
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "x.edge")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _fields(**changed: Any) -> dict[str, Any]:
    return {**json.loads(statement_bytes([PLAIN]))["statements"][0], **changed}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 30000 + b"]" * 30000, "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b"NaN", "not JSON"),
        (b" " * (MAX_STATEMENTS + 1), "the limit is 65536"),
        (statement_bytes([PLAIN]) + b"\n", "not canonical"),
        (statement_bytes([PLAIN]).replace(b":7", b":7.0"), "version is no whole number"),
        (statement_bytes([PLAIN]).replace(b'{"bundle', b'{"version":7,"bundle'), "not canonical"),
        (b"[]", "something else than statements"),
        (b"{}", "something else than statements"),
        (_json({"statements": [_fields()], "more": 1}), "something else than statements"),
        (_json({"statements": []}), "no list of statements"),
        (_json({"statements": {"a": 1}}), "no list of statements"),
        (_json({"statements": [1]}), "lacks a field, or has one that is not known"),
        (_json({"statements": [_fields(), _fields()]}), "of one key and channel"),
        (_json({"statements": [_fields(), _fields(version=8)]}), "of one key and channel"),
        (_json({"statements": [_fields(), _fields(channel="beta")]}), "in another order"),
    ],
)
def test_files_that_are_no_statements(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        parse_statements(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "has one that is not known"),
        ({"bundle": 1}, "must be text"),
        ({"bundle": "a" * 63}, "SHA-256"),
        ({"bundle": "A" * 64}, "SHA-256"),
        ({"key": "a" * 17}, "16 hex digits"),
        ({"key": None}, "must be text"),
        ({"channel": ""}, "its channel"),
        ({"channel": "Stable"}, "its channel"),
        ({"channel": "a" * 33}, "its channel"),
        ({"channel": "a/b"}, "its channel"),
        ({"channel": "a\n"}, "its channel"),
        ({"channel": ".a"}, "its channel"),
        ({"channel": "a."}, "its channel"),
        ({"version": 0}, "its version"),
        ({"version": -1}, "its version"),
        ({"version": True}, "its version"),
        ({"version": "7"}, "its version"),
        ({"version": 7.5}, "its version"),
        ({"version": 1 << 53}, "its version"),
        ({"signed": "2026-13-01"}, "its date"),
        ({"signed": "20261129"}, "its date"),
        ({"signed": "2026-W48-7"}, "its date"),
        ({"signed": 20261129}, "must be text"),
        ({"signature": ""}, "Base64 of 64 bytes"),
        ({"signature": base64.b64encode(bytes(63)).decode()}, "Base64 of 64 bytes"),
        ({"signature": PLAIN.signature[:-3] + "B=="}, "Base64 of 64 bytes"),
        ({"signature": PLAIN.signature + "\n"}, "Base64 of 64 bytes"),
        ({"signature": "\u00e9" * 88}, "Base64 of 64 bytes"),
    ],
    ids=str,
)
def test_fields_that_are_not_of_their_form(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        parse_statements(_json({"statements": [_fields(**change)]}))


@pytest.mark.parametrize("field", ["bundle", "channel", "key", "signature", "signed", "version"])
def test_no_field_may_be_missing(field: str) -> None:
    fields = _fields()
    del fields[field]
    with pytest.raises(BundleError, match="lacks a field"):
        parse_statements(_json({"statements": [fields]}))


def _accepted(path: Path) -> bool:
    """Tell whether a bundle opens and KEY signed it."""
    try:
        with open_bundle(path) as bundle:
            return bool(valid(bundle.id, bundle.statements, [KEY]))
    except BundleError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return False


def test_any_flipped_byte_of_a_signed_bundle(signed_bundle: Path) -> None:
    """Every byte of the signature's file and of all headers, and two hundred others."""
    good = signed_bundle.read_bytes()
    assert _accepted(signed_bundle)
    dice = random.Random(0)
    with zipfile.ZipFile(signed_bundle) as source:
        last = source.infolist()[-1].header_offset
        headers = [range(i.header_offset, i.header_offset + 40) for i in source.infolist()]
    positions = {position for header in headers for position in header} | {*range(last, len(good))}
    for position in positions | {dice.randrange(len(good)) for _ in range(200)}:
        bad = bytearray(good)
        bad[position] ^= dice.randrange(1, 256)
        signed_bundle.write_bytes(bad)
        assert not _accepted(signed_bundle), position


def _forge(path: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    """Write other files into an archive that is as well-formed as ours."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist()}
    path.write_bytes(b"".join(archive.pack(change(files))))


def test_any_flipped_byte_of_the_signature_with_its_checksum_mended(signed_bundle: Path) -> None:
    """Nobody is stopped by a checksum: what stops them is the form, and the signature."""
    good = signed_bundle.read_bytes()
    with zipfile.ZipFile(signed_bundle) as source:
        said = source.read(SIGNATURE)
    for position in range(len(said)):
        bad = bytearray(said)
        bad[position] ^= 1
        signed_bundle.write_bytes(good)
        _forge(signed_bundle, lambda files, data=bytes(bad): {**files, SIGNATURE: data})
        assert not _accepted(signed_bundle), position


def test_a_model_changed_with_its_manifest_is_another_bundle(signed_bundle: Path) -> None:
    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        fields = json.loads(files["manifest.json"])
        fields["name"] = "forged"
        return {**files, "manifest.json": _json(fields)}

    _forge(signed_bundle, change)
    with pytest.raises(BundleError, match=r"null\.edge: the signature .* it is of another bundle"):
        open_bundle(signed_bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {**f, "zebra": b"x"}, "it is not the last file"),
        (lambda f: {**f, SIGNATURE: b" " * (MAX_STATEMENTS + 1)}, "the limit is 65536"),
        (lambda f: {**f, SIGNATURE: b""}, "is not JSON"),
        (lambda f: {SIGNATURE: f.pop(SIGNATURE), **f}, r"its first file is not manifest\.json"),
        (lambda f: {"Signature": f.pop(SIGNATURE), **f}, r"its first file is not manifest\.json"),
        (
            lambda f: {"Signature" if n == SIGNATURE else n: d for n, d in f.items()},
            "differ in Sig",
        ),
    ],
)
def test_signatures_in_the_wrong_place(
    signed_bundle: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    _forge(signed_bundle, change)
    with pytest.raises(BundleError, match=message):
        open_bundle(signed_bundle)
