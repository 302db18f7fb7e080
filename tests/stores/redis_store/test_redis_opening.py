"""P3 on Redis: a store that has lost records says so, and does not look like a store in which nobody has a second factor."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis_stores import FEW, shard_key, users_of_shard
from support import USER
from valkey_server import on_redis, valkey_server

from twofa import Change
from twofa.errors import RecordDamaged, UnsupportedRecord
from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.stores.redis.opening import FORMAT
from twofa.testing.racing import restless_threads
from twofa.testing.samples import NOW, event, stored, version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from valkey_server import ValkeyServer

pytestmark = on_redis


@pytest.fixture
def own() -> Iterator[redis.Redis]:
    """A client of a server that no other test uses."""
    with valkey_server() as server, redis.Redis.from_url(server.url) as client:
        yield client


def every_call(store: RedisStore) -> list[Any]:
    """Return one call of each method that asks about the user."""
    return [
        lambda: store.load(USER),
        lambda: store.swap(USER, Change(None, stored(9))),
        lambda: store.swap(USER, Change(version(1), stored(9))),
        lambda: store.events(USER),
        store.events_after,
        store.user_ids,
        lambda: store.prune_events(NOW),
    ]


# --- creating --------------------------------------------------------------------------------------------------------


def test_an_empty_store_is_created_with_a_warning(
    client: redis.Redis, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first store under a prefix is created, and the log says so; the next one finds it."""
    RedisStore(client, prefix=prefix)
    assert [("twofa.stores", "WARNING")] == [(record.name, record.levelname) for record in caplog.records]
    assert (
        f"made an empty store in Redis with the prefix '{prefix}': nobody has a second factor there. If users"
        in caplog.text
    )
    caplog.clear()
    RedisStore(client, prefix=prefix)
    assert [] == caplog.messages


def test_a_store_that_is_not_to_be_created_must_be_there(server: ValkeyServer, prefix: str) -> None:
    """With create=False both faces refuse a server that has no such store, and write nothing."""

    async def open_it(client: redis.asyncio.Redis) -> None:
        await AsyncRedisStore.open(client, prefix=prefix, create=False)

    async def main() -> None:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            with pytest.raises(RuntimeError, match=f"no store with the prefix '{prefix}'.*is it the right server"):
                await open_it(client)
            await AsyncRedisStore.open(client, prefix=prefix)
            await open_it(client)

    with redis.Redis.from_url(server.url) as client:
        with pytest.raises(RuntimeError, match=f"no store with the prefix '{prefix}' on this server, and create=False"):
            RedisStore(client, prefix=prefix, create=False)
        assert [] == client.keys(f"{{{prefix}:*")
    asyncio.run(main())


def test_stores_that_are_created_at_once_are_one(server: ValkeyServer, prefix: str) -> None:
    """Of any number of processes that start on an empty server all get the same store."""

    def create(number: int) -> str:
        with redis.Redis.from_url(server.url) as client:
            store = RedisStore(client, prefix=prefix)
            assert store.swap(f"user-{number}", Change(None, stored(number)))
            return store._opened.identity

    with ThreadPoolExecutor(12) as pool, restless_threads():
        identities = set(pool.map(create, range(12)))
    assert 1 == len(identities)
    assert 12 == len(open_again(server, prefix).user_ids())


def open_again(server: ValkeyServer, prefix: str) -> RedisStore:
    """Open a store with a client of its own."""
    return RedisStore(redis.Redis.from_url(server.url), prefix=prefix, create=False)


class Dying(redis.Redis):
    """A client whose process dies before a certain command."""

    left = 0

    def execute_command(self, *words: Any, **options: Any) -> Any:
        Dying.left -= 1
        if Dying.left < 0:
            raise KeyboardInterrupt
        return super().execute_command(*words, **options)


@pytest.mark.parametrize("commands", range(10))
def test_a_store_that_was_half_created_is_finished(commands: int, server: ValkeyServer, prefix: str) -> None:
    """P4: whenever the process dies that creates a store, the next one finishes the work."""
    with redis.Redis.from_url(server.url) as admin:
        admin.script_flush()
    with Dying.from_url(server.url) as client:
        Dying.left = commands
        with pytest.raises(KeyboardInterrupt):
            RedisStore(client, prefix=prefix)
        Dying.left = 10_000
        store = RedisStore(client, prefix=prefix)
        assert store.load(USER) is None
        assert store.swap(USER, Change(None, stored(1)))
        assert stored(1) == RedisStore(client, prefix=prefix, create=False).load(USER)


# --- what was lost ---------------------------------------------------------------------------------------------------


def test_a_flushed_server_is_not_an_empty_one(own: redis.Redis) -> None:
    """After FLUSHALL a store that is open raises at every call, instead of saying that nobody has a second factor."""
    store = RedisStore(own)
    store.swap(USER, Change(None, stored(1), (event(1),)))
    own.flushall()
    for call in every_call(store):
        with pytest.raises(
            RuntimeError, match=r"\{twofa:[0-9]+\} is no shard of this store any more.*Restore the backup"
        ):
            call()


