"""One outbox made of several: in which order their events come, and where a reader of all of them is.

Each event is stamped with the time at which its swap began, in a detail of its own that no reader sees. Events of one
shard stay in the order of that shard; of the next events of all shards the one with the earliest stamp comes first. So
an event comes after those of every swap that returned before its own began, as far as the clocks of the machines agree.
Clocks that do not agree change the order between shards, and nothing else: a cursor has the place in each shard, and so
nothing is ever added before it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, cast

from twofa.stores.protocol import Change, OutboxEntry
from twofa.stores.trail import bad_cursor, check_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twofa.events import Event

STAMP = "twofa_shard_stamp"
_counter = count()
"""Tells swaps apart that begin within one tick of the clock. Needs no lock, and so no thought about forks."""


def stamped(change: Change) -> Change:
    """Return the change with the time in each of its events."""
    if not change.events:
        return change
    stamp = f"{time.time_ns():020}.{next(_counter):020}"
    return change._replace(
        events=tuple(replace(event, detail={**event.detail, STAMP: stamp}) for event in change.events)
    )


def unstamped(event: Event) -> Event:
    """Return an event as it was before it was stamped."""
    return replace(event, detail={name: value for name, value in event.detail.items() if name != STAMP})


@dataclass(frozen=True, slots=True)
class Cursors:
    """Where a reader is in each shard."""

    each: tuple[str, ...]

    @classmethod
    def read(cls, cursor: str, shards: int) -> Cursors:
        """Read a cursor that `written` made. Raises `ValueError` for other text, `TypeError` for what is no text."""
        check_cursor(cursor)
        if cursor == "":
            return cls(("",) * shards)
        try:
            given: object = json.loads(cursor)
        except (ValueError, RecursionError):
            raise bad_cursor(cursor) from None
        each = cast("list[object]", given) if isinstance(given, list) else []
        texts = tuple(one for one in each if isinstance(one, str))
        if not len(texts) == len(each) == shards:
            raise bad_cursor(cursor)
        return cls(texts)

    def written(self) -> str:
        """Return the cursor as text."""
        return json.dumps(self.each, separators=(",", ":"))

    def moved(self, shard: int, cursor: str) -> Cursors:
        """Return the cursors after one more event of a shard."""
        return Cursors((*self.each[:shard], cursor, *self.each[shard + 1 :]))


def merged(
    cursors: Cursors,
    before: Sequence[Sequence[OutboxEntry]],
    after: Sequence[Sequence[OutboxEntry]],
    limit: int,
) -> tuple[OutboxEntry, ...]:
    """Merge the next events of all shards.

    They are read twice, `before` and `after`, since shards are read one after the other: while the second one is read,
    an event can come to the first one, and then one to the second, which would be seen alone. Whatever came before an
    event of the first reading is in the second one. So nothing is handed on after the last event of the first reading.
    """
    seen = {(shard, entry.cursor) for shard, page in enumerate(before) for entry in page}
    entries: list[OutboxEntry] = []
    settled = 0
    for shard, entry in _by_stamp(after):
        cursors = cursors.moved(shard, entry.cursor)
        entries.append(OutboxEntry(cursors.written(), unstamped(entry.event)))
        if (shard, entry.cursor) in seen:
            settled = len(entries)
        if len(entries) == limit:
            break
    return tuple(entries[:settled])


def _by_stamp(pages: Sequence[Sequence[OutboxEntry]]) -> Iterator[tuple[int, OutboxEntry]]:
    """Yield all entries, and of which shard: of the next ones of each shard always the one with the earliest stamp."""
    places = [0] * len(pages)
    while True:
        heads = [
            (str(page[place].event.detail.get(STAMP, "")), shard)
            for shard, (page, place) in enumerate(zip(pages, places, strict=True))
            if place < len(page)
        ]
        if not heads:
            return
        _, shard = min(heads)
        yield shard, pages[shard][places[shard]]
        places[shard] += 1
