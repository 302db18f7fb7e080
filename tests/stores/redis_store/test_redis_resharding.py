"""A cluster whose slots move from node to node: every swap happens, and the outbox stays ordered and complete."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis_stores import FEW, users_of_shard
from valkey_server import HOST, SlotMove, ValkeyServer, moving_slot, valkey_cluster

from twofa import Change
from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.stores.redis.layout import SLOTS, make_layout, slot_of
from twofa.testing.racing import restless_threads
from twofa.testing.samples import event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

pytestmark = pytest.mark.xdist_group("redis cluster")


@pytest.fixture(scope="module", params=["valkey", "redis"])
def moving_cluster(request: pytest.FixtureRequest) -> Iterator[list[ValkeyServer]]:
    """Three nodes of either engine."""
    with valkey_cluster(request.param) as nodes:
        yield nodes


@pytest.fixture
def cluster_client(moving_cluster: list[ValkeyServer], closing: ExitStack) -> redis.RedisCluster:
    """A client of the cluster."""
    return closing.enter_context(redis.RedisCluster(host=HOST, port=moving_cluster[0].port))


def slot_of_shard(prefix: str, shard: int) -> int:
    """Return the slot that a shard is in."""
    return slot_of(make_layout(prefix, FEW).keys[shard].strip(b"{}"))


STEPS: dict[str, Callable[[SlotMove], object]] = {
    "has begun": SlotMove.begin,
    "has moved the shard": SlotMove.move_keys,
    "is known to the target": SlotMove.tell_target,
    "is over": SlotMove.finish,
}


@pytest.mark.parametrize("stage", STEPS)
def test_every_swap_happens_while_a_slot_moves(
    stage: str, moving_cluster: list[ValkeyServer], cluster_client: redis.RedisCluster, prefix: str
) -> None:
    """At every stage of a move all users of the shard can be created, changed, read, listed and deleted."""
    store = RedisStore(cluster_client, prefix=prefix, shards=FEW)
    known, new = users_of_shard(5, 36, FEW), users_of_shard(5, 48, FEW)[36:]
    for user_id in known:
        assert store.swap(user_id, Change(None, stored(1), (event(1, user_id),)))
    with moving_slot(moving_cluster, slot_of_shard(prefix, 5)) as move:
        for name, step in STEPS.items():
            step(move)
            if name == stage:
                break

        happened = [store.swap(user_id, Change(version(1), stored(2), (event(2, user_id),))) for user_id in known]
        assert (36, 36) == (len(happened), sum(happened))
        assert all(store.swap(user_id, Change(None, stored(1), (event(1, user_id),))) for user_id in new)
        assert all(stored(2) == store.load(user_id) and [1, 2] == numbers(store, user_id) for user_id in known)
        assert not store.swap(known[0], Change(version(1), stored(3)))
        assert sorted([*known, *new]) == list(store.user_ids())
        handed_on = [entry.event for entry in store.events_after()]
        assert [*(event(1, user_id) for user_id in known)] == handed_on[:36]
        assert [*(event(2, user_id) for user_id in known)] == handed_on[36:72]
        assert [*(event(1, user_id) for user_id in new)] == handed_on[72:]
        assert store.swap(known[0], Change(version(2), None))
        assert store.load(known[0]) is None

        move.move_keys()
        move.finish()
    assert stored(2) == store.load(known[1])


def test_the_asynchronous_store_follows_too(
    moving_cluster: list[ValkeyServer], cluster_client: redis.RedisCluster, prefix: str
) -> None:
    """The same with the asynchronous client, for a shard on its way and one that has arrived."""
    store = RedisStore(cluster_client, prefix=prefix, shards=FEW)
    users = users_of_shard(9, 12, FEW)
    for user_id in users:
        assert store.swap(user_id, Change(None, stored(1), (event(1, user_id),)))

    async def main(move: SlotMove) -> None:
        async with redis.asyncio.RedisCluster(host=HOST, port=moving_cluster[0].port) as client:
            own = await AsyncRedisStore.open(client, prefix=prefix, shards=FEW)
            for number, step in enumerate((move.begin, move.move_keys, move.finish), 1):
                step()
                for user_id in users:
                    assert await own.swap(user_id, Change(version(number), stored(number + 1)))
                    assert stored(number + 1) == await own.load(user_id)
                assert 12 == len(await own.events_after()) == len(await own.user_ids())

    with moving_slot(moving_cluster, slot_of_shard(prefix, 9)) as move:
        asyncio.run(main(move))


def test_the_outbox_is_complete_and_in_order_while_slots_move(
    moving_cluster: list[ValkeyServer], cluster_client: redis.RedisCluster, prefix: str, closing: ExitStack
) -> None:
    """With shards going from node to node under load no swap fails, and a reader gets each event once and in order."""
    store = RedisStore(cluster_client, prefix=prefix, shards=FEW)
    peer = RedisStore(
        closing.enter_context(redis.RedisCluster(host=HOST, port=moving_cluster[1].port)), prefix=prefix, shards=FEW
    )
    moved = threading.Event()
    users = [user_id for shard in (2, 7) for user_id in users_of_shard(shard, 2, FEW)]
    read: list[tuple[str, int]] = []

    def write(user_id: str) -> int:
        assert store.swap(user_id, Change(None, stored(0), (event(0, user_id),)))
        for number in count(1):
            handle = (store, peer)[number % 2]
            assert handle.swap(user_id, Change(version(number - 1), stored(number), (event(number, user_id),)))
            if moved.is_set():
                return number + 1
        raise AssertionError

    def follow(writing: list[Any]) -> None:
        cursor, last = "", False
        while True:
            page = peer.events_after(cursor, 20)
            read.extend((entry.event.user_id, entry.event.detail["number"]) for entry in page)
            cursor = page[-1].cursor if page else cursor
            if last and not page:
                return
            last = all(each.done() for each in writing)

    with ThreadPoolExecutor(len(users) + 1) as pool, restless_threads():
        writing = [pool.submit(write, user_id) for user_id in users]
        reading = pool.submit(follow, writing)
        try:
            for shard in (2, 7, 2, 7):
                with moving_slot(moving_cluster, slot_of_shard(prefix, shard)) as move:
                    move.begin()
                    before = len(read)
                    while len(read) < before + 20 and not reading.done():
                        pass
                    move.move_keys()
                    while len(read) < before + 40 and not reading.done():
                        pass
                    move.finish()
        finally:
            moved.set()
        written = {user_id: each.result() for user_id, each in zip(users, writing, strict=True)}
        reading.result()

    assert written == Counter(user_id for user_id, _ in read)
    for user_id in users:
        assert list(range(written[user_id])) == [number for user, number in read if user == user_id]
        assert list(range(written[user_id])) == numbers(store, user_id)
    assert read == [(entry.event.user_id, entry.event.detail["number"]) for entry in store.events_after(limit=100_000)]


def test_valkeys_own_way_to_move_slots_loses_nothing(
    cluster: list[ValkeyServer], cluster_clients: list[redis.RedisCluster], prefix: str
) -> None:
    """CLUSTER MIGRATESLOTS of Valkey 9 moves a slot in one step: swaps go on before, during and after it."""
    store = RedisStore(cluster_clients[0], prefix=prefix, shards=FEW)
    users = users_of_shard(11, 12, FEW)
    for user_id in users:
        assert store.swap(user_id, Change(None, stored(0), (event(0, user_id),)))
    slot = slot_of_shard(prefix, 11)
    with moving_slot(cluster, slot) as move:
        move.move_in_one_step()
        for number in count(1):
            for user_id in users:
                change = Change(version(number - 1), stored(number), (event(number, user_id),))
                assert store.swap(user_id, change)
            if move.has_arrived():
                break
    assert {stored(number)} == {store.load(user_id) for user_id in users}
    assert list(range(number + 1)) == numbers(store, users[0])


# --- an even load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [3, 6, 16, 32])
@pytest.mark.parametrize("prefix", ["twofa", "app", "2"])
def test_the_shards_spread_evenly_over_the_nodes(nodes: int, prefix: str) -> None:
    """On a cluster of any size each node has its share of the shards, give or take one."""
    on_node = Counter(slot_of(key.strip(b"{}")) * nodes // SLOTS for key in make_layout(prefix, 256).keys)
    assert nodes == len(on_node)
    assert all(abs(shards - 256 / nodes) < 1.5 for shards in on_node.values())
    assert 256 % nodes != 0 or {256 // nodes} == set(on_node.values())


def test_the_keys_are_where_the_cluster_says(cluster_clients: list[redis.RedisCluster], prefix: str) -> None:
    """The slot that is calculated here is the one that the cluster calculates."""
    client = cluster_clients[0]
    for shards in (1, 7, 256):
        keys = make_layout(prefix, shards).keys
        assert [client.keyslot(key) for key in keys] == [slot_of(key.strip(b"{}")) for key in keys]
        assert shards == len(set(keys))


def test_users_spread_evenly_over_the_shards() -> None:
    """Of 100,000 users with numbers for ids, no shard has a fifth more than the average."""
    layout = make_layout("twofa", 256)
    in_shard = Counter(layout.key_of(str(number)) for number in range(100_000))
    assert 256 == len(in_shard)
    assert max(in_shard.values()) < 1.2 * 100_000 / 256


@pytest.mark.parametrize("nodes", [64, 128])
def test_as_many_shards_as_slots_can_be_had(nodes: int) -> None:
    """For the largest clusters each slot can have its shard."""
    keys = make_layout("twofa", SLOTS).keys
    assert list(range(SLOTS)) == [slot_of(key.strip(b"{}")) for key in keys]
    assert {SLOTS // nodes} == set(Counter(slot_of(key.strip(b"{}")) * nodes // SLOTS for key in keys).values())
