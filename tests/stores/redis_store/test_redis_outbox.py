"""What the Redis stores keep, and the outbox: in order, complete, and never blocked by a clock that is wrong."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis_stores import shard_key, users_of_shard
from support import USER
from valkey_server import on_redis

from twofa import Change, EventKind, Stored
from twofa.stores.redis import RedisStore, scripts
from twofa.stores.redis.layout import MOST_EVENTS
from twofa.testing.samples import NOW, event, numbers, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from valkey_server import ValkeyServer

pytestmark = on_redis

AHEAD = 4_000_000_000_000_000
"""Microseconds: a time in the year 2096."""


def members(client: redis.Redis, key: bytes) -> list[bytes]:
    """Return what is in a shard, without the identity of its store."""
    return [member for member in client.zrange(key, 0, -1) if not member.startswith(b"!")]


def read_all(store: RedisStore, limit: int) -> list[Any]:
    """Read the outbox page by page."""
    read: list[Any] = []
    cursor = ""
    while page := store.events_after(cursor, limit):
        assert len(page) <= limit
        read += [entry.event for entry in page]
        cursor = page[-1].cursor
    return read


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["{twofa:00}", "}{", "{}", "{", "a{b}c", "caf\u00e9 {", "user\n", "user 1"])
def test_everything_about_a_user_is_in_one_key_and_goes_with_the_user(
    user_id: str, client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """Braces in an id decide about nothing, and after a delete nothing has the id any more."""
    key = shard_key(prefix, user_id)
    assert store.swap(user_id, Change(None, stored(1), (event(1, user_id), event(2, user_id))))
    touched = [each for each in client.keys(f"{{{prefix}:*") if b"store" not in each and members(client, each)]
    assert [key] == touched
    assert 5 == sum(user_id.encode() in member for member in members(client, key))
    assert store.swap(user_id, Change(version(1), None))
    assert [b"e", b"m"] == [member[:1] for member in members(client, key)]
    assert not [member for member in members(client, key) if user_id.encode() in member]


def test_what_is_kept_can_be_read_with_any_client(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """The members of a shard are as the documentation says."""
    store.swap(USER, Change(None, stored(1), (event(7),)))
    outbox, trail, record = members(client, shard_key(prefix, USER))
    time = outbox[1:17]
    seconds, micros = client.time()
    assert 0 < seconds * 1_000_000 + micros - int(time) < 60_000_000
    assert b"e" + time + b'00001800000007 user-42\0code_accepted\n{"number":7}\n192.0.2.1' == outbox
    assert b"tuser-42\0" + time + b"0000" == trail
    name, _, rest = record.partition(b"\0")
    assert (b"uuser-42", version(1).encode(), b"document 1") == (name, *rest.split(b"\n")[::2])
    assert {0.0} == {score for _, score in client.zrange(shard_key(prefix, USER), 0, -1, withscores=True)}


def test_what_cannot_be_kept_is_refused(store: RedisStore) -> None:
    """A version with a line break and a change with too many events are refused before anything is written."""
    with pytest.raises(ValueError, match="a version must not contain a line break"):
        store.swap(USER, Change(None, Stored("a\nb", "document")))
    with pytest.raises(ValueError, match="a change can have 1000 events at most, not 1001"):
        store.swap(USER, Change(None, stored(1), (event(1),) * (MOST_EVENTS + 1)))
    assert store.load(USER) is None
    assert store.swap(USER, Change(None, stored(1), (event(1),) * MOST_EVENTS))
    assert MOST_EVENTS == len(store.events(USER)) == len(store.events_after(limit=2000))
    assert store.swap(USER, Change(version(1), None, (event(1),) * MOST_EVENTS))
    assert MOST_EVENTS == len(store.events(USER))


def test_many_events_of_one_swap_keep_their_order(store: RedisStore) -> None:
    """Ids are read as numbers: the tenth event of a swap comes after the second."""
    store.swap(USER, Change(None, stored(1), tuple(event(number) for number in range(25))))
    assert list(range(25)) == numbers(store)
    assert list(range(25)) == [entry.event.detail["number"] for entry in store.events_after()]


def test_an_event_of_a_newer_version_holds_nothing_up(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """An event of a kind that this version does not know is handed on as such, and so are those after it."""
    store.swap(USER, Change(None, stored(1), (event(1), event(2))))
    key = shard_key(prefix, USER)
    (first, _) = client.zrange(key, "[e", "(f", bylex=True)
    client.zrem(key, first)
    client.zadd(key, {first.replace(b"code_accepted", b"passkey_added"): 0})
    handed_on = [entry.event for entry in store.events_after()]
    assert [EventKind.UNKNOWN, EventKind.CODE_ACCEPTED] == [each.kind for each in handed_on]
    assert {"number": 1, "kind": "passkey_added"} == handed_on[0].detail
    assert handed_on == list(store.events(USER))


# --- pruning ---------------------------------------------------------------------------------------------------------


def test_old_events_are_erased_a_few_hundred_at_a_time(client: redis.Redis, store: RedisStore, prefix: str) -> None:
    """Pruning a long outbox takes several scripts, erases all that is old and nothing else, and leaves no trail behind."""
    for number in range(3):
        expected = version(number) if number else None
        happened = tuple(event(300 * number + n) for n in range(300))
        assert store.swap(USER, Change(expected, stored(number + 1), happened))
    calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert 700 == store.prune_events(NOW + timedelta(seconds=700))
    assert 255 + 3 == client.info("commandstats")["cmdstat_evalsha"]["calls"] - calls
    assert list(range(700, 900)) == numbers(store)
    assert 2 * 200 + 1 == len(members(client, shard_key(prefix, USER)))
    assert 200 == store.prune_events(NOW + timedelta(days=1))
    assert [b"e", b"u"] == [member[:1] for member in members(client, shard_key(prefix, USER))]


@pytest.mark.parametrize("how", ["pruned", "deleted", "deleted with an event"])
def test_time_does_not_go_back_where_the_last_event_was_erased(
    how: str, client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """After the last event of a shard that was ahead of the clock is erased, the next one still stands after it."""
    one, other = users_of_shard(7, 2)
    key = shard_key(prefix, one)
    client.zadd(key, {f"e{AHEAD}9999": 0})
    assert store.swap(one, Change(None, stored(1), (event(1, one), event(2, one))))
    cursor = store.events_after()[-1].cursor
    if how == "pruned":
        assert 2 == store.prune_events(NOW + timedelta(days=1))
    else:
        assert store.swap(one, Change(version(1), None, (event(3, one),) if "event" in how else ()))
    assert store.swap(other, Change(None, stored(1), (event(4, other),)))
    expected = [event(3, one), event(4, other)] if "event" in how else [event(4, other)]
    assert expected == [entry.event for entry in store.events_after(cursor)]
    assert len(expected) == sum(member.startswith(b"e") for member in members(client, key))


# --- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [7, 100, 1000])
def test_pages_are_full_and_in_order_however_uneven_the_shards_are(limit: int, store: RedisStore) -> None:
    """A backlog that is nearly all in one shard comes in full pages, in the order of the swaps."""
    (busy,) = users_of_shard(100)
    happened: list[Any] = []
    for number in range(10):
        quiet = f"quiet-{number}"
        some = tuple(event(50 * number + n, busy) for n in range(50))
        assert store.swap(busy, Change(version(number) if number else None, stored(number + 1), some))
        assert store.swap(quiet, Change(None, stored(1), (event(number, quiet),)))
        happened += [*some, event(number, quiet)]
    assert min(limit, 510) == len(store.events_after(limit=limit))
    assert happened == read_all(store, limit)


def test_a_page_of_everything_is_complete_however_many_shards_have_more(watched: Watched, prefix: str) -> None:
    """Where eighty shards have twice their share of a page, all of them are asked for more, and all at once."""
    store = RedisStore(watched, prefix=prefix)
    happened: list[Any] = []
    for number in range(100):
        user_id = f"user-{number}"
        some = tuple(event(n, user_id) for n in range(40))
        assert store.swap(user_id, Change(None, stored(1), some))
        happened += some
    watched.seen.clear()
    assert happened == [entry.event for entry in store.events_after(limit=4000)]
    assert 6 >= watched.seen.count(scripts.OUTBOX.name)


def test_a_list_of_users_is_complete_however_uneven_the_shards_are(store: RedisStore) -> None:
    """Users who are nearly all in one shard are listed in full pages, in the order of their bytes."""
    users = [*users_of_shard(100, 60), *(f"v{number}" for number in range(10))]
    for user_id in users:
        assert store.swap(user_id, Change(None, stored(1)))
    assert sorted(users) == list(store.user_ids())
    listed: list[str] = []
    while page := store.user_ids(listed[-1] if listed else "", 7):
        listed += page
    assert sorted(users) == listed


class Watched(redis.Redis):
    """A client that notes which scripts are run, and lets something happen before one of them."""

    seen: list[object]
    before: tuple[str, Callable[[], None]] | None = None

    def execute_command(self, *words: Any, **options: Any) -> Any:
        if words[0] == "EVALSHA":
            self.seen.append(words[1])
            if self.before is not None and self.before[0] == words[1]:
                (_, happen), self.before = self.before, None
                happen()
        return super().execute_command(*words, **options)


@pytest.fixture
def watched(server: ValkeyServer, closing: ExitStack) -> Watched:
    """A client that can be watched."""
    client = closing.enter_context(Watched.from_url(server.url))
    client.seen = []
    return client


def test_looking_for_new_events_writes_nothing(watched: Watched, store: RedisStore, prefix: str) -> None:
    """Where nothing has happened, a page costs one script that only reads."""
    store.swap(USER, Change(None, stored(1), (event(1),)))
    reader = RedisStore(watched, prefix=prefix)
    cursor = reader.events_after()[-1].cursor
    watched.seen.clear()
    assert () == reader.events_after(cursor)
    assert [scripts.OUTBOX.name] == watched.seen
    assert "no-writes" in scripts.OUTBOX.text


def test_what_happens_while_a_page_is_read_is_in_it_or_after_it(
    watched: Watched, store: RedisStore, prefix: str
) -> None:
    """Of two shards of which one is ahead, a swap that comes between the reads is in the page, and the next one after."""
    (ahead,), (meanwhile,), (later,) = (users_of_shard(shard) for shard in (3, 4, 5))
    watched.zadd(shard_key(prefix, ahead), {f"e{AHEAD}9999": 0})
    store.swap(ahead, Change(None, stored(1), (event(1, ahead),)))
    reader = RedisStore(watched, prefix=prefix)
    watched.before = (
        scripts.CLOSE_PAGE.name,
        lambda: _true(store.swap(meanwhile, Change(None, stored(1), (event(2, meanwhile),)))),
    )
    page = reader.events_after()
    assert [event(2, meanwhile), event(1, ahead)] == [entry.event for entry in page]
    assert store.swap(later, Change(None, stored(1), (event(3, later),)))
    assert [event(3, later)] == [entry.event for entry in reader.events_after(page[-1].cursor)]
    assert [event(1, ahead), event(3, later)] == [entry.event for entry in reader.events_after(page[0].cursor)]


def _true(happened: bool) -> None:
    assert happened


def test_a_page_that_ends_inside_a_swap_is_gone_on_with(watched: Watched, store: RedisStore, prefix: str) -> None:
    """The events of one swap have one time: a page may end between them, and a swap of another shard comes after."""
    one, other = users_of_shard(3)[0], users_of_shard(4)[0]
    reader = RedisStore(watched, prefix=prefix)
    store.swap(one, Change(None, stored(1), tuple(event(number, one) for number in range(5))))
    first = reader.events_after(limit=2)
    store.swap(other, Change(None, stored(1), (event(9, other),)))
    rest = reader.events_after(first[-1].cursor)
    assert [0, 1] == [entry.event.detail["number"] for entry in first]
    assert [2, 3, 4, 9] == [entry.event.detail["number"] for entry in rest]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_clock_that_was_set_back_holds_nothing_up(
    limit: int, client: redis.Redis, store: RedisStore, prefix: str
) -> None:
    """With a shard that is ahead of the clock, each event is handed on at once and once, and each user's are in order."""
    ahead, usual = users_of_shard(3)[0], users_of_shard(7)[0]
    client.zadd(shard_key(prefix, ahead), {f"e{AHEAD}9999": 0})
    read: list[Any] = []
    cursor = ""
    for number in range(6):
        for user_id in (ahead, usual):
            expected = version(number) if number else None
            assert store.swap(user_id, Change(expected, stored(number + 1), (event(number, user_id),)))
        if number % 2:
            while page := store.events_after(cursor, limit):
                read += [entry.event for entry in page]
                cursor = page[-1].cursor
            assert 2 * (number + 1) == len(read)
    for user_id in (ahead, usual):
        assert [event(number, user_id) for number in range(6)] == [each for each in read if each.user_id == user_id]
    assert Counter({ahead: 6, usual: 6}) == Counter(each.user_id for each in read)
    assert read == read_all(store, 1000) == read_all(store, 1)


