"""`RedisStore` and `AsyncRedisStore` on real servers: one Valkey, and a cluster of three."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import racing
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from crashes import CASES, Judge, face_on
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from interleave import Scene, attempt, told
from pages import ROOT, run_page
from proxy import proxy_to
from racing import enrolled, guess_in_parallel, race_processes, race_threads
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import USER, Clock, World
from valkey_server import HOST, ValkeyServer, valkey_cluster, valkey_server

from twofa import Change, Stored
from twofa.errors import OutcomeUnknown
from twofa.stores.redis import AsyncRedisStore, RedisStore, scripts
from twofa.stores.redis.clients import judge
from twofa.stores.redis.commands import REMEMBERED, Keys
from twofa.stores.redis.cursors import SHARDS
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
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.racing import restless_threads
from twofa.testing.samples import LOOKALIKES, NOW, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


@pytest.fixture(scope="module")
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


def open_store(url: str, prefix: str) -> RedisStore:
    """Open a store in any process."""
    return RedisStore(redis.Redis.from_url(url), prefix=prefix)


class TestRedisStore(
    OutboxConformance, ListingConformance, ProcessConformance, HostTransactionConformance, FailureConformance
):
    """`RedisStore` keeps the laws on one server."""

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
        return RedisStore(self.clients[0], prefix=self.prefix)

    def make_peer(self, store):
        return RedisStore(self.clients[1], prefix=self.prefix)


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
        return AsyncRedisStore(self.clients[0], prefix=self.prefix)

    def make_peer(self, store):
        return AsyncRedisStore(self.clients[1], prefix=self.prefix)


def spoil(client: redis.Redis, prefix: str) -> None:
    """Put something in the place of the user's record that is none."""
    client.set(Keys(prefix).of(f"user:{USER}", USER), "no hash")


class RedisMachine(StoreMachine):
    """`RedisStore` beside the model, on one server, each sequence under a prefix of its own."""

    url = ""

    def make_store(self):
        self.prefix, self.client = next(_prefixes), redis.Redis.from_url(self.url)
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
        self.prefix, self.client = next(_prefixes), redis.asyncio.RedisCluster(host=HOST, port=self.port)
        return AsyncRedisStore(self.client, prefix=self.prefix)

    def make_peer(self, store):
        return AsyncRedisStore(self.client, prefix=self.prefix)

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


