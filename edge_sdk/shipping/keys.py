"""The keys of whoever ships: made, listed, opened to sign; private ones are their owner's alone.

A key is two files in `~/.config/edge-sdk/keys`: NAME.key (PKCS8 in PEM, RFC 5958, perhaps under a
passphrase), and NAME.pub, the line that devices pin.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from device_profiles.errors import OutputError, RequestError, missing
from device_profiles.nearest import hint
from runtime.agent.trust import PublicKey, is_key_name, parse_public

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Ask = Callable[[Path], bytes]
"""Returns the passphrase of a key file; called only for one that has a passphrase."""

_MAX_BYTES = 64 << 10
_PROTECTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_MAKE = "make one: edge-sdk keys new NAME"


@dataclass(frozen=True)
class OwnKey:
    """A key in the user's folder: whether its private half is there, and under a passphrase."""

    public: PublicKey
    private: bool
    protected: bool


@dataclass(frozen=True)
class SigningKey:
    """An open private key, which signs, and its public half."""

    public: PublicKey
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Return the signature (64 bytes) of a message."""
        return self._private.sign(message)


def key_folder() -> Path:
    """Return the folder of the user's keys: in `$XDG_CONFIG_HOME`, else in `~/.config`."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(named) if os.path.isabs(named) else Path.home() / ".config"
    return config / "edge-sdk" / "keys"


def new_key(name: str, passphrase: bytes | None = None) -> PublicKey:
    """Make a key of that name, with a passphrase if one is given, and return its public half.

    Raises RequestError when there is one of that name or it is no name, MissingError without the
    package `cryptography`, OutputError when it cannot be written.
    """
    if not is_key_name(name):
        raise RequestError(
            f"a key cannot be called {name!r}; give 1 to 64 of A-Z a-z 0-9 _ . @ -, neither . @ "
            "nor - at either end"
        )
    if passphrase == b"":
        raise RequestError("an empty passphrase protects nothing; give a longer one, or none")
    private, public = _paths(name)
    if private.exists() or public.exists():
        raise RequestError(f"there is a key {name} in {private.parent}; choose another name")
    key, pem = _generate(passphrase)
    made = PublicKey(name, key)
    try:
        private.parent.mkdir(parents=True, exist_ok=True)
        private.parent.chmod(0o700)
        _write_new(private, pem, 0o600)
        _write_new(public, f"{made.line}\n".encode(), 0o644)
    except OSError as error:
        raise OutputError(
            f"{private.parent} cannot be written: {error.strerror}; free some space there, or set "
            "XDG_CONFIG_HOME to a folder of your own"
        ) from error
    return made


def own_keys() -> list[OwnKey]:
    """Return the keys in the user's folder by name; RequestError where one is damaged."""
    folder = key_folder()
    _check_folder(folder)
    return [_own(path) for path in sorted(folder.glob("*.pub"))]


def find_public(name_or_file: str) -> PublicKey:
    """Return a public key by the name of one of the user's keys, or from a file of its line."""
    _, public = _paths(name_or_file)
    if is_key_name(name_or_file) and public.is_file():
        _check_folder(public.parent)
        return _public(public)
    return _public(_file(name_or_file, ".pub"))


def open_key(name_or_file: str, ask: Ask) -> SigningKey:
    """Open a private key by the name of one of the user's, or a PEM file, to sign with it.

    Raises RequestError when there is none, others may read it, it is no Ed25519 key, or the
    passphrase is wrong; MissingError without the package `cryptography`.
    """
    private, _ = _paths(name_or_file)
    named = is_key_name(name_or_file) and private.is_file()
    path = private if named else _file(name_or_file, ".key")
    pem = _read_private(path)
    key = _load(path, pem, ask(path) if _is_protected(pem) else None)
    name = path.stem if is_key_name(path.stem) else "key"
    return SigningKey(PublicKey(name, key.public_key().public_bytes_raw()), key)


def _paths(name: str) -> tuple[Path, Path]:
    folder = key_folder()
    return folder / f"{name}.key", folder / f"{name}.pub"


def _file(name_or_file: str, kind: str) -> Path:
    """Return the path of what is not one of the user's keys; RequestError when it is no file."""
    path = Path(name_or_file)
    if os.path.isfile(path):
        return path
    folder = key_folder()
    known = [found.stem for found in folder.glob(f"*{kind}")]
    what = f"no key is called {name_or_file!r} in {folder}, and it is no file"
    raise RequestError(f"{what}; {hint(name_or_file, known) if known else _MAKE}")


def _own(path: Path) -> OwnKey:
    private = path.with_suffix(".key")
    try:
        pem = private.read_bytes()
    except FileNotFoundError:
        return OwnKey(_public(path), private=False, protected=False)
    except OSError as error:
        raise _unreadable(private, error) from error
    return OwnKey(_public(path), private=True, protected=_is_protected(pem))


def _public(path: Path) -> PublicKey:
    try:
        with path.open("rb") as file:
            return parse_public(file.read(_MAX_BYTES).decode("ascii"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: is no public key; see edge-sdk keys export") from error
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error


def _read_private(path: Path) -> bytes:
    """Read a key file; RequestError when anybody but its owner may."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise RequestError(
                    f"{path} is open to others (mode {mode:03o}), who may have copied it; make a "
                    f"new key, or if none could: chmod 600 {shlex.quote(str(path))}"
                )
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_folder(folder: Path) -> None:
    """Raise RequestError when others may put keys there that would be taken for the user's."""
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o022:
            raise RequestError(
                f"others may write {folder} (mode {mode:03o}); look whether its keys are yours, "
                f"then: chmod 700 {shlex.quote(str(folder))}"
            )


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there yet; none is left where that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise


def _is_protected(pem: bytes) -> bool:
    return _PROTECTED in pem


def _generate(passphrase: bytes | None) -> tuple[bytes, bytes]:
    """Return a new public key (32 bytes) and its private one in PEM."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise missing("cryptography", "sign") from error
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase),
    )
    return key.public_key().public_bytes_raw(), pem


def _load(path: Path, pem: bytes, passphrase: bytes | None) -> Ed25519PrivateKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise missing("cryptography", "sign") from error
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = f"it is no private key in PEM; {_MAKE}"
        if passphrase is not None:
            why = "the passphrase is wrong, or the file is damaged; try again"
        raise RequestError(f"{path} cannot be opened: {why}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise RequestError(f"{path} is a key of another kind than Ed25519; {_MAKE}")
    return key


def _unreadable(path: Path, error: OSError) -> RequestError:
    return RequestError(f"{path} cannot be read: {error.strerror}; see its permissions")
