"""`RedisStore` and `AsyncRedisStore` on real servers: one Valkey, and a cluster of three."""

from __future__ import annotations

import asyncio
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
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from redis.backoff import NoBackoff
from redis.retry import Retry

from interleave import Scene, attempt, state_of, told
from proxy import proxy_to
from support import FAST, USER, Clock, World
from test_crash import CASES, Judge, face_on
from test_races import NOW as RACE_NOW
from test_races import enrolled, guess_in_parallel, race_processes, race_threads
from test_races import face_on as race_face_on
from twofa import Change, TwoFactor, Verification
from twofa.errors import CodeReused, OutcomeUnknown
from twofa.stores.redis import AsyncRedisStore, RedisStore, scripts
from twofa.stores.redis.clients import judge
from twofa.stores.redis.cursors import SHARDS
from twofa.stores.redis.talk import REMEMBERED, Keys
from twofa.testing import (
    AsyncFailureConformance,
    AsyncHostTransactionConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncProcessConformance,
    AsyncStoreMachine,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StoreMachine,
)
from twofa.testing.awaited import Blocking, EventLoop
from twofa.testing.racing import restless_threads
from twofa.testing.samples import LOOKALIKES, NOW, event, numbers, stored, version
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
    def _prepare(self, cluster: list[ValkeyServer], prefix: str, closing: ExitStack) -> None:
        self.prefix, self.port = prefix, cluster[0].port
        self.make_client = lambda: closing.enter_context(redis.RedisCluster(host=HOST, port=self.port))

    def make_store(self):
        return RedisStore(self.make_client(), prefix=self.prefix)

    def make_peer(self, store):
        return self.make_store()


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

    @pytest.fixture(autouse=True)
    def _prepare(self, cluster: list[ValkeyServer], prefix: str, loop: EventLoop, closing: ExitStack) -> Any:
        self.prefix, self.port, self.clients = prefix, cluster[0].port, []
        yield
        for client in self.clients:
            loop.run(client.aclose())

    def make_store(self):
        self.clients.append(redis.asyncio.RedisCluster(host=HOST, port=self.port))
        return AsyncRedisStore(self.clients[-1], prefix=self.prefix)

    def make_peer(self, store):
        return self.make_store()


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
    race_threads(method, store, RedisStore(client, prefix=prefix), 15)


def test_of_32_threads_on_a_cluster_one_is_accepted(cluster: list[ValkeyServer], prefix: str) -> None:
    """P1: the same through three nodes, asked by way of two of them."""
    with (
        redis.RedisCluster(host=HOST, port=cluster[0].port) as one,
        redis.RedisCluster(host=HOST, port=cluster[1].port) as other,
    ):
        race_threads("totp", RedisStore(one, prefix=prefix), RedisStore(other, prefix=prefix), 15)


def test_of_8_processes_one_is_accepted(server: ValkeyServer, prefix: str) -> None:
    """P1: 8 processes submit one code at the same instant: one acceptance each time."""
    race_processes(partial(open_store, server.url, prefix), 30)


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
    return redis.Redis(host=HOST, port=proxy.port, retry=Retry(NoBackoff(), retries))


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
        face = race_face_on(cut_off, world.clock)
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
        face = race_face_on(cut_off, world.clock)
        cut_off.load(USER)
        proxy.refuse()
        proxy.cut_after(SWAP)
        assert "OutcomeUnknown" == outcome_of(lambda: face.verify(USER, phone.code()))
        proxy.refuse(False)
        assert "CodeReused" == outcome_of(lambda: face.verify(USER, phone.code()))
    assert 1 == Counter(told(store.events(USER)))["code_accepted"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "awaiting"])
def test_the_driver_as_it_comes_sends_a_swap_again(
    asynchronous: bool, server: ValkeyServer, store: RedisStore, prefix: str, closing: ExitStack
) -> None:
    """With the retries that a client has by default, a lost answer goes by unseen, and nothing is written twice."""
    proxy = closing.enter_context(proxy_to((HOST, server.port)))
    cut_off: Any
    if asynchronous:
        loop = EventLoop()
        closing.callback(loop.close)
        client = redis.asyncio.Redis(host=HOST, port=proxy.port)
        closing.callback(lambda: loop.run(client.aclose()))
        cut_off = Blocking(AsyncRedisStore(client, prefix=prefix), loop)
    else:
        cut_off = RedisStore(closing.enter_context(redis.Redis(host=HOST, port=proxy.port)), prefix=prefix)
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
    return lambda mark: monkeypatch.setattr("twofa.entropy.random_token", lambda: mark)


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


def test_a_mark_says_nothing_of_its_user_and_goes_by_itself(
    client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """What is kept of a swap to know it again is random, and gone after ten minutes."""
    store.swap(USER, Change(None, stored(1)))
    (mark,) = client.keys(f"{{{prefix}:*}}:done:*")
    assert (b"", True) == (client.get(mark), 0 < client.ttl(mark) <= REMEMBERED == 600)
    assert USER.encode() not in mark


# --- a server that is killed ---------------------------------------------------------------------------------------


def test_what_was_acknowledged_outlives_a_killed_server(prefix: str) -> None:
    """P1 and P4: killed in the middle of load, the server has every acknowledged code as used, and no code twice."""
    users = [f"user-{number}" for number in range(120)]
    with valkey_server() as server, redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client:
        store = RedisStore(client, prefix=prefix)
        secrets = dict(zip(users, enrolled(store, users), strict=True))
        face = race_face_on(store, Clock(RACE_NOW))
        enough = threading.Semaphore(0)

        def sign_in(user_id: str) -> Any:
            try:
                return outcome_of(lambda: face.verify(user_id, secrets[user_id][0]))
            except redis.ConnectionError:  # before anything was done: the record could not be loaded
                return "ConnectionError"
            finally:
                enough.release()

        with ThreadPoolExecutor(8) as pool, restless_threads():
            under_load = [pool.submit(sign_in, user_id) for user_id in users]
            for _ in range(40):
                enough.acquire()
            server.kill()
            first = [future.result() for future in under_load]
        server.start()
        second = [outcome_of(lambda: face.verify(user_id, secrets[user_id][0])) for user_id in users]

        assert {"Verification", "OutcomeUnknown", "ConnectionError"} >= set(first)
        assert 32 <= first.count("Verification") < len(users)
        for user_id, before, after in zip(users, first, second, strict=True):
            assert (user_id, before, after) != (user_id, "Verification", "Verification")
            assert after in {"Verification", "CodeReused"}
            accepted = [one for one in store.events(user_id) if one.kind == "code_accepted"]
            assert (user_id, 1) == (user_id, len(accepted))
        outbox = Counter(entry.event.user_id for entry in store.events_after(limit=10_000))
        assert {user_id: len(store.events(user_id)) for user_id in users} == outbox
