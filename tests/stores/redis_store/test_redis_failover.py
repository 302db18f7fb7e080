"""What a fail-over keeps: with `replicas=1` every code that was accepted stays spent, and without it some may revive."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import racing
import redis
import redis.asyncio
from racing import enrolled
from redis_stores import outcome_of
from support import USER, Clock
from valkey_server import HOST, Sentinel, ValkeyServer, valkey_server

from twofa import Change, TwoFactor
from twofa.stores.redis import AsyncRedisStore, RedisStore
from twofa.testing.event_loop import EventLoop
from twofa.testing.racing import restless_threads
from twofa.testing.samples import event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

pytestmark = pytest.mark.xdist_group("redis failover")


@contextmanager
def primary_and_replica(engine: str = "valkey") -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """Run two servers of which one follows the other."""
    with (
        valkey_server(engine, repl_diskless_sync_delay="0") as primary,
        valkey_server(engine, replicaof=f"{HOST} {primary.port}") as replica,
    ):
        replica.wait_for("Finished with success")
        yield primary, replica


@pytest.fixture(scope="module", params=["valkey", "redis"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """A primary with its replica, which tests may freeze and let go on."""
    with primary_and_replica(request.param) as servers:
        yield servers


def signing_in(store: RedisStore) -> TwoFactor:
    """Return an application that signs in at one instant."""
    return racing.face_on(store, Clock(racing.NOW))


# --- waiting for replicas --------------------------------------------------------------------------------------------


def test_a_swap_that_no_replica_has_does_not_count(
    pair: tuple[ValkeyServer, ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """With replicas=1 a swap raises while the replica is out of reach, and reading goes on."""
    primary, replica = pair
    client = closing.enter_context(redis.Redis.from_url(primary.url))
    store, hasty = (RedisStore(client, prefix=prefix, replicas=1, replica_timeout=seconds) for seconds in (60, 0.05))
    assert store.swap(USER, Change(None, stored(1), (event(1),)))
    client.script_flush()
    assert store.swap(USER, Change(version(1), stored(2), (event(2),)))
    replica.freeze()
    try:
        with pytest.raises(RuntimeError, match=r"0\.05 s after a change was made, 0 of 1 replicas have it.*see to the"):
            hasty.swap(USER, Change(version(2), stored(3), (event(3),)))
        assert hasty.swap(USER, Change(version(2), stored(4))) is False
        assert stored(3) == store.load(USER)
    finally:
        replica.freeze(False)
    assert store.swap(USER, Change(version(3), stored(4), (event(4),)))
    assert [1, 2, 3, 4] == numbers(store)


@pytest.mark.parametrize("new", [stored(2), None], ids=["update", "delete"])
def test_a_swap_that_is_sent_again_waits_for_the_replica_too(
    new: Any, pair: tuple[ValkeyServer, ValkeyServer], prefix: str, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second sending, on another connection, does not count either before the replica has what the first one wrote."""
    primary, replica = pair
    change = Change(version(1), new)
    clients = [closing.enter_context(redis.Redis.from_url(primary.url)) for _ in range(2)]
    stores = [RedisStore(client, prefix=prefix, replicas=1, replica_timeout=0.05) for client in clients]
    patient = RedisStore(clients[0], prefix=prefix, replicas=1, replica_timeout=60)
    assert patient.swap(USER, Change(None, stored(1)))
    monkeypatch.setattr("twofa._entropy.random_token", lambda: "the mark of one swap")
    replica.freeze()
    try:
        for store in stores:
            with pytest.raises(RuntimeError, match="0 of 1 replicas have it"):
                store.swap(USER, change)
    finally:
        replica.freeze(False)
    assert patient.swap(USER, change)
    assert new == patient.load(USER)


