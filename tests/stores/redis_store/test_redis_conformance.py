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
from support import USER
from valkey_server import HOST, ValkeyServer, valkey_server

from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.testing import (
    AsyncFailureConformance,
    AsyncHostTransactionConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncStoreMachine,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StoreMachine,
)
from twofa.testing.async_conformance import EventLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("redis")


class TestRedisStore(
    OutboxConformance, ListingConformance, ProcessConformance, HostTransactionConformance, FailureConformance
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
        self.prefix, self.url = prefix, server.url
        self.make_client = lambda: closing.enter_context(redis.Redis.from_url(server.url))

    def make_store(self):
        return RedisStore(self.make_client(), prefix=self.prefix)

    def make_peer(self, store):
        return self.make_store()

    def make_opener(self, store):
        return partial(open_store, self.url, self.prefix)

    @contextmanager
    def host_transaction(self, store):
        with store._client.pipeline(transaction=True) as transaction:
            transaction.watch("something")
            transaction.multi()
            transaction.set("something", "else")
            yield
            transaction.reset()

    def cut_off(self, store):
        spoil(store._client, self.prefix)


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
    AsyncOutboxConformance,
    AsyncListingConformance,
    AsyncHostTransactionConformance,
    AsyncFailureConformance,
):
    """`AsyncRedisStore` keeps the laws on one server."""

    @pytest.fixture(autouse=True)
    def _prepare(self, server: ValkeyServer, prefix: str, loop: EventLoop, closing: ExitStack) -> Any:
        self.prefix, self.url, self.clients = prefix, server.url, []
        yield
        for client in self.clients:
            loop.run(client.aclose())

    async def make_store(self):
        self.clients.append(redis.asyncio.Redis.from_url(self.url))
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

    def cut_off(self, store):
        with redis.Redis.from_url(self.url) as client:
            spoil(client, self.prefix)


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


def spoil(client: redis.Redis, prefix: str) -> None:
    """Put something in the place of the user's shard that is none."""
    client.set(shard_key(prefix, USER), "no sorted set")


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
