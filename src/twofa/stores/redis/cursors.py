"""Where a reader of the outbox is: an id in the stream of every shard, written as one text."""

from __future__ import annotations

from typing import NamedTuple

from twofa.stores.trail import bad_cursor

SHARDS = 16
"""How many streams there are. It says which of them a user's events are in, so it can never be another."""

_LONGEST = SHARDS * len("7fffffffffffffff-7fffffffffffffff.")
_BEYOND = 2**63
"""More than any clock tells. After its very last number a server refuses to start."""


class Place(NamedTuple):
    """An id in a stream. The first id is after `Place(0, 0)`."""

    time: int
    """Microseconds, by the clock of the server."""
    turn: int
    """Tells those apart that have the same time."""

    @classmethod
    def of(cls, entry_id: bytes) -> Place:
        """Read the id of an entry."""
        time, _, turn = entry_id.partition(b"-")
        return cls(int(time), int(turn))

    @property
    def start(self) -> str:
        """The beginning of a range that starts after it."""
        return f"({self.time}-{self.turn}" if any(self) else "-"


def written(places: list[Place]) -> str:
    """Return the cursor."""
    return ".".join(_one(place) for place in places)


def _one(place: Place) -> str:
    if not any(place):
        return ""
    return f"{place.time:x}-{place.turn:x}" if place.turn else f"{place.time:x}"


def read(cursor: str) -> list[Place]:
    """Return a place for each shard. Raises `ValueError` for a text that `written` did not make."""
    if cursor == "":
        return [Place(0, 0)] * SHARDS
    if len(cursor) > _LONGEST:  # before the numbers in it: of a long text, reading them is slow
        raise bad_cursor(cursor)
    try:
        places = [_place(each) for each in cursor.split(".")]
    except ValueError:
        raise bad_cursor(cursor) from None
    # Numbers can be written in many ways, and only one of them is ours.
    if len(places) != SHARDS or written(places) != cursor or max(map(max, places)) >= _BEYOND:
        raise bad_cursor(cursor)
    return places


def _place(text: str) -> Place:
    time, dash, turn = text.partition("-")
    return Place(int(time or "0", 16), int(turn, 16) if dash else 0)