def test_a_store_that_took_the_place_of_another_is_not_taken_for_it(own: redis.Redis) -> None:
    """If somebody creates an empty store on a server that was flushed, those who use the lost one go on raising."""
    store = RedisStore(own)
    store.swap(USER, Change(None, stored(1)))
    own.flushall()
    new = RedisStore(own)
    assert new.load(USER) is None
    for call in every_call(store):
        with pytest.raises(RuntimeError, match="is no shard of this store any more"):
            call()


@pytest.mark.parametrize("clustered", [False, True], ids=["single", "cluster"])
def test_a_shard_that_was_dropped_is_missed(
    clustered: bool, client: redis.Redis, cluster_clients: list[redis.RedisCluster], prefix: str
) -> None:
    """A shard that is evicted or deleted raises for its users, whoever opens the store; the others go on."""
    any_client: Any = cluster_clients[0] if clustered else client
    store = RedisStore(any_client, prefix=prefix, shards=FEW)
    (lost,), (other,) = users_of_shard(3, shards=FEW), users_of_shard(4, shards=FEW)
    for user_id in (lost, other):
        assert store.swap(user_id, Change(None, stored(1)))
    any_client.delete(shard_key(prefix, lost, FEW))
    for again in (store, RedisStore(any_client, prefix=prefix, shards=FEW)):
        with pytest.raises(RuntimeError, match=re.escape(f"{shard_key(prefix, lost, FEW).decode()} is no shard")):
            again.load(lost)
        with pytest.raises(RuntimeError, match="is no shard of this store any more"):
            again.swap(lost, Change(None, stored(2)))
        with pytest.raises(RuntimeError, match="is no shard of this store any more"):
            again.user_ids()
        assert stored(1) == again.load(other)


def test_an_evicting_server_does_not_make_users_look_unprotected(own: redis.Redis) -> None:
    """On a server that drops keys, which has to be allowed, what was dropped raises."""
    own.config_set("maxmemory-policy", "allkeys-random")
    store = RedisStore(own, shards=8, allow_eviction=True)
    users = [f"user-{number}" for number in range(40)]
    for user_id in users:
        assert store.swap(user_id, Change(None, stored(1, "x" * 20_000)))
    own.config_set("maxmemory", own.info("memory")["used_memory"] - 300_000)
    own.config_set("maxmemory-samples", 1)
    own.ping()
    said: dict[str, int] = {"a record": 0, "lost": 0}
    for user_id in users:
        try:
            said["a record"] += store.load(user_id) is not None
        except RuntimeError:
            said["lost"] += 1
    assert 0 < said["lost"]
    assert 40 == sum(said.values())


def test_records_without_their_marker_are_no_empty_store(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """A store whose marker was lost is not created anew over the records that are there."""
    store.swap(USER, Change(None, stored(1)))
    client.delete(f"{{{prefix}:store}}")
    with pytest.raises(RuntimeError, match=rf"\{{{prefix}:store\}} is gone, although there are records"):
        RedisStore(client, prefix=prefix)
    assert stored(1) == store.load(USER)


def test_what_an_empty_store_has_left_is_no_obstacle(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """Shards that never held anything, of a store whose marker is gone, become part of a new one."""
    client.delete(f"{{{prefix}:store}}")
    assert RedisStore(client, prefix=prefix).swap(USER, Change(None, stored(1)))
    with pytest.raises(RuntimeError, match="is no shard of this store any more"):
        store.load(USER)


# --- other shards, other formats -------------------------------------------------------------------------------------


def test_another_number_of_shards_is_refused(client: redis.Redis, prefix: str) -> None:
    """A store opened with another number of shards would look for everybody in the wrong place."""
    RedisStore(client, prefix=prefix, shards=FEW)
    with pytest.raises(RuntimeError, match="was created with shards=16, not 256: pass shards=16"):
        RedisStore(client, prefix=prefix)
    assert FEW + 1 == len(client.keys(f"{{{prefix}:*"))


def test_a_newer_format_is_refused(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """A store that a newer version has converted is not read, and its marker says in which format it is kept."""
    marker = f"{{{prefix}:store}}"
    assert re.fullmatch(rb"ready 1 256 [0-9a-f]{32}", client.get(marker))
    client.set(marker, client.get(marker).replace(b"ready 1", b"ready 2"))
    with pytest.raises(
        UnsupportedRecord, match=f"kept in format 2, and this version of twofa knows format {FORMAT}: upg"
    ):
        RedisStore(client, prefix=prefix)


def test_a_conversion_to_a_newer_format_stops_those_who_know_the_old_one(
    client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """Once a shard is given another identity, whoever opened the store before does not read or write it any more."""
    key = shard_key(prefix, USER)
    store.swap(USER, Change(None, stored(1)))
    client.zrem(key, f"!{store._opened.identity}")
    client.zadd(key, {"!another": 0})
    for call in every_call(store):
        with pytest.raises(RuntimeError, match="is no shard of this store any more"):
            call()


@pytest.mark.parametrize("marker", ["", "ready", "ready 1 256", "ready one 256 abc", "ready 1 256 a b", "\udcff"])
def test_a_marker_that_is_not_ours_is_refused(marker: str, client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """A marker that nobody of us wrote is not guessed at."""
    store.swap(USER, Change(None, stored(1)))
    client.set(f"{{{prefix}:store}}", marker.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        (RecordDamaged, RuntimeError), match=r"marker of the store is not one of ours|is gone, although"
    ):
        RedisStore(client, prefix=prefix)
