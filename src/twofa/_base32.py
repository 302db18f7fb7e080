"""TOTP secrets as base32 text (RFC 4648 §6), as Key URIs carry it and people type it.

Helpers return what is wrong with a secret instead of raising it, so that no frame of a traceback holds the secret.
"""

from __future__ import annotations

from base64 import b32decode, b32encode

from twofa._text import HYPHENS, SPACES
from twofa.errors import InvalidSecret

_LONGEST_INPUT = 512
"""Characters. The longest secret has 205 in base32, which leaves room for spaces or hyphens between them."""

_GROUPING = SPACES | HYPHENS
"""What people put between the symbols of a secret. A line break is not among them: it means that more was copied."""
_IMPOSSIBLE_LENGTHS = frozenset({1, 3, 6})
"""Symbols in a last, incomplete group of eight that make no whole number of bytes."""
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567")


def encode(raw: bytes) -> str:
    """Return unpadded upper-case base32."""
    return b32encode(raw).decode("ascii").rstrip("=")


def decode(text: str, *, stray_bits: bool = False) -> bytes | InvalidSecret:
    """Decode strictly, but for case, spaces, hyphens and padding; return the problem for anything else.

    `stray_bits` takes a last symbol with bits that belong to no byte, as other libraries and all apps do.
    """
    problem = _problem_with(text)
    if problem is not None:
        return problem
    symbols = _symbols(text)
    raw = b32decode(symbols + "=" * (-len(symbols) % 8))
    if stray_bits or encode(raw) == symbols:
        return raw
    return InvalidSecret("the base32 secret has stray bits at its end (RFC 4648 §3.5): its last symbol is wrong")


def _problem_with(text: str) -> InvalidSecret | None:
    if len(text) > _LONGEST_INPUT:
        return InvalidSecret(f"a base32 secret has at most {_LONGEST_INPUT} characters, spaces included")
    for position, symbol in enumerate(text.strip(), 1):
        if symbol not in _ALPHABET and symbol != "=" and ord(symbol) not in _GROUPING:
            return InvalidSecret(
                f"character {position} of the base32 secret is {symbol!r}, which is not in its alphabet: "
                "A to Z and 2 to 7, but not 0, 1, 8 or 9 (RFC 4648 §6)"
            )
    symbols = _symbols(text)
    if "=" in symbols:
        return InvalidSecret("the base32 secret has padding (=) before its end (RFC 4648 §6): are these two secrets?")
    if len(symbols) % 8 in _IMPOSSIBLE_LENGTHS:
        return InvalidSecret(
            f"no base32 secret has {len(symbols)} symbols (RFC 4648 §6): it was cut short, or mistyped"
        )
    return None


def _symbols(text: str) -> str:
    return text.strip().translate(_GROUPING).rstrip("=").upper()
