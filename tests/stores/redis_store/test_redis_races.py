"""P1 and P2 on Redis: however many submit a code or guess at the same instant, each code is accepted once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis
import strength
from racing import guess_in_parallel, race_processes, race_threads
from redis_stores import FEW, open_store
from valkey_server import on_redis

from twofa.stores.redis import RedisStore

if TYPE_CHECKING:
    from valkey_server import ValkeyServer

pytestmark = on_redis


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_of_32_threads_one_is_accepted(method: str, client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """P1: 32 threads submit one code at the same instant: one acceptance each time."""
    race_threads(method, store, RedisStore(client, prefix=prefix), strength.rounds(5, 50))


def test_of_32_threads_on_a_cluster_one_is_accepted(cluster_clients: list[redis.RedisCluster], prefix: str) -> None:
    """P1: the same through three nodes, by way of two clients."""
    store, peer = (RedisStore(client, prefix=prefix, shards=FEW) for client in cluster_clients)
    race_threads("totp", store, peer, strength.rounds(5, 50))


def test_of_8_processes_one_is_accepted(server: ValkeyServer, prefix: str) -> None:
    """P1: 8 processes submit one code at the same instant: one acceptance each time."""
    race_processes(partial(open_store, server.url, prefix), strength.rounds(5, 50))


@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_of_200_parallel_guesses_five_are_answered(
    factor: str, server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: at a frozen clock exactly five wrong guesses are answered and stored; the rest hear when the wait ends."""
    with redis.Redis.from_url(server.url, max_connections=200) as client:
        guess_in_parallel(RedisStore(client, prefix=prefix), "login", factor, monkeypatch)
