from __future__ import annotations

import builtins
import hashlib
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import MissingError
from runtime.agent import ed25519
from runtime.agent.ed25519 import verify
from tests.runtime.agent.signer import L, public_of, sign

ROOT = Path(__file__).resolve().parents[3]

# RFC 8032, section 7.1: private key, public key, message, signature.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
        "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
        "4dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c664"
        "31e0303dca179c138ac17ad9bef1177331a704",
    ),
]
PUBLIC, MESSAGE, SIGNATURE = (
    bytes.fromhex(VECTORS[2][1]),
    VECTORS[2][2],
    bytes.fromhex(VECTORS[2][3]),
)


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(secret: str, public: str, message: bytes, signature: str) -> None:
    key, signed = bytes.fromhex(public), bytes.fromhex(signature)
    assert (public_of(bytes.fromhex(secret)), sign(bytes.fromhex(secret), message)) == (key, signed)
    assert verify(key, signed, message)
    assert not verify(key, signed, message + b"\0")


def test_every_flipped_bit_is_found() -> None:
    for bit in range(8 * len(SIGNATURE)):
        assert not verify(PUBLIC, _flip(SIGNATURE, bit), MESSAGE)
    for bit in range(8 * len(PUBLIC)):
        assert not verify(_flip(PUBLIC, bit), SIGNATURE, MESSAGE)
    for bit in range(8 * len(MESSAGE)):
        assert not verify(PUBLIC, SIGNATURE, _flip(MESSAGE, bit))


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_of_another_length(size: int) -> None:
    assert not verify((PUBLIC * 2)[:size], SIGNATURE, MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_a_signature_of_another_length(size: int) -> None:
    assert not verify(PUBLIC, (SIGNATURE * 2)[:size], MESSAGE)


def test_a_second_way_to_write_the_same_signature() -> None:
    """RFC 8032, section 5.1.7: S must be less than the order, or anybody could make another one."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + L
    assert not verify(PUBLIC, SIGNATURE[:32] + scalar.to_bytes(32, "little"), MESSAGE)


def test_it_agrees_with_another_library() -> None:
    kind = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    dice = random.Random(0)
    for number in range(100):
        key = kind.Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))
        message = dice.randbytes(number * 7)
        signature = key.sign(message)
        assert verify(key.public_key().public_bytes_raw(), signature, message)
        assert not verify(
            key.public_key().public_bytes_raw(), _flip(signature, dice.randrange(512)), message
        )


def test_messages_of_any_length() -> None:
    dice = random.Random(0)
    for size in (0, 1, 63, 64, 65, 1000, 100_000):
        secret, message = dice.randbytes(32), dice.randbytes(size)
        assert verify(public_of(secret), sign(secret, message), message)
        assert not verify(public_of(secret), sign(secret, message), message + b"\0")


def test_a_bare_python_verifies_from_a_zip(tmp_path: Path) -> None:
    """The agent is imported so: out of a zip, without numpy or any other package."""
    with zipfile.ZipFile(tmp_path / "agent.whl", "w") as wheel:
        for package in ("device_profiles", "runtime"):
            for path in (ROOT / package).rglob("*.py"):
                wheel.write(path, path.relative_to(ROOT))
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path / 'agent.whl')!r})\n"
        "sys.modules.update(dict.fromkeys(['numpy', 'cryptography']))\n"
        "from runtime.agent import trust\n"
        "assert 'agent.whl' in trust.__file__\n"
        f"print(trust.verify({PUBLIC!r}, {SIGNATURE!r}, {MESSAGE!r}))"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


class Library:
    """An OpenSSL of which every function answers as told, and which counts what is freed."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "EVP_PKEY_new_raw_public_key": 1,
            "EVP_MD_CTX_new": 2,
            "EVP_DigestVerifyInit": 1,
            "EVP_DigestVerify": 1,
            **answers,
        }
        self.freed: list[Any] = []
        self.cleared = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name == "ERR_clear_error":
            return self._clear
        if name.endswith("_free"):
            return self.freed.append
        return lambda *arguments: self.answers[name]

    def _clear(self) -> None:
        self.cleared += 1


@pytest.mark.parametrize(("answer", "expected"), [(1, True), (0, False), (-1, False), (2, False)])
def test_only_one_is_yes(answer: int, expected: bool) -> None:
    library: Any = Library(EVP_DigestVerify=answer)
    assert ed25519._verify(library, PUBLIC, SIGNATURE, MESSAGE) is expected
    assert (sorted(library.freed), library.cleared) == ([1, 2], 1)


@pytest.mark.parametrize(
    "answers",
    [
        {"EVP_PKEY_new_raw_public_key": None},
        {"EVP_MD_CTX_new": None},
        {"EVP_DigestVerifyInit": 0},
        {"EVP_DigestVerifyInit": -1},
    ],
    ids=str,
)
def test_what_cannot_verify_says_so_and_frees_all(answers: dict[str, Any]) -> None:
    library: Any = Library(**answers)
    with pytest.raises(MissingError, match="libssl3"):
        ed25519._verify(library, PUBLIC, SIGNATURE, MESSAGE)
    assert (len(library.freed), library.cleared) == (2, 1)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let the library be looked for anew."""
    ed25519._libcrypto.cache_clear()
    yield
    ed25519._libcrypto.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], "libcrypto is not here"),
        (["/nonexistent/libcrypto.so.3"], "libcrypto is not here"),
        (["libc.so.6"], r"libc\.so\.6 is older than OpenSSL 1\.1\.1"),
    ],
)
def test_no_openssl(places: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ed25519, "_places", lambda: iter(places))
    with pytest.raises(MissingError, match=f"{message}; .* apt-get install python3 libssl3"):
        verify(PUBLIC, SIGNATURE, MESSAGE)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("answer", [0, 1], ids=["refuses all", "accepts all"])
def test_a_library_that_answers_wrong_is_not_used(
    answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(EVP_DigestVerify=answer)
    monkeypatch.setattr(ed25519, "_places", lambda: iter(["libc.so.6"]))
    monkeypatch.setattr(ed25519, "_declared", lambda crypto: library)
    with pytest.raises(MissingError, match="gives wrong answers"):
        verify(PUBLIC, SIGNATURE, MESSAGE)


@pytest.mark.usefixtures("fresh")
def test_a_bad_place_does_not_hide_a_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    good = list(ed25519._places())
    monkeypatch.setattr(ed25519, "_places", lambda: iter(["/nonexistent", "libc.so.6", *good]))
    assert verify(PUBLIC, SIGNATURE, MESSAGE)


@pytest.mark.usefixtures("fresh")
def test_a_python_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "ctypes":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(MissingError, match="this Python lacks ctypes"):
        verify(PUBLIC, SIGNATURE, MESSAGE)


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
