"""Which shard keeps a user, and how each shard knows that it is in its place.

A user is found by a hash of the id modulo the number of shards. If a shard were missing, exchanged with another one or
added, users would be looked for where they are not, and "no record" lets everybody in with the password alone. So each
shard keeps a mark that says which one it is, of how many, and in which layout. A shard is only used once its mark was
read and is right.

The marks are made when a layout is used for the first time. The mark of shard 0 comes first, and says that the layout
is being made; it says that the layout is complete once all others are there. From then on a shard without a mark is not
a new one, but one that has lost its data.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from twofa.stores.protocol import Change, Stored, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK_ID = "twofa-shard"
"""The user id under which a shard keeps its mark."""

_DOCUMENT = re.compile(r"shard (\d+) of (\d+) in layout ([0-9a-f]{32}), (complete|being made)")


def shard_of(user_id: str, count: int) -> int:
    """Return the number of the shard that keeps a user. Raises `ValueError` for the id that marks shards."""
    if user_id == MARK_ID:
        raise ValueError(f"no user can be called {MARK_ID!r}: under that id each shard keeps which one it is")
    return int.from_bytes(sha256(user_id.encode()).digest()[:8]) % count


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a shard says about itself."""

    number: int
    """From 0."""
    count: int
    layout: str
    """32 hexadecimal digits, drawn when the layout was made."""
    complete: bool = True
    """False in shard 0 until every other shard has its mark."""

    @classmethod
    def read(cls, stored: Stored, number: int, count: int) -> Mark:
        """Read the mark of the shard that is used as number `number` of `count`. Raises `UnexpectedAnswer`."""
        found = _DOCUMENT.fullmatch(stored.document)
        if found is None:
            raise UnexpectedAnswer(f"the store given as shard {number} has something else than a mark: {_ADVICE}")
        mark = cls(number=int(found[1]), count=int(found[2]), layout=found[3], complete=found[4] == "complete")
        if (mark.number, mark.count) != (number, count):
            raise UnexpectedAnswer(
                f"the store given as shard {number} of {count} says that it is shard {mark.number} of {mark.count}: "
                f"{_ADVICE}"
            )
        return mark

    def stored(self) -> Stored:
        """Return the mark as a record, under a new version."""
        state = "complete" if self.complete else "being made"
        document = f"shard {self.number} of {self.count} in layout {self.layout}, {state}"
        return Stored(secrets.token_hex(16), document)


class Layout:
    """Which shards are known to be in their places."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._known: dict[int, str] = {}

    def knows(self, number: int) -> bool:
        """Return whether a shard was found in its place."""
        return number in self._known

    def learn(self, number: int, stored: Stored | None) -> bool:
        """Take note of the mark of a shard; return False if the layout has to be made first.

        Raises `UnexpectedAnswer` if the mark does not belong to this shard among the others.
        """
        if stored is None:
            return False
        mark = Mark.read(stored, number, self.count)
        if not mark.complete:
            return False
        for other, layout in self._known.items():
            if layout != mark.layout:
                raise UnexpectedAnswer(f"shard {number} and shard {other} belong to different layouts: {_ADVICE}")
        self._known[number] = mark.layout
        return True


def next_step(marks: Sequence[Stored | None]) -> tuple[int, Change] | None:
    """Return the next swap in the making of a layout, and in which shard; or `None` once the layout is complete.

    `marks` are those that the shards have now. Any number of processes may make a layout at once, or go on with one:
    who loses a swap reads the marks again. Raises `UnexpectedAnswer` if shards have lost their data, or are not in
    their places.
    """
    count = len(marks)
    read = [None if stored is None else Mark.read(stored, number, count) for number, stored in enumerate(marks)]
    missing = [number for number, mark in enumerate(read) if mark is None]
    held, first = marks[0], read[0]
    if held is None or first is None:
        if len(missing) < count:
            raise UnexpectedAnswer(f"shard 0 of {count} has no mark any more: {_LOST}")
        return 0, Change(None, Mark(number=0, count=count, layout=secrets.token_hex(16), complete=False).stored())
    for mark in read:
        if mark is not None and mark.layout != first.layout:
            raise UnexpectedAnswer(f"shard {mark.number} belongs to another layout than shard 0: {_ADVICE}")
    if not missing:
        complete = Mark(number=0, count=count, layout=first.layout).stored()
        return None if first.complete else (0, Change(held.version, complete))
    number = missing[0]
    if first.complete:
        raise UnexpectedAnswer(f"shard {number} of {count} has no mark any more: {_LOST}")
    return number, Change(None, Mark(number=number, count=count, layout=first.layout).stored())


_ADVICE = "give the same stores in the same order as before"
_LOST = (
    "it was emptied, restored from an old backup, or is another database. Until it is back, nobody in it must be taken "
    "for a user without a second factor"
)
