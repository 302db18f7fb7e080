"""`RedisStore` and `AsyncRedisStore`: they send what `opening`, `records` and `pages` want sent, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from twofa.stores.protocol import AsyncStore, Store
from twofa.stores.redis import diagnosis, opening, pages, records
from twofa.stores.redis.clients import check_client, check_servers
from twofa.stores.redis.layout import DEFAULT_SHARDS
from twofa.stores.redis.settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Self

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry, Stored
    from twofa.stores.redis.clients import AsyncClient, Client
    from twofa.stores.redis.exchange import Command, Exchange, Replies
    from twofa.stores.redis.opening import Opened

T = TypeVar("T")


class RedisStore(Store):
    """A store in Redis 7 or newer, or Valkey: on one server, behind Sentinel, or on a cluster.

    Safe across threads, processes and forks as far as the client is. Keeps an audit trail that is an outbox too, and
    lists its users. What it has acknowledged is as durable as the server is configured to be.
    """

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "twofa",
        shards: int = DEFAULT_SHARDS,
        create: bool = True,
        allow_eviction: bool = False,
        replicas: int = 0,
        replica_timeout: float = 1.0,
    ) -> None:
        """Keep records through `client`, a `redis.Redis` or `redis.RedisCluster`, which stays yours to close.

        `prefix` begins the name of every key. `shards` is the number of keys that the records are spread over; it is
        chosen once, when the store is created, and 256 is right up to a few million users. With `create=False` a store
        that is not there is an error; otherwise an empty one is created, and the logger `twofa.stores` gets a warning.

        Refuses a server, or a primary of a cluster, that drops records when its memory is full, unless
        `allow_eviction=True`. With `replicas` a swap counts only once that many replicas have it, and raises if they do
        not within `replica_timeout` seconds; not for a cluster.

        Raises `TypeError` and `ValueError` for unusable arguments, `RuntimeError` for a server that evicts, is a
        replica, is too old or has lost records, `UnsupportedRecord` for a store of a newer version of twofa, and what
        the client raises.
        """
        check_client(client, "RedisStore", asynchronous=False)
        self._client: Any = client
        settings = check_settings(
            client,
            prefix=prefix,
            shards=shards,
            create=create,
            allow_eviction=allow_eviction,
            replicas=replicas,
            replica_timeout=replica_timeout,
        )
        self._carry_out(check_servers(self._nodes(), settings))
        self._opened = self._carry_out(opening.open_store(settings))

    @override
    def load(self, user_id: str) -> Stored | None:
        return self._carry_out(records.load(self._opened, user_id))

    @override
    def swap(self, user_id: str, change: Change) -> bool:
        return self._carry_out(records.swap(self._opened, user_id, change))

    def events(self, user_id: str) -> tuple[Event, ...]:
        """Return the user's events, oldest first."""
        return self._carry_out(records.events(self._opened, user_id))

    def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """Return up to `limit` events of all users that stand after `cursor`, in the order of their swaps.

        On a cluster the order of two swaps on different nodes is told by the clocks of these nodes. A cursor has up to
        27 characters. Raises `ValueError` for a cursor that no `events_after` gave.
        """
        return self._carry_out(pages.events_after(self._opened, cursor, limit))

    def prune_events(self, before: datetime) -> int:
        """Erase every event earlier than `before` (an aware datetime), delivered or not; return how many there were.

        Looks at every event there is, a few hundred at a time. Raises `ValueError` for a datetime without a time zone.
        """
        return self._carry_out(pages.prune_events(self._opened, before))

    def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """Return up to `limit` user ids greater than `after`, in the order of their bytes."""
        return self._carry_out(pages.user_ids(self._opened, after, limit))

    def diagnose(self, now: float) -> tuple[Finding, ...]:
        """Return what is wrong with the servers, for `python -m twofa check`; `now` is the time in Unix seconds."""
        return self._carry_out(diagnosis.diagnose(self._nodes(), now))

    def _nodes(self) -> list[Any]:
        return getattr(self._client, "get_primaries", lambda: [None])()

    def _carry_out(self, exchange: Exchange[T]) -> T:
        """Send what an exchange wants sent, and resume it with the replies, until it returns."""
        try:
            wanted = next(exchange)
            while True:
                wanted = exchange.send(self._send(wanted))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _send(self, wanted: Sequence[Command]) -> Replies:
        return self._send_one(wanted[0]) if len(wanted) == 1 else self._send_many(wanted)

    def _send_one(self, command: Command) -> Replies:
        try:
            return [self._client.execute_command(*command.words, **_options(command))]
        except Exception as error:  # for the exchange to judge
            return [error]

    def _send_many(self, wanted: Sequence[Command]) -> Replies:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in wanted:
                pipeline.execute_command(*command.words, **_options(command))
            return pipeline.execute(raise_on_error=False)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._opened.layout.prefix!r})"


