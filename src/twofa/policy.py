"""The settings: frozen, keyword-only, refused where they fall below what the standards allow.

A policy speaks only for what is made under it. Algorithm, digits and period are stored with each authenticator, length
and hash parameters with each set of recovery codes, so that changing a policy never locks out anyone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from twofa._values import Value
from twofa.errors import PolicyError

__all__ = ["Argon2id", "Policy", "Scrypt", "Throttle"]

Algorithm: TypeAlias = Literal["SHA1", "SHA256", "SHA512"]

_BITS_PER_SYMBOL = 5
"""Recovery codes are written in a 32-symbol alphabet; their first symbol is the public slot and carries nothing."""

_RECOVERY_FLOOR_BITS = 64
"""NIST SP 800-63B-4 §4.2.1.1."""

_FAST_HASH_BITS = 112
"""NIST SP 800-63B-4 §3.1.2.2, ASVS 5.0 6.5.2: from here on a salted plain hash is as good as a slow one."""

LONGEST_RECOVERY_CODE = 32
"""With its separators such a code has 39 characters, well below the 64 that are read at all."""


class Argon2id(Value):
    """How recovery codes shorter than 112 bits are hashed (RFC 9106; ASVS 5.0 11.4.2, appendix C)."""

    __slots__ = ("iterations", "memory_kib")

    memory_kib: int
    """Memory in KiB, for each hash that runs; at most one runs per core."""
    iterations: int

    # One lane, always: hashes of several lanes that run at once wait for each other's threads, for ever, at OpenSSL's
    # process-wide limit of them. A set spreads over the cores anyway, by its codes.

    def __init__(self, *, memory_kib: int = 19_456, iterations: int = 2) -> None:
        """Take `memory_kib` of memory and `iterations` passes.

        Raises `PolicyError` below the minimum: 46 MiB for one pass, 19 MiB for two, 12 MiB from three on.
        """
        _whole("iterations", iterations, 1, 100)
        floor = {1: 47_104, 2: 19_456}.get(iterations, 12_288)
        _whole("memory_kib", memory_kib, floor, 4_194_304, "ASVS 5.0 11.4.2 and the OWASP password storage minimum")
        self._fill(memory_kib=memory_kib, iterations=iterations)


class Scrypt(Value):
    """The alternative to `Argon2id`, for a build of OpenSSL that lacks it (RFC 7914; ASVS 5.0 11.4.2, appendix C)."""

    __slots__ = ("n", "p", "r")

    n: int
    """Cost; a power of two. Memory is 128 · n · r bytes."""
    r: int
    p: int

    def __init__(self, *, n: int = 2**17, r: int = 8, p: int = 1) -> None:
        """Take cost `n`, block size `r` and parallelization `p`.

        Raises `PolicyError` below the minimum: n of 2¹⁷ for p = 1, 2¹⁶ for p = 2, 2¹⁵ from 3 on, with r of 8 or more.
        """
        clause = "ASVS 5.0 11.4.2 and the OWASP password storage minimum"
        _whole("p", p, 1, 16)
        _whole("r", r, 8, 32, clause)
        _whole("n", n, {1: 2**17, 2: 2**16}.get(p, 2**15), 2**22, clause)
        if n & (n - 1):
            raise PolicyError(f"n must be a power of two (RFC 7914 §2), not {n}")
        self._fill(n=n, r=r, p=p)


class Throttle(Value):
    """How wrong codes slow down the next ones (NIST SP 800-63B-4 §3.2.2). Stricter is allowed, looser is not."""

    __slots__ = ("block_after", "first_wait", "free_failures", "longest_wait")

    free_failures: int
    """Consecutive wrong codes that start no wait; the next one does."""
    first_wait: int
    """Seconds of the first wait; each further wrong code doubles it."""
    longest_wait: int
    """Seconds that no wait exceeds."""
    block_after: int
    """Wrong codes, in a row or within 30 days, after which the authenticator (or the set) is blocked for good."""

    def __init__(
        self, *, free_failures: int = 4, first_wait: int = 30, longest_wait: int = 3600, block_after: int = 100
    ) -> None:
        """Start to wait after `free_failures`, block after `block_after`; waits are in seconds.

        Raises `PolicyError` for a setting looser than NIST SP 800-63B-4 §3.2.2 allows, or a wait beyond a day.
        """
        clause = "NIST SP 800-63B-4 §3.2.2"
        _whole("block_after", block_after, 1, 100, clause)
        _whole("free_failures", free_failures, 0, 4, clause)
        _whole("first_wait", first_wait, 30, 3600, clause)
        _whole("longest_wait", longest_wait, first_wait, 86_400)
        self._fill(
            free_failures=free_failures, first_wait=first_wait, longest_wait=longest_wait, block_after=block_after
        )


class Policy(Value):
    """What new authenticators and recovery codes look like, and how attempts are judged.

    The defaults are what every authenticator app reads: SHA1, 6 digits, 30 seconds. Some apps ignore other values.
    """

    __slots__ = (
        "algorithm",
        "digits",
        "hashing",
        "period",
        "recovery_code_length",
        "recovery_codes",
        "setup_lifetime",
        "throttle",
        "window",
    )

    algorithm: Algorithm
    """The HMAC's hash (RFC 6238 §1.2)."""
    digits: int
    """6 to 8 (RFC 4226 §5.3)."""
    period: int
    """Seconds of a time step, 15 to 120 (RFC 6238 §4.1; NIST SP 800-63B-4 §3.1.4.1)."""
    window: int
    """Time steps accepted to either side of the present one, 0 to 2 (RFC 6238 §5.2 and §6)."""
    setup_lifetime: int
    """Seconds that a set-up waits to be confirmed, 60 to 600 (ASVS 5.0 6.4.1; NIST SP 800-63B-4 §4.1.2.2)."""
    recovery_codes: int
    """Codes in a set, 1 to 32: each has a symbol of its own as its slot."""
    recovery_code_length: int
    """Symbols of a code, 14 to 32, five bits each save the first (NIST SP 800-63B-4 §4.2.1.1: at least 64 bits)."""
    hashing: Argon2id | Scrypt
    """How codes of less than 112 bits are hashed. Longer ones get a salted SHA-256: their length alone decides."""
    throttle: Throttle

    def __init__(
        self,
        *,
        algorithm: Algorithm = "SHA1",
        digits: int = 6,
        period: int = 30,
        window: int = 1,
        setup_lifetime: int = 600,
        recovery_codes: int = 10,
        recovery_code_length: int = 16,
        hashing: Argon2id | Scrypt | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """Check and keep the settings; raises `PolicyError` with the clause that a setting breaks."""
        if algorithm not in ("SHA1", "SHA256", "SHA512"):
            raise PolicyError(f"algorithm must be SHA1, SHA256 or SHA512 (RFC 6238 §1.2), not {algorithm!r}")
        _whole("digits", digits, 6, 8, "RFC 4226 §5.3")
        _whole("period", period, 15, 120, "NIST SP 800-63B-4 §3.1.4.1")
        _whole("window", window, 0, 2, "RFC 6238 §5.2 and §6")
        _whole("setup_lifetime", setup_lifetime, 60, 600, "ASVS 5.0 6.4.1")
        _whole("recovery_codes", recovery_codes, 1, 32)
        shortest = 1 + -(-_RECOVERY_FLOOR_BITS // _BITS_PER_SYMBOL)
        _whole(
            "recovery_code_length",
            recovery_code_length,
            shortest,
            LONGEST_RECOVERY_CODE,
            "NIST SP 800-63B-4 §4.2.1.1: at least 64 bits beside the slot",
        )
        hashing = Argon2id() if hashing is None else hashing
        throttle = Throttle() if throttle is None else throttle
        _instance("hashing", hashing, (Argon2id, Scrypt))
        _instance("throttle", throttle, (Throttle,))
        self._fill(
            algorithm=algorithm,
            digits=digits,
            period=period,
            window=window,
            setup_lifetime=setup_lifetime,
            recovery_codes=recovery_codes,
            recovery_code_length=recovery_code_length,
            hashing=hashing,
            throttle=throttle,
        )

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
        return self.recovery_code_bits < _FAST_HASH_BITS


def _whole(name: str, value: object, lowest: int, highest: int, clause: str = "") -> None:
    if type(value) is not int:
        raise PolicyError(f"{name} must be a whole number, not {type(value).__name__}")
    if not lowest <= value <= highest:
        raise PolicyError(f"{name} must be {lowest} to {highest}, not {value}" + (f" ({clause})" if clause else ""))


def _instance(name: str, value: object, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise PolicyError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}")
