"""What text may be kept and shown, and what people type between the symbols of a code or a secret."""

from __future__ import annotations

import unicodedata

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls; marks of direction, joiners and other format characters; surrogates; line and paragraph separators."""
_UNSEEN_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Unicode's default ignorable letters and marks, and the empty Braille pattern: nothing of them shows. The variation
selectors are not among them: they show, by the form of the emoji or letter that they choose."""

HYPHENS = dict.fromkeys(map(ord, "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"))
"""For `str.translate`: removes every hyphen and dash that a keyboard or a word processor makes."""
SPACES = dict.fromkeys([*map(ord, " \u00a0\u1680\u202f\u205f\u3000"), *range(0x2000, 0x200B)])
"""For `str.translate`: removes every space, but no line break."""


def first_unseen(text: str) -> str | None:
    """Return the first character that does not show, or that changes the direction or the line of what follows.

    With such characters one label can look like another (Unicode Technical Standard 39).
    """
    if text.isascii() and text.isprintable():
        return None
    return next(
        (each for each in text if each in _UNSEEN_LETTERS or unicodedata.category(each) in _UNSEEN_CATEGORIES), None
    )


def storable(text: str) -> bool:
    """Whether every database takes the text: no NUL, no unpaired surrogate."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= symbol <= "\udfff" for symbol in text)
