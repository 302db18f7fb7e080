"""What a killed, full, replaced or mute server means: nothing acknowledged is lost on the disk, and no replica is read."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import racing
import redis
from racing import enrolled
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_stores import outcome_of
from support import USER, Clock
from valkey_server import HOST, valkey_server

from twofa import Change
from twofa.stores.redis import RedisStore
from twofa.testing.racing import restless_threads
from twofa.testing.samples import NOW, event, numbers, stored, version

if TYPE_CHECKING:
    from valkey_server import ValkeyServer

pytestmark = pytest.mark.xdist_group("redis failover")


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_what_was_acknowledged_outlives_a_killed_server(acknowledged: int, prefix: str) -> None:
    """P1 and P4: killed in the middle of load, the server has every acknowledged code as used, and no code twice."""
    users = [f"user-{number}" for number in range(120)]
    with valkey_server() as server, redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
        store = RedisStore(client, prefix=prefix)
        secrets = dict(zip(users, enrolled(store, users), strict=True))
        face = racing.face_on(store, Clock(racing.NOW))
        enough, killed = threading.Semaphore(0), threading.Event()

        def sign_in(user_id: str) -> Any:
            if user_id in users[-20:]:
                killed.wait(60)
            try:
                return outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
            except redis.ConnectionError:  # before anything was done: the record could not be loaded
                return "ConnectionError"
            finally:
                enough.release()

        with ThreadPoolExecutor(8) as pool, restless_threads():
            under_load = [pool.submit(sign_in, user_id) for user_id in users]
            for _ in range(acknowledged):
                enough.acquire()
            server.kill()
            killed.set()
            first = [future.result() for future in under_load]
        server.start()
        second = [outcome_of(partial(face.verify, user_id, secrets[user_id][0])) for user_id in users]

        assert {"Verification", "OutcomeUnknown", "ConnectionError"} >= set(first)
        assert acknowledged <= first.count("Verification") <= len(users) - 20
        for user_id, before, after in zip(users, first, second, strict=True):
            assert (user_id, before, after) != (user_id, "Verification", "Verification")
            assert after in {"Verification", "CodeReused"}
            accepted = [one for one in store.events(user_id) if one.kind == "code_accepted"]
            assert (user_id, 1) == (user_id, len(accepted))
        outbox = Counter(entry.event.user_id for entry in store.events_after(limit=10_000))
        assert {user_id: len(store.events(user_id)) for user_id in users} == outbox


@pytest.mark.parametrize("engine", ["valkey", "redis"])
def test_a_replica_tells_nothing(engine: str, prefix: str) -> None:
    """P3: neither is a store made on a replica, nor does one read there after its primary has become a replica."""
    with (
        valkey_server(engine) as primary,
        valkey_server(engine) as other,
        redis.Redis.from_url(primary.url) as client,
    ):
        store = RedisStore(client, prefix=prefix)
        assert store.swap(USER, Change(None, stored(1), (event(1),)))
        client.replicaof(HOST, other.port)
        for call in (
            lambda: store.load(USER),
            lambda: store.swap(USER, Change(version(1), stored(2))),
            lambda: store.events(USER),
            store.events_after,
            store.user_ids,
            lambda: store.prune_events(NOW),
        ):
            with pytest.raises(redis.exceptions.ReadOnlyError, match="replica"):
                call()
        with pytest.raises(RuntimeError, match="the server is a replica: point the client at the primary"):
            RedisStore(client, prefix=prefix)


@pytest.mark.parametrize("engine", ["valkey", "redis"])
@pytest.mark.parametrize("why", ["too few replicas", "the disk is full"])
def test_a_server_that_refuses_writes_can_still_be_read(engine: str, why: str, prefix: str) -> None:
    """A server that accepts no writes says who needs a second factor, and lets nobody in: the swap raises."""
    with valkey_server(engine) as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(client, prefix=prefix)
        ((code, _),) = enrolled(store, [USER])
        before = store.load(USER)
        face = racing.face_on(store, Clock(racing.NOW))
        if why == "too few replicas":
            client.config_set("min-replicas-to-write", 1)
        else:
            refuse_writes_as_if_the_disk_were_full(client, server)
        assert face.status(USER).required is True
        assert before == store.load(USER)
        assert ((USER,), 3) == (store.user_ids(), len(store.events(USER)))
        for attempt_ in range(2):
            assert (attempt_, "OutcomeUnknown") == (attempt_, outcome_of(lambda: face.verify(USER, code)))
        assert before == store.load(USER)
        client.config_set("min-replicas-to-write", 0)
        client.config_set("stop-writes-on-bgsave-error", "no")
        assert "Verification" == outcome_of(lambda: face.verify(USER, code))


def refuse_writes_as_if_the_disk_were_full(client: redis.Redis, server: ValkeyServer) -> None:
    """Let a snapshot fail: from then on a server accepts no writes, unless it is told otherwise."""
    client.config_set("save", "3600 1")
    server.folder.joinpath("dump.rdb").mkdir()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        pass
    assert "err" == client.info("persistence")["rdb_last_bgsave_status"]


def test_a_full_server_raises_and_changes_nothing(prefix: str) -> None:
    """Without memory a swap raises, and what is there can still be read and erased."""
    with valkey_server() as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(client, prefix=prefix)
        store.swap(USER, Change(None, stored(1), (event(1),)))
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            store.swap(USER, Change(version(1), stored(2), (event(2),)))
        assert (stored(1), [1]) == (store.load(USER), numbers(store))
        assert (USER,) == store.user_ids()
        assert 1 == store.prune_events(NOW + timedelta(days=1))
