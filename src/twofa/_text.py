"""What text may be kept and shown, and what people type between the symbols of a code or a secret."""

from __future__ import annotations

HYPHENS = dict.fromkeys(map(ord, "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"))
"""For `str.translate`: removes every hyphen and dash that a keyboard or a word processor makes."""
SPACES = dict.fromkeys([*map(ord, " \u00a0\u1680\u202f\u205f\u3000"), *range(0x2000, 0x200B)])
"""For `str.translate`: removes every space, but no line break."""


def storable(text: str) -> bool:
    """Whether every database takes the text: no NUL, no unpaired surrogate."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= symbol <= "\udfff" for symbol in text)
