"""What the tests of the Redis stores share: prefixes, clients behind a proxy, and stores in other processes."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import redis
from interleave import attempt
from proxy import proxy_to
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkey_server import HOST

from twofa.stores.redis import RedisStore, scripts
from twofa.stores.redis.layout import DEFAULT_SHARDS, make_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy import Proxy
    from valkey_server import ValkeyServer

prefixes = (f"test{number}" for number in count())
"""Prefixes that no other store in this process has."""
FEW = 16
"""Shards enough for a test on a cluster, where each of them costs a command."""


def open_store(url: str, prefix: str) -> RedisStore:
    """Open a store in any process."""
    return RedisStore(redis.Redis.from_url(url), prefix=prefix)


def shard_key(prefix: str, user_id: str, shards: int = DEFAULT_SHARDS) -> bytes:
    """Return the key of the shard that a user is in."""
    return make_layout(prefix, shards).key_of(user_id)


def users_of_shard(shard: int, how_many: int = 1, shards: int = DEFAULT_SHARDS) -> list[str]:
    """Return ids of users who are in a shard."""
    layout = make_layout("x", shards)
    named = (f"u{number}" for number in count())
    return [next(user for user in named if layout.key_of(user) == layout.keys[shard]) for _ in range(how_many)]


def impatient(proxy: Proxy, retries: int) -> redis.Redis:
    """Return a client of a proxy that tries again so many times, without a pause."""
    lost = [redis.ConnectionError]  # later versions try these again without being told to
    return redis.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), retries), retry_on_error=lost)


@contextmanager
def behind_a_proxy(server: ValkeyServer, prefix: str, retries: int) -> Iterator[tuple[Proxy, RedisStore]]:
    """Open a store whose answers can get lost. The server knows the script of a swap, so that it is sent once."""
    with redis.Redis.from_url(server.url) as direct:
        direct.script_load(scripts.SWAP.text)
    with proxy_to((HOST, server.port)) as proxy, impatient(proxy, retries) as client:
        yield proxy, RedisStore(client, prefix=prefix)


def outcome_of(call: Callable[[], Any]) -> str:
    """Return the name of what a call gives or raises."""
    return type(attempt(call)).__name__
