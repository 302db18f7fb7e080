"""P4 on Redis: a reply that gets lost, or that belongs to somebody else, neither grants nor repeats anything."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import racing
import redis
import redis.asyncio
from crashes import CASES, Judge, face_on
from interleave import Scene, attempt, told
from proxy import proxy_to
from redis.backoff import NoBackoff
from redis_stores import behind_a_proxy, impatient, outcome_of, shard_key
from support import USER, World
from valkey_server import HOST, on_redis

from twofa import Change, Stored
from twofa.errors import OutcomeUnknown
from twofa.stores.protocol import UnexpectedAnswer
from twofa.stores.redis import AsyncRedisStore, RedisStore, scripts
from twofa.stores.redis.scripts import REMEMBERED_SECONDS, REMEMBERED_SWAPS
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.samples import event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from valkey_server import ValkeyServer

pytestmark = on_redis


SWAP = scripts.SWAP.name.encode()


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
        same_mark(f"mark {number} is unique")
        assert [True, True] == [store.swap(USER, change), store.swap(USER, change)]
    assert (None, [3]) == (store.load(USER), numbers(store))
    assert [event(3)] == [entry.event for entry in store.events_after()]
    same_mark("mark 4 is unique")
    assert store.swap(USER, Change(None, stored(4)))
    same_mark("mark 0 is unique")
    assert store.swap(USER, create) is True
    assert (stored(4), [3]) == (store.load(USER), numbers(store))


def test_a_swap_that_lost_may_be_sent_again(store: RedisStore, same_mark: Callable[[str], None]) -> None:
    """A swap that lost leaves no mark: sent again, it loses again."""
    store.swap(USER, Change(None, stored(1)))
    same_mark("the mark of a swap")
    assert [False, False] == [store.swap(USER, Change(None, stored(2))) for _ in range(2)]


@pytest.mark.parametrize(("swaps", "known"), [(REMEMBERED_SWAPS - 1, True), (REMEMBERED_SWAPS, False)])
def test_a_swap_is_known_until_four_others_have_happened(
    swaps: int, known: bool, store: RedisStore, same_mark: Callable[[str], None]
) -> None:
    """A record has the marks of its last four swaps: one that is sent again after them is refused, and changes nothing."""
    for number in range(swaps + 1):
        same_mark(f"mark {number} is unique")
        assert store.swap(USER, Change(version(number - 1) if number else None, stored(number)))
    same_mark("mark 0 is unique")
    assert known is store.swap(USER, Change(None, stored(0)))
    assert stored(swaps) == store.load(USER)


def test_the_mark_of_a_delete_says_nothing_of_its_user_and_goes_after_ten_minutes(
    client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """What is kept of a deleted user is random, and the next delete in the shard removes what has expired."""
    key = shard_key(prefix, USER)
    store.swap(USER, Change(None, stored(1)))
    store.swap(USER, Change(version(1), None))
    (mark,) = marks_of_deletes(client, key)
    seconds, micros = client.time()
    expires = int(mark[1:17]) - (seconds * 1_000_000 + micros)
    assert 590_000_000 < expires <= 600_000_000 == REMEMBERED_SECONDS * 1_000_000
    assert re.fullmatch(rb"m[0-9]{16}[0-9a-f]{32}", mark)

    client.zadd(key, {b"m%016d" % (seconds * 1_000_000) + mark[17:]: 0})
    client.zrem(key, mark)
    store.swap(USER, Change(None, stored(2)))
    store.swap(USER, Change(version(2), None))
    (left,) = marks_of_deletes(client, key)
    assert mark[17:] not in left


def marks_of_deletes(client: redis.Redis, key: bytes) -> list[bytes]:
    """Return what a shard keeps of swaps that deleted a user."""
    return client.zrange(key, "[m", "(n", bylex=True)


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


# answers to somebody else's question


class OutOfStep(redis.Redis):
    """A client whose replies are one behind: each call gets the reply to the one before, as on a shared connection."""

    late: list[Any] = []  # noqa: RUF012  # one for the test

    def execute_command(self, *words: Any, **options: Any) -> Any:
        if words[0] == "INFO":
            return super().execute_command(*words, **options)
        self.late.append(super().execute_command(*words, **options))
        return self.late[-2] if len(self.late) > 1 else self.late[0]


def test_the_answer_to_another_question_is_never_believed(
    server: ValkeyServer, store: RedisStore, prefix: str, closing: ExitStack
) -> None:
    """P3 and P1: a neighbour's answer reads neither as "no second factor" nor as a swap that happened."""
    for user_id in ("one", "two"):
        assert store.swap(user_id, Change(None, stored(1)))
    client = closing.enter_context(OutOfStep.from_url(server.url))
    OutOfStep.late = []
    client.late.append(None)
    with pytest.raises(UnexpectedAnswer, match="has answered another question"):
        RedisStore(client, prefix=prefix)
    del client.late[:]
    confused = RedisStore.__new__(RedisStore)
    vars(confused).update({**vars(store), "_client": client})
    client.late.append(None)
    for call in (
        lambda: confused.load("nobody"),
        lambda: confused.load("one"),  # gets: "nobody" has no record
        lambda: confused.load("one"),  # gets: the same about "one", but to the question before
        lambda: confused.swap("one", Change(version(1), stored(2))),
        lambda: confused.swap("two", Change(version(1), stored(2))),  # gets: yes, for "one"
        lambda: confused.events("one"),
        confused.user_ids,
        confused.events_after,
    ):
        with pytest.raises(UnexpectedAnswer, match="is the connection in a transaction of yours, or shared"):
            call()


@pytest.mark.parametrize("reply", [None, b"QUEUED", b"", 0, 1, [], [b"twofa"], [b"a secret of the host", None]])
def test_a_reply_that_is_no_answer_is_refused(
    reply: Any, server: ValkeyServer, prefix: str, closing: ExitStack
) -> None:
    """P1, P3 and P11: only a whole answer is believed, and the error tells nothing of what came instead."""

    class Mumbling(redis.Redis):
        def execute_command(self, *words: Any, **options: Any) -> Any:
            return reply if mumbling else super().execute_command(*words, **options)

    mumbling = False
    store = RedisStore(closing.enter_context(Mumbling.from_url(server.url)), prefix=prefix)
    mumbling = True
    for call in (lambda: store.load(USER), lambda: store.swap(USER, Change(None, stored(1)))):
        with pytest.raises(UnexpectedAnswer, match="has answered another question, with a ") as refused:
            call()
        assert "secret" not in str(refused.value)


def test_an_answer_for_another_user_is_refused(client: redis.Redis, prefix: str) -> None:
    """P3: an answer names the user that was asked for."""

    class Mistaken(redis.Redis):
        def execute_command(self, *words: Any, **options: Any) -> Any:
            words = tuple(b"another" if word == USER.encode() else word for word in words)
            return super().execute_command(*words, **options)

    with Mistaken(connection_pool=client.connection_pool) as mistaken:
        store = RedisStore(mistaken, prefix=prefix, shards=1)
        with pytest.raises(UnexpectedAnswer, match="has answered for another user"):
            store.load(USER)
