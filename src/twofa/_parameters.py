"""What a TOTP secret and its parameters may be: one rule for the calculator, for Key URIs and for the policy."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from twofa._hidden import shown
from twofa.errors import InvalidSecret, PolicyError

Algorithm: TypeAlias = Literal["SHA1", "SHA256", "SHA512"]
"""The hash function of the HMAC (RFC 6238 §1.2)."""

ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
SHORTEST_SECRET = 16
"""Bytes; RFC 4226 §4 R6."""
SHORTEST_IMPORTED_SECRET = 10
"""Bytes of a secret that another library made: years of apps were set up with 16 base32 characters."""
LONGEST_SECRET = 128
"""Bytes; the block of SHA-512, beyond which HMAC only hashes the key down."""
FEWEST_DIGITS, MOST_DIGITS = 6, 8
"""RFC 4226 §5.3."""
SHORTEST_PERIOD, LONGEST_PERIOD = 15, 120
"""Seconds of a time step; RFC 6238 §4.1, NIST SP 800-63B-4 §3.1.4.1."""
WIDEST_WINDOW = 2
"""Time steps accepted to either side of the present one; RFC 6238 §5.2 and §6."""


def problem_with_parameters(
    secret: object,
    algorithm: object = "SHA1",
    digits: object = 6,
    period: object = 30,
    *,
    shortest: int = SHORTEST_SECRET,
) -> Exception | None:
    """Return what is wrong with any of them, instead of raising it: no frame of a traceback must hold the secret."""
    if not isinstance(secret, bytes):
        return TypeError(f"a secret is bytes, or for TOTP base32 text as str, not {type(secret).__name__}")
    if not shortest <= len(secret) <= LONGEST_SECRET:
        return InvalidSecret(
            f"a secret has {shortest} to {LONGEST_SECRET} bytes, that is at least {shortest * 8} bits"
            f"{' (RFC 4226 §4 R6)' if shortest == SHORTEST_SECRET else ''}, but this one has {len(secret)} bytes"
        )
    if algorithm not in ALGORITHMS:
        return unknown_algorithm()
    if type(digits) is not int or not FEWEST_DIGITS <= digits <= MOST_DIGITS:
        return PolicyError(f"digits must be 6, 7 or 8 (RFC 4226 §5.3), not {shown(digits)}")
    if type(period) is not int or not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
        return PolicyError(f"period must be 15 to 120 seconds (NIST SP 800-63B-4 §3.1.4.1), not {shown(period)}")
    return None


def unknown_algorithm() -> PolicyError:
    """Return the error for anything that is not the name of an algorithm, without showing it."""
    return PolicyError(f"algorithm must be one of {', '.join(ALGORITHMS)} (RFC 6238 §1.2)")
