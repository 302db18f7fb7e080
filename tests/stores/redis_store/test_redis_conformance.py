"""`RedisStore` and `AsyncRedisStore` keep the laws of the conformance kit, on one server and on a cluster."""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from redis_stores import FEW, open_store, prefixes, shard_key
from valkey_server import HOST, ValkeyServer, on_redis, valkey_server

from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.testing import (
    AsyncDurabilityConformance,
    AsyncFailureConformance,
    AsyncHostTransactionConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncStatedAbsenceConformance,
    AsyncStoreMachine,
    DurabilityConformance,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StatedAbsenceConformance,
    StoreMachine,
)
from twofa.testing.event_loop import EventLoop
from twofa.testing.user_ids import OTHER, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = on_redis


class Misled:
    """A client that loses all answers, or gets the answer about another user, once it is told so."""

    answer: Callable[[tuple[Any, ...]], tuple[Any, ...] | None] = staticmethod(lambda words: words)

    def execute_command(self, *words: Any, **options: Any) -> Any:
        asked = self.answer(words)
        return self.nothing() if asked is None else super().execute_command(*asked, **options)  # type: ignore[misc]

    def nothing(self) -> Any:
        return None


class MisledClient(Misled, redis.Redis):
    """The blocking one."""


class AsyncMisledClient(Misled, redis.asyncio.Redis):
    """The asynchronous one."""

    async def nothing(self) -> Any:
        return None


class Misleading:
    """The hooks of the conformance kit that are the same for both faces, on one server."""

    def lose_answers(self, store):
        store._client.answer = lambda words: None

    def swap_answers(self, store, user_id):
        asked = (shard_key(self.prefix, user_id), user_id.encode())

        def about(words: tuple[Any, ...]) -> tuple[Any, ...]:
            known = [USER.encode(), OTHER.encode(), *(shard_key(self.prefix, each) for each in (USER, OTHER))]
            return tuple(asked[word not in known[2:]] if word in known else word for word in words)

        store._client.answer = about

    def crash(self, store):
        self.server.restart()

    def let_years_pass(self, store):
        with redis.Redis.from_url(self.server.url) as client:
            for key in client.scan_iter(f"{{{self.prefix}:*", count=1000):
                assert -1 == client.ttl(key), f"{key.decode()} expires"

    def cut_off(self, store):
        with redis.Redis.from_url(self.server.url) as client:
            client.set(shard_key(self.prefix, USER), "no sorted set")