def test_the_asynchronous_store_waits_for_replicas(
    pair: tuple[ValkeyServer, ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """The same for the asynchronous store."""
    primary, replica = pair
    loop = EventLoop()
    closing.callback(loop.close)

    async def main() -> None:
        async with redis.asyncio.Redis.from_url(primary.url) as client:
            hasty = await AsyncRedisStore.open(client, prefix=prefix, replicas=1, replica_timeout=0.05)
            store = AsyncRedisStore(client, prefix=prefix, replicas=1, replica_timeout=60)
            assert await store.swap(USER, Change(None, stored(1)))
            replica.freeze()
            try:
                with pytest.raises(RuntimeError, match="0 of 1 replicas have it"):
                    await hasty.swap(USER, Change(version(1), stored(2)))
            finally:
                replica.freeze(False)
            assert await store.swap(USER, Change(version(2), stored(3)))

    loop.run(main())


# --- a replica takes over --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("replicas", "said"), [(0, "Verification"), (1, "OutcomeUnknown")])
def test_what_was_not_replicated_is_lost_in_a_failover(replicas: int, said: str, prefix: str) -> None:
    """P1: a replica that takes over too early has a spent code as good, which was accepted before only if nobody waited."""
    with (
        primary_and_replica() as (primary, replica),
        redis.Redis.from_url(primary.url) as client,
        redis.Redis.from_url(replica.url) as successor,
    ):
        ((code, _),) = enrolled(RedisStore(client, prefix=prefix, replicas=1, replica_timeout=60), [USER])
        successor.replicaof("NO", "ONE")  # the replica is cut off, and gets nothing any more
        store = RedisStore(client, prefix=prefix, replicas=replicas, replica_timeout=0.05)
        assert said == outcome_of(lambda: signing_in(store).verify(USER, code))
        primary.kill()
        again = signing_in(RedisStore(successor, prefix=prefix))
        assert "Verification" == outcome_of(lambda: again.verify(USER, code))
        assert "CodeReused" == outcome_of(lambda: again.verify(USER, code))


@pytest.mark.parametrize("engine", ["valkey", "redis"])
def test_sentinel_fails_over_without_reviving_a_code(engine: str, prefix: str, closing: ExitStack) -> None:
    """P1: the primary is killed under load; Sentinel's new one has every accepted code as spent, and the store goes on."""
    users = [f"user-{number}" for number in range(150)]
    primary, _ = closing.enter_context(primary_and_replica(engine))
    sentinel = Sentinel(engine, primary)
    closing.callback(sentinel.stop)
    sentinel.wait_for("+slave ")
    watching = redis.Sentinel([(HOST, sentinel.port)])
    client = closing.enter_context(watching.master_for(Sentinel.NAME))
    store = RedisStore(client, prefix=prefix, replicas=1, replica_timeout=60)
    secrets = dict(zip(users, enrolled(store, users), strict=True))
    face = signing_in(store)
    enough = threading.Semaphore(0)

    def sign_in(user_id: str) -> str:
        try:
            return outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
        except redis.RedisError as error:  # before anything was done: the record could not be loaded
            return type(error).__name__
        finally:
            enough.release()

    with ThreadPoolExecutor(8) as pool, restless_threads():
        under_load = [pool.submit(sign_in, user_id) for user_id in users]
        for _ in range(40):
            enough.acquire()
        primary.kill()
        first = dict(zip(users, [future.result() for future in under_load], strict=True))
    sentinel.wait_for("+switch-master")

    assert 40 <= list(first.values()).count("Verification") < len(users)
    again = RedisStore(client, prefix=prefix, create=False)
    second = {user_id: outcome_of(lambda u=user_id: signing_in(again).verify(u, secrets[u][0])) for user_id in users}
    assert {"Verification", "CodeReused"} == set(second.values())
    assert [] == [user_id for user_id in users if first[user_id] == second[user_id] == "Verification"]
    assert dict.fromkeys(users, 1) == {
        user_id: [each.kind for each in again.events(user_id)].count("code_accepted") for user_id in users
    }
    assert {user_id: len(again.events(user_id)) for user_id in users} == handed_on(again)


def handed_on(store: RedisStore) -> dict[str, int]:
    """Return how many events of each user the outbox has."""
    counted: dict[str, int] = {}
    for entry in store.events_after(limit=10_000):
        counted[entry.event.user_id] = counted.get(entry.event.user_id, 0) + 1
    return counted