# --- cursors ---------------------------------------------------------------------------------------------------------

GOOD = "1795559797552521-0000-115"


@pytest.mark.parametrize(
    "cursor",
    [
        GOOD + " ",
        GOOD + "\n",
        " " + GOOD,
        GOOD[1:],
        "0" + GOOD,
        GOOD.replace("-0000-", "-000-"),
        GOOD.replace("-115", "-0115"),
        GOOD.replace("-115", "-256"),
        GOOD.replace("-115", "--1"),
        GOOD.replace("-115", "-1_1"),
        GOOD.replace("1", "\u0661"),
        GOOD.replace("-", "."),
        GOOD.rpartition("-")[0],
        GOOD + "-1",
        "9" * 5000,
        "0-0-0",
    ],
)
def test_a_cursor_is_written_in_one_way_only(cursor: str, store: RedisStore) -> None:
    """What looks like a cursor, and is none that the store would write, is refused."""
    assert () == store.events_after(GOOD)
    with pytest.raises(ValueError, match="is no cursor of this store"):
        store.events_after(cursor)


def test_a_cursor_is_short_ascii(store: RedisStore) -> None:
    """A cursor has at most 27 ASCII characters, however many shards there are."""
    for number in range(300):
        store.swap(f"user-{number}", Change(None, stored(1), (event(number, f"user-{number}"),)))
    entries = store.events_after(limit=1000)
    assert 300 == len(entries)
    assert all(entry.cursor.isascii() and 23 <= len(entry.cursor) <= 25 for entry in entries)
    assert 27 == len(GOOD.replace("115", "16383"))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_gives_nothing(limit: int, store: RedisStore) -> None:
    """A limit below one is an empty page."""
    store.swap(USER, Change(None, stored(1), (event(1),)))
    assert ((), ()) == (store.events_after(limit=limit), store.user_ids(limit=limit))