# --- P1 and P2: races ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["totp", "recovery_code"])
def test_of_32_threads_one_is_accepted(method: str, client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """P1: 32 threads submit one code at the same instant: one acceptance each time."""
    race_threads(method, store, RedisStore(client, prefix=prefix), 10)


def test_of_32_threads_on_a_cluster_one_is_accepted(cluster_clients: list[redis.RedisCluster], prefix: str) -> None:
    """P1: the same through three nodes, by way of two clients."""
    store, peer = (RedisStore(client, prefix=prefix) for client in cluster_clients)
    race_threads("totp", store, peer, 10)


def test_of_8_processes_one_is_accepted(server: ValkeyServer, prefix: str) -> None:
    """P1: 8 processes submit one code at the same instant: one acceptance each time."""
    race_processes(partial(open_store, server.url, prefix), 15)


@pytest.mark.parametrize("factor", ["totp", "recovery_code"])
def test_of_200_parallel_guesses_five_are_answered(
    factor: str, server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: at a frozen clock exactly five wrong guesses are answered and stored; the rest hear when the wait ends."""
    with redis.Redis.from_url(server.url, max_connections=200) as client:
        guess_in_parallel(RedisStore(client, prefix=prefix), "login", factor, monkeypatch)


# --- P4: answers that never come -----------------------------------------------------------------------------------


def impatient(proxy: Proxy, retries: int) -> redis.Redis:
    """Return a client of a proxy that tries again so many times, without a pause."""
    lost = [redis.ConnectionError]  # later versions try these again without being told to
    return redis.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), retries), retry_on_error=lost)


@contextmanager
def behind_a_proxy(server: ValkeyServer, prefix: str, retries: int) -> Iterator[tuple[Proxy, RedisStore]]:
    """Open a store whose answers can get lost."""
    with proxy_to((HOST, server.port)) as proxy, impatient(proxy, retries) as client:
        yield proxy, RedisStore(client, prefix=prefix)


SWAP = scripts.SWAP.sha.encode()


@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{state}: {name}" for state, name in CASES])
def test_an_answer_that_gets_lost_changes_nothing(
    case: int, retries: int, server: ValkeyServer, store: RedisStore, prefix: str
) -> None:
    """P4: cut after the commit and before the reply, every operation ends as if the reply had come, and is told once."""
    state, name = CASES[case]
    scene = Scene(state)
    judge_ = Judge(scene, name)
    if scene.stored is not None:
        assert store.swap(scene.user_id, Change(None, scene.stored))
    with behind_a_proxy(server, prefix, retries) as (proxy, cut_off):
        proxy.cut_after(SWAP)
        outcome = attempt(lambda: judge_.call(face_on(cut_off, scene, name)))
    assert 1 == proxy.cuts
    assert not isinstance(outcome, OutcomeUnknown)
    assert "after" == judge_.verdict(store.load(scene.user_id), told(store.events(scene.user_id)))
    assert told(store.events(scene.user_id)) == [entry.event.kind for entry in store.events_after()]


@pytest.mark.parametrize("retries", [0, 3])
def test_a_request_that_gets_lost_is_no_acceptance(
    retries: int, server: ValkeyServer, store: RedisStore, prefix: str
) -> None:
    """P1: cut before the server has read it, a login is tried again or unknown, and the code is good once."""
    world = World("blocking", store=store)
    phone, _ = world.enrol()
    with behind_a_proxy(server, prefix, retries) as (proxy, cut_off):
        face = racing.face_on(cut_off, world.clock)
        proxy.cut_before(SWAP)
        first = outcome_of(lambda: face.verify(USER, phone.code()))
        second = outcome_of(lambda: face.verify(USER, phone.code()))
    assert 1 == proxy.cuts
    expected = ["OutcomeUnknown", "Verification"] if retries == 0 else ["Verification", "CodeReused"]
    assert expected == [first, second]
    assert 1 == Counter(told(store.events(USER)))["code_accepted"]


def outcome_of(call: Callable[[], Any]) -> str:
    """Return the name of what a call gives or raises."""
    return type(attempt(call)).__name__


@pytest.mark.parametrize("retries", [0, 1])
def test_nobody_is_told_what_nobody_knows(retries: int, server: ValkeyServer, store: RedisStore, prefix: str) -> None:
    """P4: with the server out of reach after a lost answer the outcome is unknown, and the code was good once."""
    world = World("blocking", store=store)
    phone, _ = world.enrol()
    with behind_a_proxy(server, prefix, retries) as (proxy, cut_off):
        face = racing.face_on(cut_off, world.clock)
        cut_off.load(USER)
        proxy.refuse()
        proxy.cut_after(SWAP)
        assert "OutcomeUnknown" == outcome_of(lambda: face.verify(USER, phone.code()))
        proxy.refuse(False)
        assert "CodeReused" == outcome_of(lambda: face.verify(USER, phone.code()))
    assert 1 == Counter(told(store.events(USER)))["code_accepted"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "awaiting"])
def test_a_driver_that_tries_again_writes_nothing_twice(
    asynchronous: bool, server: ValkeyServer, store: RedisStore, prefix: str, closing: ExitStack
) -> None:
    """Through a client that sends again what was not answered, a lost answer goes by unseen; each swap happened once."""
    proxy = closing.enter_context(proxy_to((HOST, server.port)))
    cut_off: Any
    if asynchronous:
        loop = EventLoop()
        closing.callback(loop.close)
        client = redis.asyncio.Redis(
            host=HOST,
            port=proxy.port,
            retry=redis.asyncio.retry.Retry(NoBackoff(), 3),
            retry_on_error=[redis.ConnectionError],
        )
        closing.callback(lambda: loop.run(client.aclose()))
        cut_off = Blocking(AsyncRedisStore(client, prefix=prefix), loop)
    else:
        cut_off = RedisStore(closing.enter_context(impatient(proxy, 3)), prefix=prefix)
    for change in (
        Change(None, stored(1), (event(1),)),
        Change(version(1), stored(2), (event(2),)),
        Change(version(2), None, (event(3),)),
    ):
        proxy.cut_after(SWAP)
        assert cut_off.swap(USER, change) is True
    assert 3 == proxy.cuts
    assert (None, [3]) == (store.load(USER), numbers(store))


# a swap that is sent twice


@pytest.fixture
def same_mark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make all swaps from now on sendings of one."""
    return lambda mark: monkeypatch.setattr("twofa._entropy.random_token", lambda: mark)


def test_a_swap_that_is_sent_again_says_that_it_happened(store: RedisStore, same_mark: Callable[[str], None]) -> None:
    """Whatever came between, a second sending changes nothing and says what the first one said."""
    create, update = Change(None, stored(1), (event(1),)), Change(version(1), stored(2), (event(2),))
    delete = Change(version(2), None, (event(3),))
    for number, change in enumerate((create, update, delete)):
        same_mark(f"mark {number}")
        assert [True, True] == [store.swap(USER, change), store.swap(USER, change)]
    assert (None, [3]) == (store.load(USER), numbers(store))
    assert [event(3)] == [entry.event for entry in store.events_after()]
    same_mark("mark 4")
    assert store.swap(USER, Change(None, stored(4)))
    same_mark("mark 0")
    assert store.swap(USER, create) is True
    assert (stored(4), [3]) == (store.load(USER), numbers(store))


def test_a_swap_that_lost_may_be_sent_again(store: RedisStore, same_mark: Callable[[str], None]) -> None:
    """A swap that lost leaves no mark: sent again, it loses again."""
    store.swap(USER, Change(None, stored(1)))
    same_mark("mark")
    assert [False, False] == [store.swap(USER, Change(None, stored(2))) for _ in range(2)]


def test_a_login_costs_two_round_trips(server: ValkeyServer, store: RedisStore, prefix: str) -> None:
    """A code is judged with one reading and one swap, and so is a wrong one."""
    world = World("blocking", store=store)
    phone, _ = world.enrol()
    with behind_a_proxy(server, prefix, 0) as (proxy, counted):
        face = racing.face_on(counted, world.clock)
        assert "InvalidCode" == outcome_of(lambda: face.verify(USER, phone.wrong_code()))
        for code, expected in ((phone.wrong_code(), "InvalidCode"), (phone.code(), "Verification")):
            before = proxy.round_trips
            assert expected == outcome_of(partial(face.verify, USER, code))
            assert 2 == proxy.round_trips - before


def test_no_version_is_taken_for_no_record(store: RedisStore) -> None:
    """Nor is an empty version, which the library never makes, taken for a delete."""
    assert store.swap(USER, Change("", stored(1))) is False
    assert store.swap(USER, Change(None, Stored("", "document"))) is True
    assert Stored("", "document") == store.load(USER)
    assert store.swap(USER, Change(None, stored(1))) is False
    assert store.swap(USER, Change("", None)) is True
    assert store.load(USER) is None


def test_a_mark_says_nothing_of_its_user_and_goes_by_itself(
    client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """What is kept of a swap to know it again is random, and gone after ten minutes."""
    store.swap(USER, Change(None, stored(1)))
    (mark,) = client.keys(f"{{{prefix}:*}}:done:*")
    assert (b"", True) == (client.get(mark), 0 < client.ttl(mark) <= REMEMBERED == 600)
    assert USER.encode() not in mark


# --- a server that is killed ---------------------------------------------------------------------------------------


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


# --- what asynchronous replication, eviction and a full server mean ------------------------------------------------


def answers(client: Any, prefix: str) -> list[str]:
    """Return how a store on a client answers a load and a swap, or the error's name."""
    store = RedisStore(client, prefix=prefix, allow_eviction=True)
    said: list[str] = []
    for call in (lambda: store.load(USER), lambda: store.swap(USER, Change(None, stored(9)))):
        try:
            said.append(repr(call()))
        except redis.ResponseError as error:
            said.append(type(error).__name__)
    return said


def test_a_replica_tells_nothing(prefix: str) -> None:
    """Neither is a store made on a replica, nor does one read there after its primary has become a replica."""
    with (
        valkey_server() as primary,
        valkey_server() as other,
        redis.Redis.from_url(primary.url) as client,
    ):
        store = RedisStore(client, prefix=prefix)
        assert store.swap(USER, Change(None, stored(1), (event(1),)))
        client.replicaof(HOST, other.port)
        with pytest.raises(redis.exceptions.ReadOnlyError):
            store.load(USER)
        for call in (
            lambda: store.swap(USER, Change(version(1), stored(2))),
            lambda: store.events(USER),
            store.events_after,
            store.user_ids,
            lambda: store.prune_events(NOW),
        ):
            with pytest.raises(redis.exceptions.ReadOnlyError):
                call()
        with pytest.raises(RuntimeError, match="the server is a replica: point the client at the primary"):
            RedisStore(client, prefix=prefix)


def test_a_failover_loses_what_was_not_replicated(prefix: str) -> None:
    """The fact that the documentation warns of: a replica that takes over too early has a spent code as good."""
    with (
        valkey_server(repl_diskless_sync_delay="0") as primary,
        valkey_server(replicaof=f"{HOST} {primary.port}") as replica,
        redis.Redis.from_url(primary.url) as client,
        redis.Redis.from_url(replica.url) as successor,
    ):
        replica.wait_for("Finished with success")
        store = RedisStore(client, prefix=prefix)
        ((code, _),) = enrolled(store, [USER])
        assert 1 == client.wait(1, 60_000)
        successor.replicaof("NO", "ONE")  # the replica is cut off, and gets nothing any more
        assert "Verification" == outcome_of(lambda: racing.face_on(store, Clock(racing.NOW)).verify(USER, code))
        primary.kill()
        again = racing.face_on(RedisStore(successor, prefix=prefix), Clock(racing.NOW))
        assert "Verification" == outcome_of(lambda: again.verify(USER, code))
        assert "CodeReused" == outcome_of(lambda: again.verify(USER, code))


def test_a_primary_that_must_have_replicas_refuses_without_them(prefix: str) -> None:
    """With min-replicas-to-write a primary that was left alone accepts nothing, and says so."""
    with (
        valkey_server(min_replicas_to_write="1") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        assert ["ResponseError", "ResponseError"] == answers(client, prefix)
        client.config_set("min-replicas-to-write", 0)
        assert RedisStore(client, prefix=prefix).load(USER) is None


def test_a_full_server_raises_and_changes_nothing(prefix: str) -> None:
    """Without memory a swap raises, and what is there can still be read and erased."""
    with valkey_server() as server, redis.Redis.from_url(server.url) as client:
        store = RedisStore(client, prefix=prefix)
        store.swap(USER, Change(None, stored(1), (event(1),)))
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            store.swap(USER, Change(version(1), stored(2), (event(2),)))
        assert (stored(1), [1], 1) == (store.load(USER), numbers(store), len(store.events_after()))
        assert (USER,) == store.user_ids()
        assert 1 == store.prune_events(NOW + timedelta(days=1))


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl"])
def test_an_evicting_server_is_refused(policy: str, prefix: str) -> None:
    """A server that may drop a record is refused, by both faces, unless it is allowed."""
    with valkey_server(maxmemory_policy=policy) as server, redis.Redis.from_url(server.url) as client:
        with pytest.raises(RuntimeError, match=rf"maxmemory-policy {policy}.*allow_eviction=True"):
            RedisStore(client, prefix=prefix)
        assert RedisStore(client, prefix=prefix, allow_eviction=True).load(USER) is None

        async def main() -> None:
            async with redis.asyncio.Redis.from_url(server.url) as own:
                with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                    await AsyncRedisStore.open(own, prefix=prefix)
                lazy = AsyncRedisStore(own, prefix=prefix)
                for _ in range(2):
                    with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                        await lazy.load(USER)
                with pytest.raises(RuntimeError, match=f"maxmemory-policy {policy}"):
                    await lazy.swap(USER, Change(None, stored(1)))
                allowed = await AsyncRedisStore.open(own, prefix=prefix, allow_eviction=True)
                assert await allowed.load(USER) is None

        asyncio.run(main())


def test_a_server_is_asked_once(server: ValkeyServer, prefix: str) -> None:
    """An asynchronous store asks when it is first used, and not again."""
    asked: list[object] = []

    class Listening(redis.asyncio.Redis):
        async def execute_command(self, *words: Any, **options: Any) -> Any:
            asked.append(words[0])
            return await super().execute_command(*words, **options)

    async def main() -> None:
        async with Listening.from_url(server.url) as client:
            store = AsyncRedisStore(client, prefix=prefix)
            assert [] == asked
            for _ in range(3):
                await store.load(USER)

    asyncio.run(main())
    assert {"INFO": 1, "EVALSHA": 3} == {name: asked.count(name) for name in ("INFO", "EVALSHA")}


def test_every_node_of_a_cluster_is_asked(cluster: list[ValkeyServer], prefix: str, closing: ExitStack) -> None:
    """One node that evicts is enough to be refused, whichever it is."""

    async def main() -> None:
        async with redis.asyncio.RedisCluster(host=HOST, port=cluster[0].port) as client:
            await AsyncRedisStore.open(client, prefix=prefix)

    client = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    for node in cluster:
        own = closing.enter_context(redis.Redis.from_url(node.url))
        own.config_set("maxmemory-policy", "allkeys-lfu")
        closing.callback(own.config_set, "maxmemory-policy", "noeviction")
        with pytest.raises(RuntimeError, match="maxmemory-policy allkeys-lfu"):
            RedisStore(client, prefix=prefix)
        with pytest.raises(RuntimeError, match="maxmemory-policy allkeys-lfu"):
            asyncio.run(main())
        own.config_set("maxmemory-policy", "noeviction")
    RedisStore(client, prefix=prefix)


def test_a_server_that_must_not_be_asked_raises_and_says_what_to_do(server: ValkeyServer, prefix: str) -> None:
    """Where INFO is forbidden, nobody knows whether the server evicts: the driver's error says how to go on."""
    with redis.Redis.from_url(server.url) as admin:
        admin.acl_setuser("mute", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
        with redis.Redis.from_url(server.url, username="mute", password="any") as client:
            with pytest.raises(redis.exceptions.NoPermissionError) as refused:
                RedisStore(client, prefix=prefix)
            (note,) = refused.value.__notes__
            assert "allow_eviction=True" in note
            assert RedisStore(client, prefix=prefix, allow_eviction=True).load(USER) is None
        admin.acl_deluser("mute")


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.2.14"}, "the server is Redis 6.2.14, and the store needs Redis 7 or Valkey"),
        ({}, "the server is Redis 0, and"),
        ({"redis_version": "8.0.1", "role": "slave"}, "the server is a replica"),
        ({"redis_version": "7.2.4", "role": "master"}, "maxmemory-policy None"),
    ],
)
def test_a_server_that_is_unfit_or_does_not_say_is_refused(info: dict[str, object], words: str) -> None:
    """An old server is refused by its version, and one that does not tell its policy as one that evicts."""
    with pytest.raises(RuntimeError, match=words):
        judge(info)


# --- clients -------------------------------------------------------------------------------------------------------


def refusal(kind: Any, client: Any) -> str:
    """Return the message with which a client is refused."""
    with pytest.raises(TypeError) as refused:
        kind(client)
    return str(refused.value)


def test_a_transaction_of_the_host_is_refused(
    client: redis.Redis, cluster: list[ValkeyServer], closing: ExitStack
) -> None:
    """A pipeline is refused, with the reason: what it would take along must not be given up with it."""
    on_cluster = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    for pipeline in (client.pipeline(), client.pipeline(transaction=False), on_cluster.pipeline()):
        assert "not a pipeline" in refusal(RedisStore, pipeline)
        assert "undo the count of a refused code" in refusal(RedisStore, pipeline)
    asynchronous = redis.asyncio.Redis()
    assert "not a pipeline" in refusal(AsyncRedisStore, asynchronous.pipeline())


def test_only_a_client_of_the_right_kind_is_taken(client: redis.Redis, server: ValkeyServer) -> None:
    """What is no client is refused, and a client that is for the other face is sent there."""
    for wrong in (None, server.url, client.connection_pool, client.pubsub(), object()):
        assert "RedisStore takes a redis.Redis or redis.RedisCluster, not" in refusal(RedisStore, wrong)
        assert "takes a redis.asyncio.Redis or" in refusal(AsyncRedisStore, wrong)
    assert "a client that is blocking: this one is for AsyncRedisStore" in refusal(RedisStore, redis.asyncio.Redis())
    assert "a client that is asynchronous: this one is for RedisStore" in refusal(AsyncRedisStore, client)


def test_a_single_connection_is_refused(server: ValkeyServer, closing: ExitStack) -> None:
    """A client with one connection may have a transaction open on it."""
    single = closing.enter_context(redis.Redis(host=HOST, port=server.port, single_connection_client=True))
    assert "has a single connection" in refusal(RedisStore, single)
    assert "has a single connection" in refusal(AsyncRedisStore, redis.asyncio.Redis(single_connection_client=True))


def test_a_client_of_replicas_is_refused() -> None:
    """What Sentinel gives for reading is refused."""
    sentinel = redis.Sentinel([(HOST, 1)])
    assert "Sentinel.master_for()" in refusal(RedisStore, sentinel.slave_for("service"))
    RedisStore(sentinel.master_for("service"), allow_eviction=True)


def test_an_answer_that_is_none_is_no_acceptance(client: redis.Redis, prefix: str) -> None:
    """P1: what a server says inside a transaction that the host has begun by hand reads as neither yes nor no."""

    class Queueing(redis.Redis):
        def execute_command(self, *words: Any, **options: Any) -> Any:
            return b"QUEUED"

    with Queueing(connection_pool=client.connection_pool) as queueing:
        store = RedisStore(queueing, prefix=prefix, allow_eviction=True)
        with pytest.raises(RuntimeError, match=r"answered a swap with b'QUEUED'.*transaction of yours"):
            store.swap(USER, Change(None, stored(1)))


@pytest.mark.parametrize("prefix", ["", "a{b", "a}", "a b", "caf\u00e9", "x\n", "x" * 65])
def test_a_prefix_that_could_mislead_is_refused(prefix: str, client: redis.Redis) -> None:
    """A brace in the prefix would decide about the node, and a name has to be one that can be typed."""
    with pytest.raises(ValueError, match="prefix must be 1 to 64 ASCII characters without spaces and braces, not '"):
        RedisStore(client, prefix=prefix)


def test_a_prefix_is_text(client: redis.Redis) -> None:
    """Bytes are refused by name."""
    wrong: Any = b"twofa"
    with pytest.raises(TypeError, match="prefix must be a str, not bytes"):
        RedisStore(client, prefix=wrong)


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}, {"encoding": "latin-1"}])
@pytest.mark.parametrize("kind", [redis.Redis, valkey.Valkey])
def test_every_client_speaks_the_same(
    kind: Any, options: dict[str, Any], server: ValkeyServer, store: RedisStore, prefix: str
) -> None:
    """Whatever a client decodes for others, whichever protocol it speaks and whoever it is by, the data are the same."""
    with kind.from_url(server.url, **options) as client:
        own = RedisStore(client, prefix=prefix)
        for number, user_id in enumerate(LOOKALIKES[:20]):
            assert own.swap(user_id, Change(None, stored(number), (event(number, user_id),)))
            assert stored(number) == own.load(user_id) == store.load(user_id)
            assert own.events(user_id) == store.events(user_id)
        assert (store.user_ids(), store.events_after()) == (own.user_ids(), own.events_after())


