"""The settings: frozen, keyword-only, refused where they fall below what the standards allow.

A policy applies to what is made under it, and to nothing older. Algorithm, digits and period are stored with each
authenticator, length and hash parameters with each set of recovery codes. So a changed policy never locks anyone out.
"""

from __future__ import annotations

from dataclasses import dataclass

from twofa._parameters import (
    ALGORITHMS,
    FEWEST_DIGITS,
    LONGEST_PERIOD,
    MOST_DIGITS,
    SHORTEST_PERIOD,
    WIDEST_WINDOW,
    Algorithm,
)
from twofa.errors import PolicyError

__all__ = ["Argon2id", "Policy", "Scrypt", "Throttle"]

_BITS_PER_SYMBOL = 5
"""Recovery codes are written in an alphabet of 32 symbols. The first symbol is the public slot and is not random."""

_RECOVERY_FLOOR_BITS = 64
"""NIST SP 800-63B-4 §4.2.1.1."""

FAST_HASH_BITS = 112
"""NIST SP 800-63B-4 §3.1.2.2, ASVS 5.0 6.5.2: from here on a salted plain hash is as good as a slow one."""

_HASHING_MINIMUM = "ASVS 5.0 11.4.2 and the OWASP password storage minimum"

LONGEST_RECOVERY_CODE = 32
"""Symbols. With its separators such a code has 39 characters; input of more than 64 is never read."""


