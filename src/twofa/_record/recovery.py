"""Recovery codes: make, read, hash.

NIST SP 800-63B-4 calls them saved recovery codes (§4.2.1.1) and look-up secrets (§3.1.2). A code is written in
Crockford's base32, in groups of four: `7KQX-M4TZ-N8BW-2HJV`. Its first symbol names its slot in the set and is public,
so that an attempt costs one slow hash and not ten; the others are random.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf import argon2

from twofa import _entropy
from twofa._hidden import Hidden
from twofa._parameters import MOST_DIGITS
from twofa._text import HYPHENS
from twofa.errors import PolicyError, UnsupportedRecord
from twofa.policy import Argon2id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.kdf import scrypt

    from twofa.policy import Policy, Scrypt

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32: no I, L, O, which are read as digits, and no U."""

_READ_AS = str.maketrans("OIL", "011")

LONGEST_INPUT = 64
"""Characters of raw input that are looked at at all (ASVS 5.0 2.2.1)."""

_SCHEMES = frozenset({"argon2id", "scrypt", "sha256"})
SALT = 16
"""Bytes of each code's own salt; NIST SP 800-63B-4 §3.1.1.2 asks for 4."""
_DIGEST = 32
_ROW = SALT + _DIGEST


@dataclass(frozen=True, slots=True)
class Row:
    """One code of a set, as it is kept."""

    index: int
    """Of the code in its set."""
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)


class Scheme(NamedTuple):
    """How a set is hashed: stored with it, as `str()` writes it, so that a policy can change under it."""

    name: str
    """`argon2id`, `scrypt` or `sha256`."""
    parameters: tuple[int, ...]

    @classmethod
    def read(cls, written: str) -> Scheme:
        """Return the scheme that `str()` wrote; raises `UnsupportedRecord` for one that this version does not know."""
        name, *parameters = written.split(":")
        if name not in _SCHEMES:
            raise UnsupportedRecord(f"the recovery codes are hashed with {name!r}: upgrade this instance of twofa")
        return cls(name, tuple(map(int, parameters)))

    def __str__(self) -> str:
        return ":".join((self.name, *map(str, self.parameters)))

    @classmethod
    def of(cls, policy: Policy) -> Scheme:
        """Return the scheme that the policy's code length asks for (NIST SP 800-63B-4 §3.1.2.2)."""
        return cls.slow_under(policy) if policy.slow_hashing else cls.fast()

    @classmethod
    def fast(cls) -> Scheme:
        """Return the scheme for codes of 112 bits or more."""
        return cls("sha256", ())

    @classmethod
    def slow_under(cls, policy: Policy) -> Scheme:
        """Return the policy's scheme for codes of less than 112 bits."""
        how = policy.hashing
        if isinstance(how, Argon2id):
            return cls("argon2id", (how.memory_kib, how.iterations))
        return cls("scrypt", (how.n, how.r, how.p))

    @property
    def slow(self) -> bool:
        """Whether a hash takes tens of milliseconds, and so has to stay away from an event loop."""
        return self.name != "sha256"

    def digest(self, salt: bytes, code: Hidden[str]) -> bytes:
        """Return the 32-byte hash of a code as `read_recovery_code` returns it."""
        if self.name == "argon2id":
            memory, iterations = self.parameters
            return _argon2id(salt, memory, iterations).derive(code.value.encode())
        if self.name == "scrypt":
            n, r, p = self.parameters
            return _scrypt(salt, n, r, p).derive(code.value.encode())
        digest = hashes.Hash(hashes.SHA256())
        digest.update(salt)
        digest.update(code.value.encode())
        return digest.finalize()


