"""`RedisStore` and `AsyncRedisStore` on real servers: one Valkey, and a cluster of three."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from interleave import Scene, attempt, state_of, told
from proxy import proxy_to
from support import FAST, USER, Clock, World
from test_crash import CASES, Judge, face_on
from test_races import NOW as RACE_NOW
from test_races import enrolled, guess_in_parallel, race_processes, race_threads
from test_races import face_on as race_face_on
from test_stores_laws import (
    LOOKALIKES,
    NOW,
    ListingLaws,
    OutboxLaws,
    event,
    numbers,
    restless_threads,
    stored,
    version,
)
from twofa import Change, TwoFactor, Verification
from twofa.errors import CodeReused, OutcomeUnknown
from twofa.stores.redis import AsyncRedisStore, RedisStore, scripts
from twofa.stores.redis.clients import judge
from twofa.stores.redis.cursors import SHARDS
from twofa.stores.redis.talk import REMEMBERED, Keys
from valkey_server import HOST, ValkeyServer, valkey_cluster, valkey_server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from proxy import Proxy

pytestmark = pytest.mark.xdist_group("valkey")

_prefixes = (f"test{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """One server for all tests: each store has a prefix of its own."""
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[ValkeyServer]]:
    """Three nodes for all tests."""
    with valkey_cluster() as nodes:
        yield nodes


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def client(server: ValkeyServer, closing: ExitStack) -> redis.Redis:
    """A client of the one server."""
    return closing.enter_context(redis.Redis.from_url(server.url))


@pytest.fixture
def prefix() -> str:
    """A prefix that no other store has."""
    return next(_prefixes)


@pytest.fixture
def store(client: redis.Redis, prefix: str) -> RedisStore:
    """An empty store on the one server."""
    return RedisStore(client, prefix=prefix)


# --- the laws ------------------------------------------------------------------------------------------------------


class Loop:
    """An event loop in a thread of its own, and asynchronous stores called like blocking ones through it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run it to its end and return its value."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(60)

    def close(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


class Awaited:
    """An asynchronous store called like a blocking one, many calls at once in one loop."""

    def __init__(self, store: AsyncRedisStore, loop: Loop) -> None:
        self.store, self._loop = store, loop

    def load(self, *arguments: Any) -> Any:
        return self._loop.run(self.store.load(*arguments))

    def swap(self, *arguments: Any) -> Any:
        return self._loop.run(self.store.swap(*arguments))

    def events(self, *arguments: Any) -> Any:
        return self._loop.run(self.store.events(*arguments))

    def events_after(self, cursor: str = "", limit: int = 100) -> Any:
        return self._loop.run(self.store.events_after(cursor, limit))

    def prune_events(self, *arguments: Any) -> Any:
        return self._loop.run(self.store.prune_events(*arguments))

    def user_ids(self, after: str = "", limit: int = 100) -> Any:
        return self._loop.run(self.store.user_ids(after, limit))


class RedisLaws(OutboxLaws, ListingLaws):
    """The laws on a server that is there already."""

    @pytest.fixture(autouse=True)
    def _prepare(self, server: ValkeyServer, prefix: str, closing: ExitStack) -> None:
        self.prefix, self.closing = prefix, closing
        self.make_client = lambda: closing.enter_context(redis.Redis.from_url(server.url))

    def make_store(self) -> Any:
        return RedisStore(self.make_client(), prefix=self.prefix)

    def make_peer(self, store: Any) -> Any:  # the data is on the server
        return self.make_store()


class TestRedisStore(RedisLaws):
    """`RedisStore` keeps the laws on one server."""


class TestRedisStoreOnACluster(RedisLaws):
    """`RedisStore` keeps the laws on a cluster."""

    @pytest.fixture(autouse=True)
    def _prepare(self, cluster: list[ValkeyServer], prefix: str, closing: ExitStack) -> None:
        self.prefix, self.closing = prefix, closing
        self.make_client = lambda: closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))


class AsyncRedisLaws(RedisLaws):
    """The same for the asynchronous store."""

    @pytest.fixture(autouse=True)
    def _prepare(self, server: ValkeyServer, prefix: str, closing: ExitStack) -> None:
        self.prefix, self.closing = prefix, closing
        self.make_client = lambda: redis.asyncio.Redis.from_url(server.url)
        self.loop = Loop()
        closing.callback(self.loop.close)

    def make_store(self) -> Any:
        client = self.make_client()
        self.closing.callback(lambda: self.loop.run(client.aclose()))
        return Awaited(AsyncRedisStore(client, prefix=self.prefix), self.loop)


class TestAsyncRedisStore(AsyncRedisLaws):
    """`AsyncRedisStore` keeps the laws on one server."""


class TestAsyncRedisStoreOnACluster(AsyncRedisLaws):
    """`AsyncRedisStore` keeps the laws on a cluster."""

    @pytest.fixture(autouse=True)
    def _prepare(self, cluster: list[ValkeyServer], prefix: str, closing: ExitStack) -> None:
        self.prefix, self.closing = prefix, closing
        self.make_client = lambda: redis.asyncio.RedisCluster(host=HOST, port=cluster[0].port)
        self.loop = Loop()
        closing.callback(self.loop.close)
