"""Ed25519 in plain Python after RFC 8032, section 6: tests sign with it where no library does."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace

from runtime.agent.trust import PublicKey
from runtime.statements import Statement, payload

Point = tuple[int, int, int, int]  # extended coordinates: x = X/Z, y = Y/Z, xy = T/Z

P = (1 << 255) - 19
L = (1 << 252) + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE: Point = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def public_of(secret: bytes) -> bytes:
    """Return the public key (32 bytes) of a private one."""
    return _packed(_times(_expanded(secret)[0], BASE))


def sign(secret: bytes, message: bytes) -> bytes:
    """Return the signature (64 bytes) of a message."""
    scalar, prefix = _expanded(secret)
    nonce = _hash(prefix + message)
    point = _packed(_times(nonce, BASE))
    challenge = _hash(point + public_of(secret) + message)
    return point + ((nonce + challenge * scalar) % L).to_bytes(32, "little")


@dataclass(frozen=True)
class Signer:
    """A key with a name, which signs statements."""

    name: str
    secret: bytes

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return PublicKey(self.name, public_of(self.secret))

    def signed(self, statement: Statement) -> Statement:
        """Return a statement as this key says it."""
        said = replace(statement, key=self.public.id)
        raw = sign(self.secret, payload(said))
        return replace(said, signature=base64.b64encode(raw).decode())


def _expanded(secret: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8)
    return scalar | 1 << 254, digest[32:]


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha512(data).digest(), "little") % L


def _plus(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            found = _plus(found, point)
        point = _plus(point, point)
        scalar >>= 1
    return found


def _packed(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")
