"""Slow work as plain data: what a decision asks for, and what came of it.

Slow hashes are run by `hashing`, which a login by TOTP never loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twofa._hidden import Hidden
    from twofa._record.recovery import NewCodes, Scheme


class Check:
    """One recovery code to hash against the one row that its slot names."""

    __slots__ = ("code", "expected", "place", "salt", "scheme")

    def __init__(self, scheme: Scheme, salt: bytes, expected: bytes, code: Hidden[str], place: int) -> None:
        self.scheme, self.salt, self.expected, self.code = scheme, salt, expected, code
        self.place = place
        """The code's place in its set."""


class Done:
    """What came of a job."""

    __slots__ = ("counted_against", "digest", "hashes", "place")

    def __init__(self, counted_against: object, place: int, digest: bytes, hashes: str) -> None:
        self.counted_against = counted_against
        """The secret or set that the attempt was counted against; it is judged against no other."""
        self.place, self.digest = place, digest
        """The checked code's place and hash; -1 and empty where none was to be checked."""
        self.hashes = hashes
        """The new set's packed hashes; empty where none was made."""


class Job:
    """Work that follows a decision, before the next one."""

    __slots__ = ("check", "counted_against", "make")

    def __init__(
        self, *, check: Check | None = None, make: NewCodes | None = None, counted_against: object = None
    ) -> None:
        self.check = check
        self.make = make
        """A new set, hashed only if the check came out right."""
        self.counted_against = counted_against

    def run(self) -> Done:
        """Do the work; blocks for tens of milliseconds a hash."""
        from twofa._engine import hashing  # brings threads, which only slow work needs

        return hashing.run(self)
