"""Recovery codes that another library made: any alphabet, any length, and no slot that names one of them.

They are hashed like our own, but what a user types has to be compared with every code that is left, one hash after the
other. They end with the user's next set.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twofa._hidden import Hidden
from twofa._record.recovery import LONGEST_INPUT, NewCodes, Scheme, draw_salts
from twofa._record.state import Reading
from twofa._text import HYPHENS
from twofa.policy import FAST_HASH_BITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twofa.policy import Policy

MOST_CODES = 32
"""As many as a set of our own may have: each costs a hash at every attempt."""

SHORTEST_CODE = 6
"""Symbols. NIST SP 800-63B-4 §3.1.2.1 asks for six decimal digits at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCodes:
    """Codes that a user holds already, and how they will be read."""

    codes: NewCodes
    length: int
    """Symbols of each code; 0 where they differ."""
    reading: Reading
    """Capital and small letters are read alike, unless the set has both."""

    @classmethod
    def checked(cls, codes: Sequence[Hidden[str]], policy: Policy) -> ImportedCodes:
        """Read the codes and draw the salts.

        Raises `ValueError` for more than 32 codes, for a code of fewer than 6 symbols or more than 64 characters, and
        for two codes that are the same. No message contains a code.
        """
        if len(codes) > MOST_CODES:
            raise ValueError(f"at most {MOST_CODES} recovery codes can be imported, not {len(codes)}")
        any_case = not _has_both_cases(codes)
        read: list[Hidden[str]] = []
        for number, code in enumerate(codes, 1):
            plain = read_imported_code(code, 0, any_case=any_case)
            if plain is None or len(plain.value) < SHORTEST_CODE:
                raise ValueError(
                    f"recovery code {number} must have at least {SHORTEST_CODE} symbols (NIST SP 800-63B-4 §3.1.2.1) "
                    f"and at most {LONGEST_INPUT} characters"
                )
            if plain in read:
                raise ValueError(f"recovery code {number} is the same as an earlier one")
            read.append(plain)
        lengths = {len(code.value) for code in read}
        scheme = Scheme.fast() if _bits(read) >= FAST_HASH_BITS else Scheme.slow_under(policy)
        return cls(
            codes=NewCodes(scheme, tuple(read), draw_salts(len(read))),
            length=lengths.pop() if len(lengths) == 1 else 0,
            reading="any case" if any_case else "exact case",
        )


def read_imported_code(code: Hidden[str], length: int, *, any_case: bool) -> Hidden[str] | None:
    """Return what was typed as a code of such a set, or `None` if it cannot be one.

    Spaces, hyphens and the width of characters do not matter (Unicode's NFKC). `length` 0 takes any.
    """
    if len(code.value) > LONGEST_INPUT:
        return None
    plain = Hidden("".join(unicodedata.normalize("NFKC", code.value).split()).translate(HYPHENS))
    if any_case:
        plain = Hidden(plain.value.casefold())
    if not plain.value or len(plain.value) > LONGEST_INPUT:
        return None
    return plain if length in {0, len(plain.value)} else None


def _has_both_cases(codes: Sequence[Hidden[str]]) -> bool:
    return any(code.value != code.value.upper() for code in codes) and any(
        code.value != code.value.lower() for code in codes
    )


def _bits(codes: Sequence[Hidden[str]]) -> float:
    """Return the entropy that each of the codes has at least, as far as it can be told from looking at them.

    The alphabet is taken to be what occurs in the set: less than what the codes were drawn from. Letters without a
    digit may be words, whose entropy nobody can tell: 0.
    """
    if not all(any(symbol.isdigit() for symbol in code.value) for code in codes):
        return 0.0
    alphabet = {symbol for code in codes for symbol in code.value}
    return min((len(code.value) * math.log2(len(alphabet)) for code in codes), default=0.0)
