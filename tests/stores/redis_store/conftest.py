"""Servers that the tests of the Redis stores share: a single one and a cluster. Each store has a prefix of its own."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import redis
from redis_stores import prefixes
from valkey_server import HOST, ValkeyServer, valkey_cluster, valkey_server

from twofa.stores.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    """A single Valkey."""
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[ValkeyServer]]:
    """Three nodes of Valkey."""
    with valkey_cluster() as nodes:
        yield nodes


@pytest.fixture(scope="session")
def cluster_clients(cluster: list[ValkeyServer]) -> Iterator[list[redis.RedisCluster]]:
    """Two clients of the cluster, which it takes long to make."""
    with (
        redis.RedisCluster(host=HOST, port=cluster[0].port) as one,
        redis.RedisCluster(host=HOST, port=cluster[1].port) as other,
    ):
        yield [one, other]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def client(server: ValkeyServer, closing: ExitStack) -> redis.Redis:
    """A client of the single server."""
    return closing.enter_context(redis.Redis.from_url(server.url))


@pytest.fixture
def prefix() -> str:
    """A prefix that no other store has."""
    return next(prefixes)


@pytest.fixture
def store(client: redis.Redis, prefix: str) -> RedisStore:
    """An empty store on the single server."""
    return RedisStore(client, prefix=prefix)
