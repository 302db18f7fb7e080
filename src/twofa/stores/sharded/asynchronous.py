"""`AsyncShardedStore`: the asynchronous face. `blocking.py` is the same without `await`; see there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from twofa.stores.protocol import AsyncStore
from twofa.stores.sharded.layout import MARK_ID, Layout, next_step, shard_of
from twofa.stores.sharded.outbox import Cursors, merged, stamped, unstamped
from twofa.stores.sharded.shards import checked_shards, method_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry, Stored


class AsyncShardedStore(AsyncStore):
    """`ShardedStore` over asynchronous stores. A swap that is cancelled leaves what the shard leaves: old or new."""

    def __init__(self, shards: Iterable[AsyncStore]) -> None:
        """As `ShardedStore`."""
        self._shards = checked_shards(shards)
        self._layout = Layout(len(self._shards))

    @override
    async def load(self, user_id: str) -> Stored | None:
        return await (await self._shard(shard_of(user_id, len(self._shards)))).load(user_id)

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return await (await self._shard(shard_of(user_id, len(self._shards)))).swap(user_id, stamped(change))

    async def events(self, user_id: str) -> tuple[Event, ...]:
        """As `ShardedStore.events`."""
        shard = await self._shard(shard_of(user_id, len(self._shards)))
        return tuple(unstamped(event) for event in await method_of(shard, "events")(user_id))

    async def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """As `ShardedStore.events_after`."""
        cursors = Cursors.read(cursor, len(self._shards))
        before = [await self._page(number, one, limit) for number, one in enumerate(cursors.each)]
        after = [await self._page(number, one, limit) for number, one in enumerate(cursors.each)]
        return merged(cursors, before, after, limit)

    async def prune_events(self, before: datetime) -> int:
        """As `ShardedStore.prune_events`."""
        pruned = 0
        for number in range(len(self._shards)):
            pruned += await method_of(await self._shard(number), "prune_events")(before)
        return pruned

    async def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """As `ShardedStore.user_ids`."""
        listed: list[str] = []
        first = shard_of(after, len(self._shards)) if after else 0
        for number in range(first, len(self._shards)):
            # One more than is wanted, since the mark may be among them.
            page = await method_of(await self._shard(number), "user_ids")(after, limit - len(listed) + 1)
            listed += [user_id for user_id in page if user_id != MARK_ID]
            if len(listed) >= limit:
                break
            after = ""
        return tuple(listed[:limit])

    async def diagnose(self, now: float) -> tuple[Finding, ...]:
        """Return what is wrong with the databases of the shards, for `python -m twofa check`."""
        found: list[Finding] = []
        for number in range(len(self._shards)):
            shard: Any = await self._shard(number)
            if hasattr(shard, "diagnose"):
                found += [
                    replace(each, message=f"shard {number}: {each.message}") for each in await shard.diagnose(now)
                ]
        return tuple(found)

    async def _page(self, number: int, cursor: str, limit: int) -> Any:
        return await method_of(await self._shard(number), "events_after")(cursor, limit)

    async def _shard(self, number: int) -> AsyncStore:
        shard = self._shards[number]
        while not self._layout.knows(number):
            if not self._layout.learn(number, await shard.load(MARK_ID)):
                await self._make_layout()
        return shard

    async def _make_layout(self) -> None:
        marks = await self._marks()
        while (step := next_step(marks)) is not None:
            number, change = step
            if await self._shards[number].swap(MARK_ID, change):
                marks[number] = change.new
            else:
                marks = await self._marks()

    async def _marks(self) -> list[Stored | None]:
        while True:
            marks = [await shard.load(MARK_ID) for shard in self._shards]
            if marks[0] == await self._shards[0].load(MARK_ID):
                return marks

    async def aclose(self) -> None:
        """Close every shard that can be closed."""
        for shard in self._shards:
            await getattr(shard, "aclose", _nothing)()

    def __repr__(self) -> str:
        return f"AsyncShardedStore({list(self._shards)!r})"


async def _nothing() -> None:
    """Close a store that has nothing to close."""
