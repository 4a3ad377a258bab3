from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from device_profiles.errors import MissingError, OutputError, RequestError
from edge_sdk.shipping import keys
from edge_sdk.shipping.keys import find_public, key_folder, new_key, open_key, own_keys
from runtime.agent.ed25519 import verify
from runtime.agent.trust import parse_public


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the user's keys out of the tests, and return the folder that is used instead."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield tmp_path / "config" / "edge-sdk" / "keys"


def never(path: Path) -> bytes:
    raise AssertionError(f"the passphrase of {path} was asked for")


def secret(path: Path) -> bytes:
    return b"open sesame"


def test_a_new_key_signs_what_a_device_verifies(folder: Path) -> None:
    made = new_key("me")
    key = open_key("me", never)
    assert key.public == made == find_public("me")
    assert verify(made.raw, key.sign(b"message"), b"message")
    assert not verify(made.raw, key.sign(b"message"), b"other")


def test_only_the_owner_can_read_it(folder: Path) -> None:
    new_key("me")
    assert _mode(folder) == 0o700
    assert _mode(folder / "me.key") == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["me.key", "me.pub"]


def test_a_folder_that_was_open_is_closed(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    new_key("me")
    assert _mode(folder) == 0o700


def test_the_public_file_holds_the_line_that_devices_pin(folder: Path) -> None:
    made = new_key("me")
    assert parse_public((folder / "me.pub").read_text()) == made


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_another_tool_reads_the_private_key(folder: Path) -> None:
    made = new_key("me", b"open sesame")
    data = (folder / "me.key").read_bytes()
    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    words = ["pkey", "-passin", "stdin", "-pubout", "-outform", "DER", "-in"]
    done = subprocess.run(
        ["openssl", *words, str(folder / "me.key")],
        input=b"open sesame\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout[-32:] == made.raw


def test_a_passphrase_is_asked_for_once_and_must_be_right() -> None:
    made = new_key("me", b"open sesame")
    asked: list[Path] = []

    def ask(path: Path) -> bytes:
        asked.append(path)
        return b"open sesame"

    assert open_key("me", ask).public == made
    assert [path.name for path in asked] == ["me.key"]
    with pytest.raises(RequestError, match=r"the passphrase is wrong, .*; try again"):
        open_key("me", lambda path: b"open barley")
    with pytest.raises(RequestError, match="an empty passphrase protects nothing"):
        new_key("you", b"")


def test_the_private_key_does_not_show(folder: Path) -> None:
    new_key("me")
    text = repr(open_key("me", never))
    assert "me" in text
    assert "rivate" not in text


def test_a_key_is_never_overwritten(folder: Path) -> None:
    new_key("me")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RequestError, match=r"there is a key me in .*; choose another name"):
        new_key("me")
    (folder / "me.key").unlink()
    with pytest.raises(RequestError, match="there is a key me"):
        new_key("me")
    assert (folder / "me.pub").read_bytes() == before["me.pub"]
    assert not (folder / "me.key").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../me", "a/b", "-k", ".me", "a b", "m\n", "é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(RequestError, match="a key cannot be called"):
        new_key(name)


def test_a_disk_that_fails_leaves_no_half_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        new_key("me")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o677])
def test_a_private_key_that_is_open_to_others_is_refused(folder: Path, mode: int) -> None:
    new_key("me")
    (folder / "me.key").chmod(mode)
    with pytest.raises(RequestError, match=rf"me\.key is open to others .*: chmod 600 {folder}"):
        open_key("me", never)
    with pytest.raises(RequestError, match="is open to others"):
        open_key(str(folder / "me.key"), never)


def test_a_folder_that_others_may_write_is_not_trusted(folder: Path) -> None:
    new_key("me")
    folder.chmod(0o770)
    for look in (own_keys, lambda: find_public("me")):
        with pytest.raises(RequestError, match=r"others may write .*: chmod 700 "):
            look()


def test_keys_are_listed(folder: Path) -> None:
    assert own_keys() == []
    mine, yours = new_key("me"), new_key("you", b"open sesame")
    (folder / "them.pub").write_text(f"{mine.line.replace(' me', ' them')}\n")
    found = [(key.public.name, key.private, key.protected) for key in own_keys()]
    assert found == [("me", True, False), ("them", False, False), ("you", True, True)]
    assert own_keys()[2].public == yours


def test_files_stand_where_names_do(folder: Path, tmp_path: Path) -> None:
    made = new_key("me", b"open sesame")
    for kind in (".key", ".pub"):
        (folder / f"me{kind}").rename(tmp_path / f"mine{kind}")
    assert find_public(str(tmp_path / "mine.pub")) == made
    assert open_key(str(tmp_path / "mine.key"), secret).public.raw == made.raw


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (False, "and it is no file; make one: edge-sdk keys new"),
        (True, r"did you mean mine\?"),
    ],
)
def test_a_key_that_is_not_there(known: bool, message: str) -> None:
    if known:
        new_key("mine")
    with pytest.raises(RequestError, match=message):
        open_key("mime", never)
    with pytest.raises(RequestError, match=message):
        find_public("mime")


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_files_that_are_no_private_key(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(RequestError, match=r"x\.key cannot be opened: it is no private key in PEM"):
        open_key(str(path), never)


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = tmp_path / "x.key"
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(RequestError, match="another kind than Ed25519"):
        open_key(str(path), never)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"ssh-ed25519 AAAA me\n"])
def test_files_that_are_no_public_key(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pub").write_bytes(content)
    with pytest.raises(RequestError, match=r"x\.pub: .*; see edge-sdk keys export"):
        find_public(str(tmp_path / "x.pub"))


def test_without_the_package_that_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    new_key("me")
    for module in ("cryptography.hazmat.primitives", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    message = r"cryptography is not installed; install it with: pip install 'edge-sdk\[sign\]'"
    with pytest.raises(MissingError, match=message):
        new_key("you")
    with pytest.raises(MissingError, match=message):
        open_key("me", never)
    assert [key.public.name for key in own_keys()] == ["me"]  # to verify takes none


def test_the_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("", "relative/path"):
        monkeypatch.setenv("XDG_CONFIG_HOME", named)
        assert key_folder() == tmp_path / ".config" / "edge-sdk" / "keys"


def test_keys_come_from_the_system_s_generator() -> None:
    """No two are alike, and none is made of anything that this file knows."""
    found = {keys._generate(None)[0] for _ in range(20)}
    assert len(found) == 20
    assert ed25519.Ed25519PublicKey.from_public_bytes(found.pop())


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