class AsyncRedisStore(AsyncStore):
    """The same store for asyncio, on the same data."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        prefix: str = "twofa",
        shards: int = DEFAULT_SHARDS,
        create: bool = True,
        allow_eviction: bool = False,
        replicas: int = 0,
        replica_timeout: float = 1.0,
    ) -> None:
        """Keep records through `client`, a `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`, which stays yours.

        As `RedisStore`, but the server is asked when the store is first used: `open` asks at once.

        Raises `TypeError` and `ValueError` for unusable arguments.
        """
        check_client(client, "AsyncRedisStore", asynchronous=True)
        self._client: Any = client
        self._settings = check_settings(
            client,
            prefix=prefix,
            shards=shards,
            create=create,
            allow_eviction=allow_eviction,
            replicas=replicas,
            replica_timeout=replica_timeout,
        )
        self._opened: Opened | None = None

    @classmethod
    async def open(
        cls,
        client: AsyncClient,
        *,
        prefix: str = "twofa",
        shards: int = DEFAULT_SHARDS,
        create: bool = True,
        allow_eviction: bool = False,
        replicas: int = 0,
        replica_timeout: float = 1.0,
    ) -> Self:
        """Make a store and ask the server at once. Raises as `RedisStore` does."""
        store = cls(
            client,
            prefix=prefix,
            shards=shards,
            create=create,
            allow_eviction=allow_eviction,
            replicas=replicas,
            replica_timeout=replica_timeout,
        )
        await store._open()
        return store

    @override
    async def load(self, user_id: str) -> Stored | None:
        return await self._carry_out(records.load(await self._open(), user_id))

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return await self._carry_out(records.swap(await self._open(), user_id, change))

    async def events(self, user_id: str) -> tuple[Event, ...]:
        """As `RedisStore.events`."""
        return await self._carry_out(records.events(await self._open(), user_id))

    async def events_after(self, cursor: str = "", limit: int = 100) -> tuple[OutboxEntry, ...]:
        """As `RedisStore.events_after`."""
        return await self._carry_out(pages.events_after(await self._open(), cursor, limit))

    async def prune_events(self, before: datetime) -> int:
        """As `RedisStore.prune_events`."""
        return await self._carry_out(pages.prune_events(await self._open(), before))

    async def user_ids(self, after: str = "", limit: int = 100) -> tuple[str, ...]:
        """As `RedisStore.user_ids`."""
        return await self._carry_out(pages.user_ids(await self._open(), after, limit))

    async def diagnose(self, now: float) -> tuple[Finding, ...]:
        """As `RedisStore.diagnose`."""
        await self._open()
        return await self._carry_out(diagnosis.diagnose(await self._nodes(), now))

    async def _nodes(self) -> list[Any]:
        if not self._settings.cluster:
            return [None]
        await self._client.initialize()
        return self._client.get_primaries()  # type: ignore[no-any-return]

    async def _open(self) -> Opened:
        if self._opened is None:
            await self._carry_out(check_servers(await self._nodes(), self._settings))
            self._opened = await self._carry_out(opening.open_store(self._settings))
        return self._opened

    async def _carry_out(self, exchange: Exchange[T]) -> T:
        """Send what an exchange wants sent, and resume it with the replies, until it returns."""
        try:
            wanted = next(exchange)
            while True:
                wanted = exchange.send(await self._send(wanted))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _send(self, wanted: Sequence[Command]) -> Replies:
        return await (self._send_one(wanted[0]) if len(wanted) == 1 else self._send_many(wanted))

    async def _send_one(self, command: Command) -> Replies:
        try:
            return [await self._client.execute_command(*command.words, **_options(command))]
        except Exception as error:  # for the exchange to judge
            return [error]

    async def _send_many(self, wanted: Sequence[Command]) -> Replies:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in wanted:
                pipeline.execute_command(*command.words, **_options(command))
            return await pipeline.execute(raise_on_error=False)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"AsyncRedisStore(prefix={self._settings.layout.prefix!r})"


def _options(command: Command) -> dict[str, object]:
    # Replies come as bytes, whatever the client decodes for others.
    options: dict[str, object] = {"NEVER_DECODE": True}
    if command.node is not None:
        options["target_nodes"] = command.node
    return options
