"""Where everything is kept: which key a user belongs to, and how positions and events are written.

The users are spread over a number of shards. Everything about the users of one shard is in one key of Redis, a sorted
set. That is what keeps a swap atomic on a cluster at all times: while a slot moves from one node to another, a command
on several keys of it is refused (TRYAGAIN), because some keys may have moved and others not. A single key is always on
one node or the other.

All members of the set have the score 0, so Redis keeps them in the order of their bytes and finds a range of them
quickly. The first byte says what a member is; `docs/stores-redis.md` has the table.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from zlib import crc32

from twofa.stores.trail import EventRow, bad_cursor, check_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twofa.events import Event

DEFAULT_SHARDS = 256
"""Enough for an even load on 32 nodes, and for a few million users: a shard should hold 10,000 of them at most."""
SLOTS = 16_384
"""How many hash slots a cluster has, and so the largest number of shards that makes sense."""
MOST_EVENTS = 1000
"""How many events one swap may have. More would not fit on the stack of the script."""
_LONGEST_PREFIX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The keys of one store."""

    prefix: str
    keys: tuple[bytes, ...]
    """The key of each shard."""
    marker: bytes
    """The key that says in which format the store is kept, and under which identity."""

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.keys)

    def key_of(self, user_id: str) -> bytes:
        """Return the key in which everything about a user is."""
        return self.keys[crc32(user_id.encode()) % len(self.keys)]


def make_layout(prefix: str, shards: int) -> Layout:
    """Work out the keys. Raises `TypeError` or `ValueError` for a prefix or a number of shards that cannot be used."""
    if not isinstance(prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
        raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
    # Redis reads the braces of a key to choose the slot, so there must be no others.
    plain = prefix.isascii() and prefix.isprintable() and not set(prefix) & set("{} ")
    if not plain or not 0 < len(prefix) <= _LONGEST_PREFIX:
        raise ValueError(
            f"prefix must be 1 to {_LONGEST_PREFIX} ASCII characters without spaces and braces, not {prefix[:80]!r}"
        )
    if type(shards) is not int:
        raise TypeError(f"shards must be an int, not {type(shards).__name__}")
    if not 1 <= shards <= SLOTS:
        raise ValueError(f"shards must be 1 to {SLOTS}, not {shards}")
    return Layout(prefix=prefix, keys=_spread(prefix, shards), marker=f"{{{prefix}:store}}".encode())


def _spread(prefix: str, shards: int) -> tuple[bytes, ...]:
    """Return a key for each shard, so that the keys lie at equal distances over the slots of a cluster.

    The slot of a key is a checksum of what stands in its braces, so it cannot be chosen directly. The slots are divided
    into as many ranges as there are shards; counting from 0, the first number whose slot falls into a range names the
    shard of that range. For 256 shards that takes about 1,600 tries.
    """
    found: dict[int, bytes] = {}
    numbers = count()
    while len(found) < shards:
        name = f"{prefix}:{next(numbers)}".encode()
        found.setdefault(slot_of(name) * shards // SLOTS, b"{%s}" % name)
    return tuple(found[shard] for shard in range(shards))


def slot_of(tag: bytes) -> int:
    """Return the slot of a cluster that a hash tag falls into (Redis cluster specification: CRC16 modulo 16384)."""
    return crc_hqx(tag, 0) % SLOTS


# --- events, and where they stand in the outbox ----------------------------------------------------------------------

Position: TypeAlias = tuple[str, int, str]
"""Where an event stands among those of all shards: time, shard, and number within its swap. They sort in this order."""

_TIME_DIGITS = 16
_POSITION = slice(1, 21)
_NO_EVENT = 21
"""The length of a member that is a bare time."""
_CURSOR = re.compile(r"([0-9]{16})-([0-9]{4})-(0|[1-9][0-9]{0,4})")


class Entry(NamedTuple):
    """An event as it is kept."""

    position: Position
    user_id: str
    text: str

    @property
    def event(self) -> Event:
        """The event."""
        at, kind, detail, *source = self.text.split("\n", 3)
        row = EventRow(user_id=self.user_id, at=int(at), kind=kind, source=source[0] if source else None, detail=detail)
        return row.event()


def write_event(row: EventRow) -> bytes:
    """Return kind, detail and source of an event as text, each on a line.

    The source comes last, if there is one, because it is the only part that may hold line breaks of its own.
    """
    text = f"{row.kind}\n{row.detail}"
    return (text if row.source is None else f"{text}\n{row.source}").encode()


def read_entries(members: Iterable[bytes], shard: int) -> list[Entry]:
    """Return the events among the members of a shard's outbox."""
    entries: list[Entry] = []
    for member in members:
        if len(member) != _NO_EVENT:
            digits, rest = member[_POSITION].decode(), member[_POSITION.stop :].decode()
            at, _, rest = rest.partition(" ")
            user_id, _, text = rest.partition("\0")
            entries.append(Entry((digits[:_TIME_DIGITS], shard, digits[_TIME_DIGITS:]), user_id, f"{at}\n{text}"))
    return entries


def write_cursor(position: Position) -> str:
    """Return the cursor that stands at a position."""
    time, shard, number = position
    return f"{time}-{number}-{shard}"


def read_cursor(cursor: str, shards: int) -> Position | None:
    """Return the position of a cursor, or `None` for the beginning.

    Raises `ValueError` for one that is not ours, and `TypeError` for what is no text.
    """
    check_cursor(cursor)
    if cursor == "":
        return None
    parts = _CURSOR.fullmatch(cursor)
    if parts is None or int(parts[3]) >= shards:
        raise bad_cursor(cursor)
    return parts[1], int(parts[3]), parts[2]


def begin_after(after: Position | None, shard: int) -> bytes:
    """Return where the part of a shard begins that stands after a position: in Redis' words for a range of members."""
    if after is None:
        return b"[e"
    time, own, number = after
    if shard > own:
        return b"[e%s" % time.encode()
    # No member has the byte 255 in this place, so this is after all that begin in the same way.
    return b"(e%s%s\xff" % (time.encode(), number.encode() if shard == own else b"")