class NewCodes:
    """A set of codes with its salts: drawn, or given, before an operation starts, and hashed while it runs."""

    __slots__ = ("codes", "salts", "scheme")

    def __init__(self, scheme: Scheme, codes: tuple[Hidden[str], ...], salts: tuple[bytes, ...]) -> None:
        self.scheme, self.codes, self.salts = scheme, codes, salts

    @classmethod
    def draw(cls, policy: Policy) -> NewCodes:
        """Draw a set as the policy wants it."""
        count, length = policy.recovery_codes, policy.recovery_code_length - 1
        # The salts first: if the generator fails at the second draw, no frame holds codes.
        salts = draw_salts(count)
        symbols = "".join(ALPHABET[byte & 31] for byte in _entropy.random_bytes(count * length))
        codes = (ALPHABET[index] + symbols[index * length : (index + 1) * length] for index in range(count))
        return cls(Scheme.of(policy), tuple(map(Hidden, codes)), salts)

    @property
    def slots(self) -> str:
        """The public first symbols, in order."""
        return "".join(code.value[0] for code in self.codes)

    def written(self) -> tuple[str, ...]:
        """Return the codes as a person reads them."""
        return tuple(map(written, self.codes))


def draw_salts(count: int) -> tuple[bytes, ...]:
    """Draw a salt for each of `count` codes."""
    salts = _entropy.random_bytes(count * SALT)
    return tuple([salts[at : at + SALT] for at in range(0, len(salts), SALT)])


def written(code: Hidden[str]) -> str:
    """Return a code in groups of four."""
    return "-".join(code.value[at : at + 4] for at in range(0, len(code.value), 4))


def read_recovery_code(code: Hidden[str], length: int) -> Hidden[str] | None:
    """Return what was typed as a code of `length` symbols, or `None` if it cannot be one.

    Case, spaces and hyphens do not matter, no-break and Unicode ones included; O reads as 0, I and L as 1. This is our
    own rule, as RFC 4648 §3.3 wants it said. Everything else is refused, letters outside ASCII included.
    """
    if len(code.value) > LONGEST_INPUT:
        return None
    read = Hidden("".join(code.value.split()).translate(HYPHENS))
    if len(read.value) != length or not read.value.isascii():
        return None
    read = Hidden(read.value.upper().translate(_READ_AS))
    return read if all(symbol in ALPHABET for symbol in read.value) else None


def pack(salts: tuple[bytes, ...], digests: list[bytes]) -> str:
    """Return salts and hashes as one string for the record."""
    rows = (salt + digest for salt, digest in zip(salts, digests, strict=True))
    return binascii.b2a_base64(b"".join(rows), newline=False).decode()


def salt_at(packed: str, index: int) -> bytes:
    """Return the salt of the code at `index`."""
    return binascii.a2b_base64(packed)[index * _ROW : index * _ROW + SALT]


def hash_at(packed: str, index: int) -> bytes:
    """Return the hash of the code at `index`."""
    return binascii.a2b_base64(packed)[index * _ROW + SALT : (index + 1) * _ROW]


def check_available(hashing: Argon2id | Scrypt) -> None:
    """Raise `PolicyError` if this build of OpenSSL lacks the function, now rather than at someone's enrolment."""
    if not isinstance(hashing, Argon2id):
        return
    try:
        _argon2id(bytes(SALT), hashing.memory_kib, hashing.iterations)
    except UnsupportedAlgorithm as lacking:
        raise PolicyError("this build of OpenSSL has no Argon2id: pass Policy(hashing=Scrypt())") from lacking


def _argon2id(salt: bytes, memory: int, iterations: int) -> argon2.Argon2id:
    return argon2.Argon2id(salt=salt, length=_DIGEST, iterations=iterations, lanes=1, memory_cost=memory)


def _scrypt(salt: bytes, n: int, r: int, p: int) -> scrypt.Scrypt:
    from cryptography.hazmat.primitives.kdf import scrypt  # few hosts need it: not part of the import

    return scrypt.Scrypt(salt=salt, length=_DIGEST, n=n, r=r, p=p)


def is_longer_than_any_totp_code(code: Hidden[str]) -> bool:
    """Whether this can only be meant as a recovery code: it has more symbols than a TOTP code has digits."""
    return len("".join(code.value[: LONGEST_INPUT + 1].split()).translate(HYPHENS)) > MOST_DIGITS