@pytest.mark.parametrize("kind", [valkey.asyncio.Valkey, valkey.asyncio.ValkeyCluster, redis.asyncio.RedisCluster])
def test_every_asynchronous_client_speaks_the_same(kind: Any, cluster: list[ValkeyServer], prefix: str) -> None:
    """The same for the asynchronous clients; Redis and Valkey have classes of their own."""

    async def main(port: int) -> None:
        async with kind(host=HOST, port=port, decode_responses=True) as client:
            store = await AsyncRedisStore.open(client, prefix=prefix)
            await client.script_flush()
            assert await store.swap(USER, Change(None, stored(1), (event(1),)))
            assert (stored(1), (event(1),)) == (await store.load(USER), await store.events(USER))

    with valkey_server() as single:
        asyncio.run(main(cluster[0].port if "Cluster" in kind.__name__ else single.port))


def test_a_cluster_client_that_prefers_replicas_reads_the_primary(
    cluster: list[ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """What a store reads it reads as a write, which no client sends to a replica."""
    strategies: Any = getattr(redis.cluster, "LoadBalancingStrategy", None)
    option = (
        {"load_balancing_strategy": strategies.ROUND_ROBIN_REPLICAS} if strategies else {"read_from_replicas": True}
    )
    client = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port, **option))
    store = RedisStore(client, prefix=prefix)
    assert store.swap(USER, Change(None, stored(1)))
    assert stored(1) == store.load(USER)
    assert not {"EVALSHA", "EVAL"} & set(redis.commands.READ_COMMANDS)


