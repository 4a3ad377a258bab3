"""The verbs keys, sign and verify."""

from __future__ import annotations

import getpass
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from edge_sdk.workflows.verify import verify
from runtime.bundle import open_bundle, write_bundle
from tests.edge_sdk.cli_cases import Run
from tests.runtime.conftest import build_parts


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the user's keys and passphrase out of the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("EDGE_SDK_PASSPHRASE", raising=False)
    yield tmp_path / "config" / "edge-sdk" / "keys"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The path of an unsigned bundle of some kB."""
    path = tmp_path / "small.edge"
    write_bundle(path, *build_parts())
    return path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed at the prompts for passphrases, in order; each is taken once."""
    answers: list[str] = []
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: answers.pop(0))
    return answers


@pytest.mark.parametrize("verb", ["keys", "sign", "verify"])
def test_help(verb: str, edge: Run) -> None:
    said = edge(verb, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: edge-sdk {verb} ")


def test_from_a_key_to_a_verified_bundle(small: Path, edge: Run) -> None:
    """The whole way as a person walks it."""
    before = small.read_bytes()
    made = edge("keys", "new", "me", "--json").json
    assert edge("verify", small).code == 1
    signed = edge("sign", small, "--key", "me", "--json").json
    facts = edge("inspect", small, "--json").json["facts"]
    assert [one["channel"] for one in facts["statements"]] == ["stable"]
    assert (signed["key"], signed["channel"], signed["output"]) == (
        made["id"],
        "stable",
        str(small),
    )
    found = edge("verify", small, "--json").json
    with open_bundle(small) as bundle:
        assert found["bundle"] == bundle.id == signed["bundle"]
    (statement,) = found["statements"]
    assert (statement["name"], statement["valid"]) == ("me", True)
    assert statement["signature"] == signed["signature"]
    assert small.read_bytes() != before


def test_the_version_is_the_time_unless_it_is_said(small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    now = datetime.now(timezone.utc)
    said = edge("sign", small, "--key", "me", "--json").json
    assert now - timedelta(seconds=1) <= datetime.fromtimestamp(said["version"], timezone.utc)
    assert said["signed"] in {str(now.date()), str((now + timedelta(minutes=5)).date())}
    assert edge("sign", small, "--key", "me", "--release-version", 7, "--json").json["version"] == 7


def test_signing_again_replaces_and_signing_beside_adds(small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    edge("keys", "new", "you")
    edge("sign", small, "--key", "me", "--release-version", 1)
    edge("sign", small, "--key", "me", "--release-version", 2)
    edge("sign", small, "--key", "me", "--channel", "beta", "--release-version", 3)
    said = edge("sign", small, "--key", "you", "--release-version", 4)
    assert said.out.endswith("; 2 other statements kept\n")
    found = edge("verify", small, "--json").json["statements"]
    assert {(one["name"], one["channel"], one["version"]) for one in found} == {
        ("me", "stable", 2),
        ("me", "beta", 3),
        ("you", "stable", 4),
    }


def test_the_same_key_bundle_and_words_give_the_same_bytes(
    small: Path, tmp_path: Path, edge: Run
) -> None:
    edge("keys", "new", "me")
    for name in ("a.edge", "b.edge"):
        words = ("--key", "me", "--release-version", 7, "-o", tmp_path / name)
        assert edge("sign", small, *words).code == 0
    assert (tmp_path / "a.edge").read_bytes() == (tmp_path / "b.edge").read_bytes()
    with open_bundle(small) as bundle:
        assert bundle.statements == ()


def test_whom_to_trust_may_be_said(small: Path, tmp_path: Path, edge: Run) -> None:
    for name in ("me", "you"):
        edge("keys", "new", name)
    edge("keys", "export", "me", "-o", tmp_path / "me.pub")
    edge("sign", small, "--key", "me")
    assert edge("verify", small, "--key", tmp_path / "me.pub").code == 0
    assert edge("verify", small, "--key", "you", "--key", "me").code == 0
    said = edge("verify", small, "--key", "you")
    assert said.code == 1
    assert "the bundle is signed by " in said.last
    edge("sign", small, "--key", "you")
    said = edge("verify", small, "--key", "you")
    assert said.code == 0
    assert "not verified: version " in said.out


def test_an_unsigned_bundle_says_so(small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    said = edge("verify", small, "--json")
    assert (said.code, said.json["kind"]) == (1, "GateError")
    assert "the bundle is not signed" in said.json["error"]


def test_without_any_key_nothing_is_verified(small: Path, edge: Run) -> None:
    said = edge("verify", small)
    assert said.code == 2
    assert "there is no key to verify it by" in said.last


def test_a_signature_of_another_key_under_its_name_is_found(small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    edge("sign", small, "--key", "me")
    with open_bundle(small) as bundle:
        (statement,) = bundle.statements
    data = small.read_bytes()
    forged = statement.signature.replace(statement.signature[:4], "AAAA")
    small.write_bytes(_patched(data, statement.signature.encode(), forged.encode()))
    said = edge("verify", small)
    assert said.code == 1
    assert "the signature of the bundle is wrong" in said.last


def test_a_damaged_bundle_is_neither_verified_nor_signed(small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    data = bytearray(small.read_bytes())
    data[len(data) // 2] ^= 1
    small.write_bytes(data)
    for words in (("verify", small), ("sign", small, "--key", "me")):
        said = edge(*words)
        assert said.code == 2
        assert "damaged" in said.last or "manifest" in said.last
    assert small.read_bytes() == data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--channel", "Stable"], "this cannot be signed: its channel"),
        (["--release-version", "0"], "this cannot be signed: its version"),
        (["--release-version", "-1"], "this cannot be signed: its version"),
        (["-o", "/nonexistent/x.edge"], "there is no folder /nonexistent"),
        (["--key", "you"], "no key is called 'you'"),
    ],
)
def test_what_cannot_be_signed(words: list[str], message: str, small: Path, edge: Run) -> None:
    edge("keys", "new", "me")
    before = small.read_bytes()
    said = edge("sign", small, "--key", "me", *words)
    assert said.code == 2
    assert message in said.last
    assert small.read_bytes() == before


def test_keys_are_listed_and_exported(edge: Run, folder: Path) -> None:
    assert "no keys yet" in edge("keys", "list").out
    made = edge("keys", "new", "me", "--json").json
    assert "me" in edge("keys", "list").out
    listed = edge("keys", "list", "--json").json
    assert listed["folder"] == str(folder)
    assert listed["keys"] == [
        {
            "name": "me",
            "id": made["id"],
            "public": made["public"],
            "private": True,
            "protected": False,
        }
    ]
    assert edge("keys", "export", "me").out == f"{made['public']}\n"
    assert edge("keys", "export", "you").code == 2


def test_a_passphrase_is_typed_twice_and_then_once(
    small: Path, edge: Run, typed: list[str]
) -> None:
    typed += ["open sesame", "open sesame"]
    assert edge("keys", "new", "me", "--passphrase", "--json").json["protected"]
    typed += ["open sesame"]
    assert edge("sign", small, "--key", "me").code == 0
    assert typed == []
    typed += ["open barley"]
    said = edge("sign", small, "--key", "me")
    assert (said.code, "the passphrase is wrong" in said.last) == (2, True)


def test_two_passphrases_that_differ_make_no_key(edge: Run, typed: list[str], folder: Path) -> None:
    typed += ["open sesame", "open barley"]
    said = edge("keys", "new", "me", "--passphrase")
    assert (said.code, "the two passphrases differ" in said.last) == (2, True)
    assert not folder.exists()


def test_a_passphrase_from_a_file_or_the_environment(
    small: Path, tmp_path: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passphrase"
    file.write_text("open sesame\n")
    file.chmod(0o600)
    assert edge("keys", "new", "me", "--passphrase-file", file, "--json").json["protected"]
    assert edge("sign", small, "--key", "me", "--passphrase-file", file).code == 0
    said = edge("sign", small, "--key", "me")
    assert said.code == 2
    assert "this is no terminal; give --passphrase-file F or EDGE_SDK_PASSPHRASE" in said.last
    monkeypatch.setenv("EDGE_SDK_PASSPHRASE", "open sesame")
    assert edge("sign", small, "--key", "me").code == 0
    assert edge("keys", "new", "you", "--json").json["protected"]


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("open sesame\n", 0o644, "is open to others; close it: chmod 600"),
        ("\nopen sesame\n", 0o600, "its first line is empty"),
        (None, 0o600, "cannot be read: No such file"),
    ],
)
def test_files_that_give_no_passphrase(
    content: str | None, mode: int, message: str, tmp_path: Path, edge: Run
) -> None:
    file = tmp_path / "passphrase"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    said = edge("keys", "new", "me", "--passphrase-file", file)
    assert (said.code, message in said.last) == (2, True)


def test_a_passphrase_from_a_pipe_as_shells_make_them(edge: Run) -> None:
    read, write = os.pipe()
    os.write(write, b"open sesame\n")
    os.close(write)
    try:
        said = edge("keys", "new", "me", "--passphrase-file", f"/dev/fd/{read}", "--json")
    finally:
        os.close(read)
    assert said.json["protected"]


def test_no_passphrase_and_no_private_key_is_ever_shown(
    small: Path, edge: Run, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("EDGE_SDK_PASSPHRASE", "open sesame")
    edge("keys", "new", "me")
    pem = (folder / "me.key").read_text().splitlines()
    for words in (
        ("keys", "list", "--json"),
        ("keys", "export", "me", "--json"),
        ("sign", small, "--key", "me", "--json"),
        ("sign", small, "--key", "me", "--debug"),
        ("verify", small, "--json"),
    ):
        said = edge(*words)
        assert "sesame" not in said.out + said.err
        assert not any(line in said.out + said.err for line in pem[1:-1])
    assert stat.S_IMODE((folder / "me.key").stat().st_mode) == 0o600


def test_verify_takes_what_a_program_has(small: Path, edge: Run) -> None:
    from edge_sdk.shipping.keys import find_public

    edge("keys", "new", "me")
    edge("sign", small, "--key", "me", "--release-version", 7)
    found: Any = verify(small, [find_public("me")])
    assert [(said.version, key.name) for said, key in found.valid] == [(7, "me")]
    assert found.other == ()
    assert json.dumps(found.bundle)


def _patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes in a zip's last file and mend its two checksums."""
    import zlib

    assert data.count(old) == 1
    start = data.rindex(b"PK\3\4")
    begin = start + 30 + len("signature")
    size = int.from_bytes(data[start + 18 : start + 22], "little")
    content = data[begin : begin + size].replace(old, new)
    before = data[start + 14 : start + 18]
    after = zlib.crc32(content).to_bytes(4, "little")
    patched = data[:begin] + content + data[begin + size :]
    return patched.replace(before, after)