class TestRedisStore(
    Misleading,
    OutboxConformance,
    ListingConformance,
    ProcessConformance,
    HostTransactionConformance,
    FailureConformance,
    StatedAbsenceConformance,
    DurabilityConformance,
):
    """`RedisStore` keeps the laws on a single Valkey, and on a single Redis."""

    @pytest.fixture(scope="class", params=["valkey", "redis"])
    @classmethod
    def server(cls, request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
        """Both engines."""
        with valkey_server(request.param) as server:
            yield server

    @pytest.fixture(autouse=True)
    def _prepare(self, server: ValkeyServer, prefix: str, closing: ExitStack) -> None:
        self.prefix, self.server = prefix, server
        self.make_client = lambda: closing.enter_context(MisledClient.from_url(server.url))

    def make_store(self):
        return RedisStore(self.make_client(), prefix=self.prefix)

    def make_peer(self, store):
        return self.make_store()

    def make_opener(self, store):
        return partial(open_store, self.server.url, self.prefix)

    @contextmanager
    def host_transaction(self, store):
        with store._client.pipeline(transaction=True) as transaction:
            transaction.watch("something")
            transaction.multi()
            transaction.set("something", "else")
            yield
            transaction.reset()


class TestRedisStoreOnACluster(OutboxConformance, ListingConformance):
    """`RedisStore` keeps the laws on a cluster."""

    @pytest.fixture(autouse=True)
    def _prepare(self, cluster_clients: list[redis.RedisCluster], prefix: str) -> None:
        self.prefix, self.clients = prefix, cluster_clients

    def make_store(self):
        return RedisStore(self.clients[0], prefix=self.prefix, shards=FEW)

    def make_peer(self, store):
        return RedisStore(self.clients[1], prefix=self.prefix, shards=FEW)


class TestAsyncRedisStore(
    Misleading,
    AsyncOutboxConformance,
    AsyncListingConformance,
    AsyncHostTransactionConformance,
    AsyncFailureConformance,
    AsyncStatedAbsenceConformance,
    AsyncDurabilityConformance,
):
    """`AsyncRedisStore` keeps the laws on one server."""

    @pytest.fixture(autouse=True)
    def _prepare(self, server: ValkeyServer, prefix: str, loop: EventLoop) -> Any:
        self.prefix, self.server, self.clients = prefix, server, []
        yield
        for client in self.clients:
            loop.run(client.aclose())

    async def make_store(self):
        self.clients.append(AsyncMisledClient.from_url(self.server.url))
        return await AsyncRedisStore.open(self.clients[-1], prefix=self.prefix)

    async def make_peer(self, store):
        return await self.make_store()

    @asynccontextmanager
    async def host_transaction(self, store):
        async with store._client.pipeline(transaction=True) as transaction:
            await transaction.watch("something")
            transaction.multi()
            transaction.set("something", "else")
            yield
            await transaction.reset()


class TestAsyncRedisStoreOnACluster(AsyncOutboxConformance, AsyncListingConformance):
    """`AsyncRedisStore` keeps the laws on a cluster."""

    @pytest.fixture(scope="class")
    @classmethod
    def loop_and_clients(cls, cluster: list[ValkeyServer]) -> Iterator[tuple[EventLoop, list[Any]]]:
        """One event loop for all laws: a client of a cluster, which it takes long to make, belongs to its loop."""
        loop = EventLoop()
        clients = [redis.asyncio.RedisCluster(host=HOST, port=node.port) for node in cluster[:2]]
        yield loop, clients
        for client in clients:
            loop.run(client.aclose())
        loop.close()

    @pytest.fixture
    def loop(self, loop_and_clients: tuple[EventLoop, list[Any]]) -> EventLoop:
        return loop_and_clients[0]

    @pytest.fixture(autouse=True)
    def _prepare(self, loop_and_clients: tuple[EventLoop, list[Any]], prefix: str) -> None:
        self.prefix, self.clients = prefix, loop_and_clients[1]

    def make_store(self):
        return AsyncRedisStore(self.clients[0], prefix=self.prefix, shards=FEW)

    def make_peer(self, store):
        return AsyncRedisStore(self.clients[1], prefix=self.prefix, shards=FEW)


class RedisMachine(StoreMachine):
    """`RedisStore` beside the model, on one server, each sequence under a prefix of its own."""

    url = ""

    def make_store(self):
        self.prefix, self.client = next(prefixes), redis.Redis.from_url(self.url)
        return RedisStore(self.client, prefix=self.prefix)

    def make_peer(self, store):
        return RedisStore(self.client, prefix=self.prefix)

    def teardown(self):
        super().teardown()
        self.client.close()


class AsyncClusterMachine(AsyncStoreMachine):
    """`AsyncRedisStore` beside the model, on a cluster."""

    port = 0

    def make_store(self):
        self.prefix, self.client = next(prefixes), redis.asyncio.RedisCluster(host=HOST, port=self.port)
        return AsyncRedisStore(self.client, prefix=self.prefix, shards=FEW)

    def make_peer(self, store):
        return AsyncRedisStore(self.client, prefix=self.prefix, shards=FEW)

    def teardown(self):
        self.loop.run(self.client.aclose())
        super().teardown()


def test_the_store_does_what_the_model_does(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sequence Hypothesis thinks of, both handles show what the model holds."""
    monkeypatch.setattr(RedisMachine, "url", server.url)
    run_state_machine_as_test(RedisMachine, settings=settings(max_examples=5, stateful_step_count=20))


def test_the_store_on_a_cluster_does_what_the_model_does(
    cluster: list[ValkeyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on a cluster, awaiting."""
    monkeypatch.setattr(AsyncClusterMachine, "port", cluster[0].port)
    run_state_machine_as_test(AsyncClusterMachine, settings=settings(max_examples=2, stateful_step_count=15))