def test_a_server_that_forgot_the_scripts_is_told_them_again(
    client: redis.Redis, store: RedisStore, cluster: list[ValkeyServer], prefix: str, closing: ExitStack
) -> None:
    """After a flush, a restart or a failover the next call brings its script along, on every node."""
    store.swap(USER, Change(None, stored(1), (event(1),)))
    client.script_flush()
    assert store.swap(USER, Change(version(1), stored(2), (event(2),)))
    client.script_flush()
    assert (stored(2), [1, 2]) == (store.load(USER), numbers(store))
    nodes = closing.enter_context(redis.RedisCluster(host=HOST, port=cluster[0].port))
    spread = RedisStore(nodes, prefix=prefix)
    each = [closing.enter_context(redis.Redis.from_url(node.url)) for node in cluster]
    for number, user_id in enumerate(LOOKALIKES[:10]):
        for node in each:
            node.script_flush()
        assert spread.swap(user_id, Change(None, stored(number)))
        assert stored(number) == spread.load(user_id)


def parameters(function: Any) -> list[tuple[str, object, object]]:
    """Return how a function is called."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def test_both_faces_have_the_same_methods() -> None:
    """Whatever the blocking store can, the asynchronous one can, with the same parameters."""
    named = [name for name in vars(RedisStore) if not name.startswith("_")]
    assert ["load", "swap", "events", "events_after", "prune_events", "user_ids"] == named
    for name in [*named, "__init__"]:
        own, other = getattr(RedisStore, name), getattr(AsyncRedisStore, name)
        assert (
            list(inspect.signature(own).parameters.items())[2:] == list(inspect.signature(other).parameters.items())[2:]
        )
        assert name == "__init__" or inspect.iscoroutinefunction(other)


def test_a_store_tells_its_prefix_and_no_password(client: redis.Redis) -> None:
    """The representation of a store can be logged."""
    assert "RedisStore(prefix='app')" == repr(RedisStore(client, prefix="app"))
    assert "AsyncRedisStore(prefix='app')" == repr(AsyncRedisStore(redis.asyncio.Redis(), prefix="app"))


# --- what is kept, and the outbox ----------------------------------------------------------------------------------


def test_all_keys_of_a_user_are_in_one_slot_and_go_with_the_user(
    client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """Braces in an id decide about nothing, and after a delete no key and no event has the id any more."""
    for user_id in ("{twofa:00}", "}{", "{}", "{", "a{b}c", "caf\u00e9 {"):
        store.swap(user_id, Change(None, stored(1), (event(1, user_id),)))
        slots = {client.execute_command("CLUSTER", "KEYSLOT", key) for key in client.keys(f"{{{prefix}:*")}
        shard = Keys(prefix).of("", user_id).decode()
        named = [key.decode() for key in client.keys(f"{{{prefix}:*") if not key.startswith(f"{shard}done:".encode())]
        assert sorted(
            f"{shard}{what}" for what in (f"user:{user_id}", f"trail:{user_id}", "events", "users")
        ) == sorted(named)
        assert 1 == len(slots)
        store.swap(user_id, Change(version(1), None))
        assert {f"{shard}events"} == {key.decode() for key in client.keys(f"{{{prefix}:*") if b":done:" not in key}
        assert 0 == client.xlen(f"{shard}events")
        client.delete(*client.keys(f"{{{prefix}:*"))


def test_a_record_is_a_hash_and_an_event_an_entry(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """What is kept can be read with any client, as the documentation says it."""
    store.swap(USER, Change(None, stored(1), (event(7),)))
    keys = Keys(prefix)
    assert {b"version": version(1).encode(), b"document": b"document 1"} == client.hgetall(
        keys.of(f"user:{USER}", USER)
    )
    ((entry_id, fields),) = client.xrange(keys.of("events", USER))
    seconds, micros = client.time()
    assert 0 < seconds * 1_000_000 + micros - int(entry_id.removesuffix(b"-0")) < 60_000_000
    assert {
        b"user": b"user-42",
        b"at": b"1800000007",
        b"kind": b"code_accepted",
        b"detail": b'{"number":7}',
        b"source": b"192.0.2.1",
    } == fields
    assert {entry_id} == client.smembers(keys.of(f"trail:{USER}", USER))
    assert [USER.encode()] == client.zrange(keys.of("users", USER), 0, -1)


def in_shard(shard: int, among: int = 1000) -> str:
    """Return a user id whose events are in a shard."""
    return next(f"u{n}" for n in range(among) if Keys("x").of("", f"u{n}").startswith(f"{{x:{shard:02}}}".encode()))


class Interfering(redis.Redis):
    """A client during one of whose reads something else happens."""

    before: tuple[bytes, Callable[[], None]] | None = None

    def execute_command(self, *words: Any, **options: Any) -> Any:
        if self.before is not None and words[0] == "EVALSHA" and self.before[0] in words:
            (_, happen), self.before = self.before, None
            happen()
        return super().execute_command(*words, **options)


def test_a_page_has_nothing_that_an_earlier_event_is_missing_before(
    store: RedisStore, server: ValkeyServer, prefix: str, closing: ExitStack
) -> None:
    """Of two swaps that fall between the reads of two streams, the later one waits until the earlier one is seen."""
    client = closing.enter_context(Interfering.from_url(server.url))
    reader = RedisStore(client, prefix=prefix)
    users = [in_shard(0), in_shard(9)]
    first = in_shard(4)
    store.swap(first, Change(None, stored(1), (event(0, first),)))

    def meanwhile() -> None:
        for number, user_id in enumerate(users, 1):
            assert store.swap(user_id, Change(None, stored(1), (event(number, user_id),)))

    client.before = (Keys(prefix).of_shard(5, "events"), meanwhile)
    page = reader.events_after()
    assert [event(0, first)] == [entry.event for entry in page]
    rest = reader.events_after(page[-1].cursor)
    assert [event(number, user_id) for number, user_id in enumerate(users, 1)] == [entry.event for entry in rest]


def test_a_stream_is_never_read_past_an_event_that_waits(
    store: RedisStore, server: ValkeyServer, prefix: str, closing: ExitStack
) -> None:
    """Where the clock is set back in the middle of a read, what stands behind an event that waits, waits with it."""
    client = closing.enter_context(Interfering.from_url(server.url))
    user_id, keys = in_shard(9), Keys(prefix)

    def meanwhile() -> None:
        assert store.swap(user_id, Change(None, stored(1), (event(1, user_id),)))
        ((_, texts),) = client.xrange(keys.of("events", user_id))
        client.xadd(keys.of("events", user_id), {**texts, b"at": b"1800000002"}, id="4000000000000000-0")

    client.before = (keys.of_shard(5, "events"), meanwhile)
    reader = RedisStore(client, prefix=prefix)
    assert () == reader.events_after()
    assert [NOW + timedelta(seconds=n) for n in (1, 2)] == [entry.event.at for entry in reader.events_after()]


def test_a_clock_that_was_set_back_holds_nothing_up(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """In a stream that is ahead of the clock events go on in order, and are handed on at once, each of them once."""
    ahead, usual = in_shard(3), in_shard(7)
    far_off = 4_000_000_000_000_000
    client.xadd(Keys(prefix).of("events", ahead), {"user": "gone"}, id=f"{far_off}-5")
    client.xdel(Keys(prefix).of("events", ahead), f"{far_off}-5")
    for number in range(3):
        for user_id in (ahead, usual):
            expected = version(number) if number else None
            assert store.swap(user_id, Change(expected, stored(number + 1), (event(number, user_id),)))
    assert [0, 1, 2] == numbers(store, ahead)
    assert [f"{far_off}-{6 + number}".encode() for number in range(3)] == sorted(
        client.smembers(Keys(prefix).of(f"trail:{ahead}", ahead))
    )
    assert 6 == len(store.events_after())
    read, cursor = [], ""
    while page := store.events_after(cursor, 1):
        read += [entry.event for entry in page]
        cursor = page[-1].cursor
    assert [event(number, user_id) for user_id in (usual, ahead) for number in range(3)] == read
    store.swap(usual, Change(version(3), stored(4), (event(9, usual),)))
    assert [event(9, usual)] == [entry.event for entry in store.events_after(cursor)]


def test_many_events_of_one_swap_keep_their_order(store: RedisStore) -> None:
    """Ids are read as numbers: the tenth event of a swap comes after the second."""
    store.swap(USER, Change(None, stored(1), tuple(event(number) for number in range(25))))
    assert list(range(25)) == numbers(store)
    assert list(range(25)) == [entry.event.detail["number"] for entry in store.events_after()]


def test_old_events_are_erased_a_few_hundred_at_a_time(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """Pruning a long stream takes several scripts, erases all that is old and nothing else, and leaves no trail behind."""
    for number in range(3):
        expected = version(number) if number else None
        happened = tuple(event(300 * number + n) for n in range(300))
        assert store.swap(USER, Change(expected, stored(number + 1), happened))
    assert 700 == store.prune_events(NOW + timedelta(seconds=700))
    assert list(range(700, 900)) == numbers(store)
    assert 200 == client.scard(Keys(prefix).of(f"trail:{USER}", USER))
    assert 200 == store.prune_events(NOW + timedelta(days=1))
    assert 0 == client.exists(Keys(prefix).of(f"trail:{USER}", USER))


@pytest.mark.parametrize(
    "cursor",
    [
        "." * (SHARDS - 2),
        "." * SHARDS,
        "0" + "." * (SHARDS - 1),
        "01" + "." * (SHARDS - 1),
        "1-0" + "." * (SHARDS - 1),
        "1-" + "." * (SHARDS - 1),
        "-1-1" + "." * (SHARDS - 1),
        "A" + "." * (SHARDS - 1),
        "1_0" + "." * (SHARDS - 1),
        " 1" + "." * (SHARDS - 1),
        "\u0661" + "." * (SHARDS - 1),
        "g" + "." * (SHARDS - 1),
        "8" + "0" * 15 + "." * (SHARDS - 1),
        "1-8" + "0" * 15 + "." * (SHARDS - 1),
        "f" * 600 + "." * (SHARDS - 1),
        "." * (SHARDS - 1) + "\n",
    ],
)
def test_a_cursor_is_written_in_one_way_only(cursor: str, store: RedisStore) -> None:
    """What looks like a cursor, and is none that the store would write, is refused."""
    with pytest.raises(ValueError, match="is no cursor of this store"):
        store.events_after(cursor)


def test_a_cursor_is_short_ascii(store: RedisStore) -> None:
    """With an event in every stream, a cursor is at most 560 ASCII characters long, and usually half of it."""
    for shard in range(SHARDS):
        user_id = in_shard(shard)
        store.swap(user_id, Change(None, stored(1), (event(0, user_id), event(1, user_id))))
    entries = store.events_after()
    assert 2 * SHARDS == len(entries)
    assert all(entry.cursor.isascii() and len(entry.cursor) <= 280 for entry in entries)
    widest = ".".join(["7" + "f" * 15 + "-7" + "f" * 15] * SHARDS)
    assert (543, ()) == (len(widest), store.events_after(widest))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_gives_nothing(limit: int, store: RedisStore) -> None:
    """A limit below one is an empty page."""
    store.swap(USER, Change(None, stored(1), (event(1),)))
    assert ((), ()) == (store.events_after(limit=limit), store.user_ids(limit=limit))


# --- the extra -----------------------------------------------------------------------------------------------------


def test_without_a_driver_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither Redis' nor Valkey's client is installed, the error names the extra; either of them will do."""
    for name in [name for name in sys.modules if name.startswith("twofa.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "valkey", None)
    with pytest.raises(ImportError, match=r'pip install "twofa-core\[redis\]"'):
        import_module("twofa.stores.redis")
    monkeypatch.setitem(sys.modules, "valkey", valkey)
    assert import_module("twofa.stores.redis").RedisStore
    for name in [name for name in sys.modules if name.startswith("twofa.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)


def test_nobody_else_pays_for_it() -> None:
    """Neither the package nor its other stores load a driver."""
    program = "import sys, twofa, twofa.stores; twofa.stores.SQLiteStore; print('redis' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "False\n" == ran.stdout


# --- the page ------------------------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "stores-redis.md"


def test_the_page_runs(server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the page from top to bottom meets no error."""
    monkeypatch.setenv("REDIS_URL", server.url)
    names = run_page(PAGE, tmp_path, monkeypatch)
    assert "pending" == names["two_factor"].status(USER).state
    names["client"].close()


@pytest.mark.parametrize("where", ["single", "cluster"])
def test_the_user_of_the_page_is_allowed_what_the_store_does(
    where: str, server: ValkeyServer, cluster: list[ValkeyServer], closing: ExitStack
) -> None:
    """With the rights that the page names a store can do everything, and with the keys of others nothing."""
    page = PAGE.read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("ACL SETUSER twofa")]
    (more,) = re.findall(r"On a cluster add `(.*?)`", page)
    nodes = [server] if where == "single" else cluster
    for node in nodes:
        admin = closing.enter_context(redis.Redis.from_url(node.url))
        admin.execute_command(*line.split(), *(more.split() if where == "cluster" else ()))
        admin.flushall()  # here the prefix is the usual one
        closing.callback(admin.execute_command, "ACL", "DELUSER", "twofa")
    kind: Any = redis.Redis if where == "single" else redis.RedisCluster
    client = closing.enter_context(kind(host=HOST, port=nodes[0].port, username="twofa", password="secret"))
    store = RedisStore(client)
    assert store.swap(USER, Change(None, stored(1), (event(1), event(2))))
    assert (stored(1), [1, 2], 2) == (store.load(USER), numbers(store), len(store.events_after()))
    assert 1 == store.prune_events(NOW + timedelta(seconds=2))
    assert (USER,) == store.user_ids()
    assert store.swap(USER, Change(version(1), None))
    with pytest.raises(redis.exceptions.NoPermissionError):
        RedisStore(client, prefix="other").load(USER)
