"""Pages of what all shards have: the outbox, and the list of users.

Each shard keeps its own part in order. A page is put together as in a merge sort: ask every shard for its first few,
and the shard that turns out to have more of the smallest ones for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twofa.stores.protocol import OutboxEntry
from twofa.stores.redis import scripts
from twofa.stores.redis.commands import ask_shards
from twofa.stores.redis.layout import position_of, read_cursor, read_event, write_cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa.stores.redis.commands import Exchange, Opened, Word
    from twofa.stores.redis.layout import Position
    from twofa.stores.redis.scripts import Script

T = TypeVar("T", bound=Any)


def user_ids(opened: Opened, after: str, limit: int) -> Exchange[tuple[str, ...]]:
    """Read a page of the users of all shards, in the order of their bytes."""
    start: dict[int, Word] = dict.fromkeys(range(opened.layout.shards), after.encode())

    def read(user_id: bytes, _: int) -> bytes:
        return user_id

    def begin_after(user_id: bytes, _: int) -> Word:
        return user_id

    users = yield from _first(opened, scripts.USERS, limit, start, read, begin_after)
    return tuple(user_id.decode() for user_id in users)


def events_after(opened: Opened, cursor: str, limit: int) -> Exchange[tuple[OutboxEntry, ...]]:
    """Read a page of the outbox, in two steps.

    First find the time at which the page ends, from the positions of the events that are there. Then read all events up
    to that time, while each shard makes sure that its next event gets a later time. So whatever is written while the
    shards are read one after the other is either in this page or stands after it, whichever clock a node has. Where
    nothing new has happened, nothing is written.
    """
    after = read_cursor(cursor, opened.layout.shards)
    start = {shard: _begin_after(after, shard) for shard in range(opened.layout.shards)}

    def begin_after(position: Position, _: int) -> Word:
        return f"(e{position[0]}{position[2]}\xff".encode("latin-1")

    positions = yield from _first(opened, scripts.POSITIONS, limit, start, position_of, begin_after)
    if not positions:
        return ()
    found = yield from ask_shards(opened, scripts.EVENTS, [positions[-1][0]], start)
    page = sorted(
        (position_of(position, shard), user_id.decode(), text)
        for shard, entries in found.items()
        for position, user_id, text in entries
    )
    return tuple(
        OutboxEntry(write_cursor(position), read_event(text, user_id)) for position, user_id, text in page[:limit]
    )


def _begin_after(after: Position | None, shard: int) -> Word:
    """Return where the part of a shard begins that stands after a position: in Redis' words for a range of members."""
    if after is None:
        return "[e"
    time, own, number = after
    if shard < own:
        return b"(e%s\xff" % time.encode()
    if shard > own:
        return b"[e%s" % time.encode()
    return b"(e%s%s\xff" % (time.encode(), number.encode())


def _first(
    opened: Opened,
    script: Script,
    limit: int,
    start: dict[int, Word],
    read: Callable[[bytes, int], T],
    begin_after: Callable[[T, int], Word],
) -> Exchange[list[T]]:
    """Return the first `limit` items of all shards, in order."""
    if limit < 1:
        return []
    quota = 2 * limit // opened.layout.shards + 8
    items: list[T] = []
    asked = start
    known: dict[int, T] = {}  # the last item that was read of a shard that has more
    while True:
        answers = yield from ask_shards(opened, script, [quota], asked)
        for shard, answer in answers.items():
            known.pop(shard, None)
            items.extend(each := [read(item, shard) for item in answer])
            if len(each) >= quota:
                known[shard] = each[-1]
        items.sort()
        # Up to the smallest of these, nothing is missing.
        if not known or (len(items) >= limit and items[limit - 1] <= min(known.values())):
            return items[:limit]
        end = min(known.values())
        asked = {shard: begin_after(last, shard) for shard, last in known.items() if last == end}
        quota *= 2
