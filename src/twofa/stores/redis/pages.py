"""What all shards have together: the outbox, and the list of users.

Each shard keeps its own part in order. A page is put together as in a merge sort: ask every shard for its first few,
and the shard that turns out to have more of the smallest ones for more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twofa.stores.protocol import OutboxEntry
from twofa.stores.redis import scripts
from twofa.stores.redis.exchange import Word, ask, ask_each
from twofa.stores.redis.layout import Entry, begin_after, read_cursor, read_entries, write_cursor
from twofa.stores.redis.scripts import Script
from twofa.stores.trail import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from twofa.stores.redis.exchange import Exchange
    from twofa.stores.redis.opening import Opened

T = TypeVar("T", bound=Any)

_LOOKED_AT = 500
"""How many events one script looks at when old ones are erased, so that it holds nobody up for more than about 2 ms."""
_A_FEW = 8
"""How many each shard is asked for on top of its share of a page. Few shards have more than that above the average."""


def user_ids(opened: Opened, after: str, limit: int) -> Exchange[tuple[str, ...]]:
    """Read a page of the users of all shards, in the order of their bytes."""
    start: dict[int, Word] = dict.fromkeys(range(opened.layout.shards), after.encode())
    reading: Reading[bytes] = Reading(
        script=scripts.USERS, read=lambda users, _: users, begin_after=lambda user_id, _: user_id
    )
    users, _ = yield from _first(opened, reading, limit, start)
    return tuple(user_id.decode() for user_id in users[:limit])


def events_after(opened: Opened, cursor: str, limit: int) -> Exchange[tuple[OutboxEntry, ...]]:
    """Read a page of the outbox, in two steps.

    First read the events that are there, which says at which time the page ends. Then close the page: each shard makes
    sure that its next event gets a later time, and returns what it got up to that time since it was read. So whatever
    is written while the shards are read one after the other is either in this page or stands after it, whatever the
    clock of its node says. Where nothing new has happened, nothing is written.
    """
    after = read_cursor(cursor, opened.layout.shards)
    start: dict[int, Word] = {shard: begin_after(after, shard) for shard in range(opened.layout.shards)}
    reading: Reading[Entry] = Reading(
        script=scripts.OUTBOX, read=read_entries, begin_after=lambda entry, shard: begin_after(entry.position, shard)
    )
    entries, last = yield from _first(opened, reading, limit, start)
    if not entries:
        return ()
    end = entries[:limit][-1].position[0]
    # A shard of which a later event was read cannot get an earlier one any more.
    open_ = {
        shard: reading.begin_after(last[shard], shard) if shard in last else start[shard]
        for shard in start
        if shard not in last or last[shard].position[0] < end
    }
    late = yield from _ask_shards(opened, scripts.CLOSE_PAGE, [end], open_)
    entries += [entry for shard, members in late.items() for entry in read_entries(members, shard)]
    entries.sort()
    return tuple(OutboxEntry(write_cursor(entry.position), entry.event) for entry in entries[:limit])


def prune_events(opened: Opened, before: datetime) -> Exchange[int]:
    """Erase old events, a few hundred at a time."""
    seconds, erased = seconds_of(before), 0
    for key in opened.layout.keys:
        start: Word = "[e"
        while start:
            last, count = yield from ask(scripts.PRUNE, key, opened.identity, start, _LOOKED_AT, seconds)
            start = b"(" + last if last else ""
            erased += count
    return erased


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    """How items are read from a shard."""

    script: Script
    read: Callable[[Sequence[bytes], int], Sequence[T]]
    """Makes items of what the script says of a shard."""
    begin_after: Callable[[T, int], Word]
    """Returns where the script has to begin after an item of a shard."""


def _first(
    opened: Opened, reading: Reading[T], limit: int, start: dict[int, Word]
) -> Exchange[tuple[list[T], dict[int, T]]]:
    """Read at least the first `limit` items of all shards, if there are so many.

    Return items in order, without a gap up to the first `limit`, and the last one that was read of each shard.
    """
    items: list[T] = []
    last: dict[int, T] = {}
    if limit < 1:
        return items, last
    quota = limit // opened.layout.shards + _A_FEW
    asked = start
    unfinished: set[int] = set()
    while True:
        answers = yield from _ask_shards(opened, reading.script, [quota], asked)
        for shard, answer in answers.items():
            unfinished.discard(shard)
            some = reading.read(answer, shard)
            if some:
                items.extend(some)
                last[shard] = some[-1]
            if len(answer) >= quota:
                unfinished.add(shard)
        items.sort()
        # A shard that has more matters only if they could belong on the page.
        asked = {
            shard: reading.begin_after(last[shard], shard)
            for shard in unfinished
            if len(items) < limit or last[shard] < items[limit - 1]
        }
        if not asked:
            return items, last
        quota *= 2


def _ask_shards(
    opened: Opened, script: Script, arguments: Sequence[Word], each: Mapping[int, Word]
) -> Exchange[dict[int, Any]]:
    """Run a script on some shards, with an argument of its own for each; return what it says of each shard."""
    groups = [group for group in (tuple(n for n in group if n in each) for group in opened.groups) if group]
    calls = [
        (
            [opened.layout.keys[shard] for shard in group],
            [opened.identity, *arguments, *(each[shard] for shard in group)],
        )
        for group in groups
    ]
    answers = yield from ask_each(script, calls)
    return {
        shard: said
        for group, answer in zip(groups, answers, strict=True)
        for shard, said in zip(group, answer, strict=True)
    }