def _whole(name: str, value: object, lowest: int, highest: int, clause: str = "") -> None:
    if type(value) is not int:
        raise PolicyError(f"{name} must be a whole number, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise PolicyError(f"{name} must be {lowest} to {highest}, not {value}" + (f" ({clause})" if clause else ""))


def _instance(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise PolicyError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2id:
    """How recovery codes shorter than 112 bits are hashed (RFC 9106; ASVS 5.0 11.4.2, appendix C).

    Raises `PolicyError` below the minimum: 46 MiB for one pass, 19 MiB for two, 12 MiB from three on.
    """

    memory_kib: int = 19_456
    """Memory in KiB, for each hash that runs; at most one runs per core."""
    iterations: int = 2
    """Passes over that memory."""

    # Always one lane. Hashes of several lanes that run at once can wait for each other's threads for ever, at OpenSSL's
    # process-wide limit of threads. A set spreads over the cores anyway, one code at a time.

    def __post_init__(self) -> None:
        _whole("iterations", self.iterations, 1, 100)
        floor = {1: 47_104, 2: 19_456}.get(self.iterations, 12_288)
        _whole("memory_kib", self.memory_kib, floor, 4_194_304, _HASHING_MINIMUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrypt:
    """The alternative to `Argon2id`, for a build of OpenSSL that lacks it (RFC 7914; ASVS 5.0 11.4.2, appendix C).

    Raises `PolicyError` below the minimum: n of 2¹⁷ for p = 1, 2¹⁶ for p = 2, 2¹⁵ from 3 on, with r of 8 or more.
    """

    n: int = 2**17
    """Cost; a power of two. Memory is 128 · n · r bytes."""
    r: int = 8
    """Block size."""
    p: int = 1
    """Parallelization."""

    def __post_init__(self) -> None:
        _whole("p", self.p, 1, 16)
        _whole("r", self.r, 8, 32, _HASHING_MINIMUM)
        _whole("n", self.n, {1: 2**17, 2: 2**16}.get(self.p, 2**15), 2**22, _HASHING_MINIMUM)
        if self.n & (self.n - 1):
            raise PolicyError(f"n must be a power of two (RFC 7914 §2), not {self.n}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """How wrong codes slow down the next ones (NIST SP 800-63B-4 §3.2.2). Stricter is allowed, looser is not.

    Raises `PolicyError` for a setting looser than that allows, or a wait beyond a day.
    """

    free_failures: int = 4
    """Consecutive wrong codes that start no wait; the next one does."""
    first_wait: int = 30
    """Seconds of the first wait; each further wrong code doubles it."""
    longest_wait: int = 3600
    """Seconds that no wait exceeds."""
    block_after: int = 100
    """Consecutive wrong codes after which the authenticator (or the set) is blocked for good.

    Strangers are refused long before: from four fifths of this number, in a row or within 30 days. With 1 or 2 a change
    of the password gives the owner no further try.
    """
    longest_recovery_wait: int = 86_400
    """Seconds that a wait for a recovery code does not exceed, in a browser that the owner has not used before."""

    def __post_init__(self) -> None:
        clause = "NIST SP 800-63B-4 §3.2.2"
        _whole("block_after", self.block_after, 1, 100, clause)
        _whole("free_failures", self.free_failures, 0, 4, clause)
        _whole("first_wait", self.first_wait, 30, 3600, clause)
        _whole("longest_wait", self.longest_wait, self.first_wait, 86_400)
        _whole("longest_recovery_wait", self.longest_recovery_wait, self.first_wait, 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What new authenticators and recovery codes look like, and how attempts are judged.

    The defaults are what every authenticator app reads: SHA1, 6 digits, 30 seconds. Some apps ignore other values.

    Raises `PolicyError` with the clause that a setting breaks.
    """

    algorithm: Algorithm = "SHA1"
    """The HMAC's hash (RFC 6238 §1.2)."""
    digits: int = 6
    """6 to 8 (RFC 4226 §5.3)."""
    period: int = 30
    """Seconds of a time step, 15 to 120 (RFC 6238 §4.1; NIST SP 800-63B-4 §3.1.4.1)."""
    window: int = 1
    """Time steps accepted to either side of the present one, 0 to 2 (RFC 6238 §5.2 and §6)."""
    setup_lifetime: int = 600
    """Seconds that a set-up waits to be confirmed, 60 to 600 (ASVS 5.0 6.4.1; NIST SP 800-63B-4 §4.1.2.2)."""
    recovery_codes: int = 10
    """Codes in a set, 1 to 32: each has a symbol of its own as its slot."""
    recovery_code_length: int = 16
    """Symbols of a code, 14 to 32: a public first one, and five random bits in each of the others.

    NIST SP 800-63B-4 §4.2.1.1 asks for at least 64 random bits.
    """
    hashing: Argon2id | Scrypt = Argon2id()
    """How codes of less than 112 bits are hashed. Longer ones get a salted SHA-256: their length alone decides."""
    session_lifetime: int = 86_400
    """Seconds that a sign-in of the session layer lasts, from the password on (NIST SP 800-63B-4 §2.2.3: a day)."""
    throttle: Throttle = Throttle()
    """How wrong codes slow down the next ones, and when they block for good."""
    hash_threads: int | None = None
    """Threads of this process that hash at once. `None` finds out what the container has processors and memory for."""

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise PolicyError(f"algorithm must be SHA1, SHA256 or SHA512 (RFC 6238 §1.2), not {self.algorithm!r}")
        _whole("digits", self.digits, FEWEST_DIGITS, MOST_DIGITS, "RFC 4226 §5.3")
        _whole("period", self.period, SHORTEST_PERIOD, LONGEST_PERIOD, "NIST SP 800-63B-4 §3.1.4.1")
        _whole("window", self.window, 0, WIDEST_WINDOW, "RFC 6238 §5.2 and §6")
        _whole("setup_lifetime", self.setup_lifetime, 60, 600, "ASVS 5.0 6.4.1")
        _whole("session_lifetime", self.session_lifetime, 60, 30 * 86_400, "NIST SP 800-63B-4 §2.1.3 and §2.2.3")
        _whole("recovery_codes", self.recovery_codes, 1, 32)
        _whole(
            "recovery_code_length",
            self.recovery_code_length,
            1 + -(-_RECOVERY_FLOOR_BITS // _BITS_PER_SYMBOL),  # the slot, and enough symbols rounded up
            LONGEST_RECOVERY_CODE,
            "NIST SP 800-63B-4 §4.2.1.1: at least 64 bits beside the slot",
        )
        _instance("hashing", self.hashing, (Argon2id, Scrypt))
        if self.hash_threads is not None:
            _whole("hash_threads", self.hash_threads, 1, 256)
        _instance("throttle", self.throttle, (Throttle,))

    @classmethod
    def strict(cls) -> Policy:
        """Return the profile without tolerance: a code counts only in its own 30 seconds (ASVS 5.0 6.5.5)."""
        return cls(window=0)

    @property
    def recovery_code_bits(self) -> int:
        """Random bits of a new recovery code, beside its public slot."""
        return _BITS_PER_SYMBOL * (self.recovery_code_length - 1)

    @property
    def slow_hashing(self) -> bool:
        """Whether new recovery codes are short enough to need a slow hash."""
        return self.recovery_code_bits < FAST_HASH_BITS
