"""`ShardedStore`: the blocking face. `asynchronous.py` is the same with `await`; whatever thinks is in the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from twofa.stores.protocol import Store
from twofa.stores.sharded.layout import MARK_ID, Layout, next_step, shard_of
from twofa.stores.sharded.outbox import Cursors, merged, stamped, unstamped
from twofa.stores.sharded.shards import checked_shards, method_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Self

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry, Stored


class ShardedStore(Store):
    """A store over several stores, where each user is in one of them: for more users than one database serves.

    The shards are given in the same order for ever, and their number cannot be changed: choose more of them than you
    have servers, and move whole shards. Each one keeps a mark that says which it is, as the record of a user called
    `twofa-shard`, and is not used if that mark is wrong or missing, so that no user is looked for in the wrong place.

    Keeps a trail, is an outbox and lists its users if all shards do. A shard that is down concerns its own users only,
    and those who read the outbox or the list. Safe across threads, processes and forks if the shards are.
    """

    def __init__(self, shards: Iterable[Store]) -> None:
        """Put a store together from `shards`, which nothing else may use.

        Reads and writes nothing yet. The first use of a shard reads its mark, and raises `UnexpectedAnswer` if it is
        not that of this shard among this many. Raises `TypeError` and `ValueError` for shards that are none.
        """
        self._shards = checked_shards(shards)
        self._layout = Layout(len(self._shards))

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._shard(shard_of(user_id, len(self._shards))).load(user_id)

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        return self._shard(shard_of(user_id, len(self._shards))).swap(user_id, stamped(change))

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first. Raises `TypeError` if the shard keeps no trail."""
        shard = self._shard(shard_of(user_id, len(self._shards)))
        return tuple(unstamped(event) for event in method_of(shard, "events")(user_id))

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`: see `twofa.stores.sharded.outbox`.

        Raises `ValueError` for a cursor that no `events_after` gave, and `TypeError` if a shard is no outbox.
        """
        cursors = Cursors.read(cursor, len(self._shards))
        before = [self._page(number, one, limit) for number, one in enumerate(cursors.each)]
        after = [self._page(number, one, limit) for number, one in enumerate(cursors.each)]
        return merged(cursors, before, after, limit)

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` in all shards, one after the other; return how many there were.

        Raises `ValueError` for a datetime without a time zone, and `TypeError` if a shard is no outbox.
        """
        return sum(method_of(self._shard(number), "prune_events")(before) for number in range(len(self._shards)))

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids after `after`: shard by shard, and in each one in the order of that shard.

        Raises `TypeError` if a shard cannot list its users.
        """
        listed: list[str] = []
        first = shard_of(after, len(self._shards)) if after else 0
        for number in range(first, len(self._shards)):
            # One more than is wanted, since the mark may be among them.
            page = method_of(self._shard(number), "user_ids")(after, limit - len(listed) + 1)
            listed += [user_id for user_id in page if user_id != MARK_ID]
            if len(listed) >= limit:
                break
            after = ""
        return tuple(listed[:limit])

    def diagnose(self, now: float) -> tuple[Finding, ...]:
        """Return what is wrong with the databases of the shards, for `python -m twofa check`."""
        found: list[Finding] = []
        for number in range(len(self._shards)):
            shard: Any = self._shard(number)
            if hasattr(shard, "diagnose"):
                found += [replace(each, message=f"shard {number}: {each.message}") for each in shard.diagnose(now)]
        return tuple(found)

    def _page(self, number: int, cursor: str, limit: int) -> Any:
        return method_of(self._shard(number), "events_after")(cursor, limit)

    def _shard(self, number: int) -> Store:
        """Return a shard, once it is known to be in its place."""
        shard = self._shards[number]
        while not self._layout.knows(number):
            if not self._layout.learn(number, shard.load(MARK_ID)):
                self._make_layout()
        return shard

    def _make_layout(self) -> None:
        marks = self._marks()
        while (step := next_step(marks)) is not None:
            number, change = step
            if self._shards[number].swap(MARK_ID, change):
                marks[number] = change.new
            else:
                marks = self._marks()

    def _marks(self) -> list[Stored | None]:
        # Not all at one moment: another process may be making the layout meanwhile. It begins and ends with shard 0, so
        # if that has not changed, there was no such moment.
        while True:
            marks = [shard.load(MARK_ID) for shard in self._shards]
            if marks[0] == self._shards[0].load(MARK_ID):
                return marks

    def close(self) -> None:
        """Close every shard that can be closed."""
        for shard in self._shards:
            getattr(shard, "close", lambda: None)()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ShardedStore({list(self._shards)!r})"
