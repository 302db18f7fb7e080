"""The two faces of the store. Both only carry commands and replies: what they mean stands in `talk`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from twofa.stores.protocol import AsyncStore, Store
from twofa.stores.redis import commands
from twofa.stores.redis.clients import ask, check_client
from twofa.stores.redis.commands import Keys

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Self

    from twofa.events import Event
    from twofa.stores.protocol import Change, OutboxEntry, Stored
    from twofa.stores.redis.clients import AsyncClient, Client
    from twofa.stores.redis.commands import Command, Talk

T = TypeVar("T")


class RedisStore(Store):
    """A store in Redis 7 or newer, or Valkey: on one server, behind Sentinel, or on a cluster.

    Safe across threads, processes and forks as far as the client is. Keeps a trail that is an outbox too, lists its
    users. What it has acknowledged is as durable as the server is configured to be.
    """

    def __init__(self, client: Client, *, prefix: str = "twofa", allow_eviction: bool = False) -> None:
        """Keep records through `client`, a `redis.Redis` or `redis.RedisCluster`, which stays yours to close.

        `prefix` begins the name of every key. Asks the server, or every primary of a cluster, whether it may drop a
        record when its memory is full; `allow_eviction=True` asks nothing.

        Raises `TypeError` for what is no such client, `RuntimeError` for a server that evicts, is a replica or is too
        old, and what the client raises.
        """
        check_client(client, "RedisStore", asynchronous=False)
        self._client = client
        self._keys = Keys(prefix)
        if not allow_eviction:
            nodes: Any = getattr(client, "get_primaries", lambda: [None])()
            self._hold(ask(nodes))

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._hold(commands.load(self._keys, user_id))

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        return self._hold(commands.swap(self._keys, user_id, change))

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        return self._hold(commands.events(self._keys, user_id))

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their swaps.

        On a cluster the order of two swaps on different nodes is told by the clocks of these nodes. A cursor has up to
        560 characters. Raises `ValueError` for a cursor that no `events_after` gave.
        """
        return self._hold(commands.events_after(self._keys, cursor, limit))

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Looks at every event there is, a few hundred at a time. Raises `ValueError` for a datetime without a time zone.
        """
        return self._hold(commands.prune_events(self._keys, before))

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return self._hold(commands.user_ids(self._keys, after, limit))

    def _hold(self, conversation: Talk[T]) -> T:
        reply: Any = None
        error: Exception | None = None
        while True:
            try:
                command = conversation.send(reply) if error is None else conversation.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            try:
                reply, error = self._client.execute_command(*command.words, **_options(command)), None
            except Exception as raised:
                error = raised

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._keys.prefix!r})"


class AsyncRedisStore(AsyncStore):
    """The same store for asyncio, on the same data."""

    def __init__(self, client: AsyncClient, *, prefix: str = "twofa", allow_eviction: bool = False) -> None:
        """Keep records through `client`, a `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`, which stays yours.

        As `RedisStore`, but the server is asked when the store is first used: `open` asks at once.

        Raises `TypeError` for what is no such client.
        """
        check_client(client, "AsyncRedisStore", asynchronous=True)
        self._client = client
        self._keys = Keys(prefix)
        self._asked = allow_eviction

    @classmethod
    async def open(cls, client: AsyncClient, *, prefix: str = "twofa", allow_eviction: bool = False) -> Self:
        """Make a store and ask the server at once. Raises as `RedisStore` does."""
        store = cls(client, prefix=prefix, allow_eviction=allow_eviction)
        await store._ask()
        return store

    @override
    async def load(self, user_id: str) -> Stored | None:
        return await self._hold(commands.load(self._keys, user_id))

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return await self._hold(commands.swap(self._keys, user_id, change))

    async def events(self, user_id: str) -> tuple[Event, ...]:
        """As `RedisStore.events`."""
        return await self._hold(commands.events(self._keys, user_id))

    async def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """As `RedisStore.events_after`."""
        return await self._hold(commands.events_after(self._keys, cursor, limit))

    async def prune_events(self, before: datetime) -> int:
        """As `RedisStore.prune_events`."""
        return await self._hold(commands.prune_events(self._keys, before))

    async def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """As `RedisStore.user_ids`."""
        return await self._hold(commands.user_ids(self._keys, after, limit))

    async def _hold(self, conversation: Talk[T]) -> T:
        await self._ask()
        return await self._carry(conversation)

    async def _ask(self) -> None:
        if self._asked:
            return
        client: Any = self._client
        nodes: list[Any] = [None]
        if hasattr(client, "get_primaries"):
            await client.initialize()
            nodes = client.get_primaries()
        await self._carry(ask(nodes))
        self._asked = True

    async def _carry(self, conversation: Talk[T]) -> T:
        reply: Any = None
        error: Exception | None = None
        while True:
            try:
                command = conversation.send(reply) if error is None else conversation.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            try:
                reply, error = await self._client.execute_command(*command.words, **_options(command)), None
            except Exception as raised:
                error = raised

    def __repr__(self) -> str:
        return f"AsyncRedisStore(prefix={self._keys.prefix!r})"


def _options(command: Command) -> dict[str, object]:
    # Replies come as bytes, whatever the client decodes for others.
    options: dict[str, object] = {"NEVER_DECODE": True}
    if command.node is not None:
        options["target_nodes"] = command.node
    return options
