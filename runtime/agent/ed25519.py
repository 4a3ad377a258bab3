"""Verify Ed25519 signatures (RFC 8032) with the OpenSSL that a device's own Python brings.

Python has no signatures, but its hashlib links libcrypto, which does: OpenSSL 1.1.1 or newer, see
EVP_DigestVerify(3) and EVP_PKEY_new_raw_public_key(3).
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from device_profiles.errors import MissingError

if TYPE_CHECKING:
    import ctypes

_ED25519 = 1087  # NID_ED25519 of obj_mac.h
_PUBLIC_BYTES = 32
_SIGNATURE_BYTES = 64
_MAPPED = re.compile(r"/.*/libcrypto[^/]*\.so[^/]*$")
_SONAMES = ("libcrypto.so.3", "libcrypto.so.1.1")

# TEST 2 of RFC 8032, section 7.1: public key, message, signature.
_PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
_MESSAGE = bytes.fromhex("72")
_SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether `signature` (64 bytes) is of `message`, by the key `public` (32 bytes).

    Other lengths are no signature. MissingError where there is no OpenSSL that knows Ed25519.
    """
    if len(public) != _PUBLIC_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    return _verify(_libcrypto(), bytes(public), bytes(signature), bytes(message))


def _verify(crypto: ctypes.CDLL, public: bytes, signature: bytes, message: bytes) -> bool:
    key = context = None
    try:
        key = crypto.EVP_PKEY_new_raw_public_key(_ED25519, None, public, len(public))
        context = crypto.EVP_MD_CTX_new()
        if not key or not context:
            raise _missing("it makes no Ed25519 key")
        if crypto.EVP_DigestVerifyInit(context, None, None, None, key) != 1:
            raise _missing("it does not verify Ed25519")
        # 1 is yes, 0 no, and anything else an error.
        verdict = crypto.EVP_DigestVerify(context, signature, len(signature), message, len(message))
        return bool(verdict == 1)
    finally:
        crypto.EVP_MD_CTX_free(context)  # both take NULL
        crypto.EVP_PKEY_free(key)
        crypto.ERR_clear_error()  # what is left there, Python's ssl would take for its own


@lru_cache
def _libcrypto() -> ctypes.CDLL:
    """Return the first OpenSSL that tells a good signature from a bad one."""
    try:
        import ctypes
    except ImportError as error:
        raise _missing("this Python lacks ctypes") from error
    reason = "libcrypto is not here"
    for place in _places():
        try:
            crypto = _declared(ctypes.CDLL(place))
            if _answers(crypto):
                return crypto
            reason = f"{place} gives wrong answers"
        except OSError:  # it cannot be loaded: the next one may
            continue
        except AttributeError:
            reason = f"{place} is older than OpenSSL 1.1.1"
        except MissingError as error:
            reason = f"{place}: {error}"
    raise _missing(reason)


def _places() -> Iterator[str]:
    """Yield where libcrypto may be: what this process has loaded goes first."""
    with contextlib.suppress(ImportError):
        importlib.import_module("_hashlib")
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8") as maps:
        found = (_MAPPED.search(line.rstrip("\n")) for line in maps)
        yield from dict.fromkeys(match[0] for match in found if match)
    yield from _SONAMES
    from ctypes.util import find_library

    if place := find_library("crypto"):
        yield place


def _answers(crypto: ctypes.CDLL) -> bool:
    """See that the library accepts a known signature and refuses it for another message."""
    good = _verify(crypto, _PUBLIC, _SIGNATURE, _MESSAGE)
    return good and not _verify(crypto, _PUBLIC, _SIGNATURE, _MESSAGE + b"\0")


def _declared(crypto: ctypes.CDLL) -> ctypes.CDLL:
    """State types: without, ctypes would cut pointers to 32 bits."""
    from ctypes import c_char_p, c_int, c_size_t, c_void_p

    pointer, text, size = c_void_p, c_char_p, c_size_t
    declared: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "EVP_PKEY_new_raw_public_key": (pointer, (c_int, pointer, text, size)),
        "EVP_PKEY_free": (None, (pointer,)),
        "EVP_MD_CTX_new": (pointer, ()),
        "EVP_MD_CTX_free": (None, (pointer,)),
        "EVP_DigestVerifyInit": (c_int, (pointer, pointer, pointer, pointer, pointer)),
        "EVP_DigestVerify": (c_int, (pointer, text, size, text, size)),
        "ERR_clear_error": (None, ()),
    }
    for name, (result, arguments) in declared.items():
        function = getattr(crypto, name)
        function.restype, function.argtypes = result, arguments
    return crypto


def _missing(reason: str) -> MissingError:
    return MissingError(
        f"signatures cannot be verified here: {reason}; install Python and OpenSSL in full: sudo "
        "apt-get install python3 libssl3"
    )
