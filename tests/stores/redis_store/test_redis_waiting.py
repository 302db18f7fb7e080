"""`replicas=` on a server that has none: nothing counts that no replica has. With real ones: `test_redis_failover.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from support import USER
from valkey_server import on_redis

from twofa import Change
from twofa.stores.redis import RedisStore
from twofa.testing.samples import event, numbers, stored, version

if TYPE_CHECKING:
    from contextlib import ExitStack

    from valkey_server import ValkeyServer

pytestmark = on_redis


@pytest.mark.parametrize("known", [True, False], ids=["known script", "forgotten script"])
def test_a_change_that_no_replica_has_raises(known: bool, client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """The change was made and may be lost, so the caller is told; a server that forgot the script is no exception."""
    waiting = RedisStore(client, prefix=prefix, replicas=1, replica_timeout=0.01)
    assert store.swap(USER, Change(None, stored(1), (event(1),)))
    if not known:
        client.script_flush()

    with pytest.raises(RuntimeError, match=r"0\.01 s after a change was made, 0 of 1 replicas have it.*see to the"):
        waiting.swap(USER, Change(version(1), stored(2), (event(2),)))

    assert (stored(2), [1, 2]) == (waiting.load(USER), numbers(store))


def test_a_swap_that_loses_needs_no_replica(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """Where nothing was changed there is nothing that could be lost."""
    waiting = RedisStore(client, prefix=prefix, replicas=1, replica_timeout=0.01)
    assert store.swap(USER, Change(None, stored(1)))

    assert waiting.swap(USER, Change(version(9), stored(2))) is False
    assert waiting.swap(USER, Change(None, stored(2))) is False


def test_a_server_that_does_not_know_about_replicas_raises(
    server: ValkeyServer, prefix: str, closing: ExitStack
) -> None:
    """Where WAIT is forbidden, nothing counts."""
    admin = closing.enter_context(redis.Redis.from_url(server.url))
    admin.acl_setuser("hasty", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-wait"])
    closing.callback(admin.acl_deluser, "hasty")
    client = closing.enter_context(redis.Redis.from_url(server.url, username="hasty", password="any"))
    store = RedisStore(client, prefix=prefix, replicas=1)
    with pytest.raises(redis.exceptions.NoPermissionError):
        store.swap(USER, Change(None, stored(1)))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"replicas": -1}, ValueError, "replicas must not be negative: -1"),
        ({"replicas": True}, TypeError, "replicas must be an int, not bool"),
        ({"replica_timeout": 0}, ValueError, "replica_timeout must be a positive number of seconds, not 0"),
        (
            {"replica_timeout": float("inf")},
            ValueError,
            "replica_timeout must be a positive number of seconds, not inf",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(
    options: dict[str, Any], error: type[Exception], words: str, client: redis.Redis
) -> None:
    """To wait for ever, or for fewer than no replicas, is refused."""
    with pytest.raises(error, match=words):
        RedisStore(client, **options)


def test_on_a_cluster_nobody_can_wait_for_replicas(cluster_clients: list[redis.RedisCluster]) -> None:
    """The clients of a cluster cannot send WAIT on the connection of the swap, so it is refused instead of ignored."""
    with pytest.raises(ValueError, match="replicas= is for a single primary and its replicas: on a cluster, see min-"):
        RedisStore(cluster_clients[0], replicas=1)
