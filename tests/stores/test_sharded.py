"""`ShardedStore` keeps every law of the kit, and notices when a shard is not in its place."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from failing_store import Awaiting
from hypothesis import settings
from misled import Misled, watch

from twofa import KeyRing, TwoFactor
from twofa.stores import (
    AsyncShardedStore,
    Change,
    MemoryStore,
    ShardedStore,
    SQLiteStore,
    Stored,
    ThreadedStore,
    UnexpectedAnswer,
)
from twofa.stores.sharded import outbox
from twofa.stores.sharded.layout import MARK_ID, Layout, Mark, next_step, shard_of
from twofa.testing import (
    AsyncFailureConformance,
    AsyncListingConformance,
    AsyncOutboxConformance,
    AsyncProcessConformance,
    AsyncStoreMachine,
    FailureConformance,
    HostTransactionConformance,
    ListingConformance,
    OutboxConformance,
    ProcessConformance,
    StatedAbsenceConformance,
    StoreMachine,
)
from twofa.testing.event_loop import Blocking, EventLoop
from twofa.testing.samples import NOW, USER, event, number_of, stored, version
from twofa.testing.user_ids import LOOKALIKES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHARDS = 3


# --- the laws --------------------------------------------------------------------------------------------------------


class TestShardsInMemory(OutboxConformance, ListingConformance):
    """Shards in memory keep the laws, half of the calls through a second sharded store on the same shards."""

    def make_store(self):
        self.shards = [MemoryStore() for _ in range(SHARDS)]
        return ShardedStore(self.shards)

    def make_peer(self, store):
        return ShardedStore(self.shards)


def open_files(paths: list[str]) -> ShardedStore:
    """Open shards in files, in any process."""
    return ShardedStore([SQLiteStore(path) for path in paths])


def open_threaded_files(paths: list[str]) -> AsyncShardedStore:
    """Open the same for the asynchronous face."""
    return AsyncShardedStore([ThreadedStore(SQLiteStore(path)) for path in paths])


def drop_tables(paths: list[str]) -> None:
    """Take the tables of all shards away behind their backs."""
    for path in paths:
        with closing(sqlite3.connect(path)) as connection:
            for table in ("twofa_record", "twofa_event"):
                connection.execute(f"DROP TABLE {table}")


class TestShardsInFiles(
    OutboxConformance,
    ListingConformance,
    ProcessConformance,
    HostTransactionConformance,
    FailureConformance,
    StatedAbsenceConformance,
):
    """Shards in files keep the laws."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = [str(tmp_path / f"shard-{number}.db") for number in range(SHARDS)]
        watch(monkeypatch)

    def make_store(self):
        return open_files(self.paths)

    def make_peer(self, store):
        return open_files(self.paths)

    def make_opener(self, store):
        return partial(open_files, self.paths)

    @contextmanager
    def host_transaction(self, store):
        with closing(sqlite3.connect(self.paths[0])) as connection:
            connection.execute("BEGIN")
            assert connection.execute("SELECT count(*) FROM twofa_record").fetchone()
            yield
            connection.execute("ROLLBACK")

    def cut_off(self, store):
        drop_tables(self.paths)

    def lose_answers(self, store):
        Misled.lost = True

    def swap_answers(self, store, user_id):
        Misled.about = user_id


class TestAsyncShards(
    AsyncOutboxConformance, AsyncListingConformance, AsyncProcessConformance, AsyncFailureConformance
):
    """Asynchronous shards keep the laws."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path):
        self.paths = [str(tmp_path / f"shard-{number}.db") for number in range(SHARDS)]
        self.files: list[SQLiteStore] = []
        yield
        for store in self.files:
            store.close()

    def make_store(self):
        opened = [SQLiteStore(path) for path in self.paths]
        self.files += opened
        return AsyncShardedStore([ThreadedStore(store) for store in opened])

    def make_peer(self, store):
        return self.make_store()

    def make_opener(self, store):
        return partial(open_threaded_files, self.paths)

    async def cut_off(self, store):
        drop_tables(self.paths)


class ShardedMachine(StoreMachine):
    """Shards in memory beside the model."""

    def make_store(self):
        self.shards = [MemoryStore() for _ in range(SHARDS)]
        return ShardedStore(self.shards)

    def make_peer(self, store):
        return ShardedStore(self.shards)


class AsyncShardedMachine(AsyncStoreMachine):
    """The same for asynchronous shards."""

    def make_store(self):
        self.shards = [ThreadedStore(MemoryStore()) for _ in range(SHARDS)]
        return AsyncShardedStore(self.shards)

    def make_peer(self, store):
        return AsyncShardedStore(self.shards)


TestShardedMachine = ShardedMachine.TestCase
TestShardedMachine.settings = settings(max_examples=20)
TestAsyncShardedMachine = AsyncShardedMachine.TestCase
TestAsyncShardedMachine.settings = settings(max_examples=5)


# --- both faces ------------------------------------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """An event loop to run asynchronous stores in."""
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture(params=["blocking", "async"])
def sharded(request: pytest.FixtureRequest, loop: EventLoop) -> Callable[[list[Any]], Any]:
    """A function that makes a sharded store of blocking stores; either face is called like a blocking one."""
    if request.param == "blocking":
        return ShardedStore
    return lambda shards: Blocking(AsyncShardedStore([ThreadedStore(shard) for shard in shards]), loop)


@pytest.fixture
def shards() -> list[MemoryStore]:
    """Empty shards."""
    return [MemoryStore() for _ in range(SHARDS)]


def users_of(shard: int, shards: int = SHARDS) -> Iterator[str]:
    """Yield user ids that are kept in one shard."""
    return (user_id for number in count() if shard_of(user_id := f"user-{number}", shards) == shard)


# --- where users are -------------------------------------------------------------------------------------------------


def test_users_are_spread_evenly_and_for_ever():
    """Each of eight shards has an eighth of the users, give or take a tenth, and the same ones in every version."""
    kept = [shard_of(f"user-{number}", 8) for number in range(16_000)]
    assert all(1_800 < kept.count(shard) < 2_200 for shard in range(8))
    assert [2, 3, 7, 5, 4, 7] == [
        shard_of(each, 8) for each in ("user-1", "user-2", "alice", "Alice", "", "\U0001f600")
    ]


def test_a_user_is_in_one_shard_alone(sharded, shards):
    """The record and the events of a user are where the hash of the id says, and nowhere else."""
    store = sharded(shards)
    for user_id in LOOKALIKES:
        store.swap(user_id, Change(None, stored(1), (event(1, user_id),)))
        assert [user_id in shard.user_ids(limit=1000) for shard in shards].count(True) == 1
        assert stored(1) == shards[shard_of(user_id, SHARDS)].load(user_id)


def test_the_id_of_the_marks_is_no_users(sharded, shards):
    """The one user id that is taken is refused, in words that say why."""
    store = sharded(shards)
    for call in (
        lambda: store.load(MARK_ID),
        lambda: store.swap(MARK_ID, Change(None, stored(1))),
        lambda: store.events(MARK_ID),
    ):
        with pytest.raises(ValueError, match="no user can be called 'twofa-shard'"):
            call()


def test_the_marks_are_in_no_list(sharded, shards):
    """Pages have users only, and as many as were asked for, wherever the mark would stand among them."""
    store = sharded(shards)
    users = [f"twofa-{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    for user_id in users:
        store.swap(user_id, Change(None, stored(1)))
    for limit in range(1, len(users) + 1):
        listed: list[str] = []
        while page := store.user_ids(after=listed[-1] if listed else "", limit=limit):
            assert len(page) == limit or len(listed) + len(page) == len(users)
            listed += page
        assert users == sorted(listed)


def test_a_login_works_on_shards(shards):
    """The library neither knows nor cares that its store is several."""
    face = TwoFactor(ShardedStore(shards), keys=KeyRing(KeyRing.generate_key()), issuer="Example")
    face.begin_setup(USER, account_name="alice")
    assert "pending" == face.status(USER).state
    assert ["setup_begun"] == [str(each.kind) for each in ShardedStore(shards).events(USER)]


# --- shards in their places ------------------------------------------------------------------------------------------


def fill(store: Any) -> None:
    """Put a user into each shard."""
    for shard in range(SHARDS):
        assert store.swap(next(users_of(shard)), Change(None, stored(shard)))


def everything_raises(store: Any, match: str) -> None:
    """Hold a store to saying nothing about the users of any shard, and to writing nothing."""
    for user_id in (next(users_of(shard)) for shard in range(SHARDS)):
        with pytest.raises(UnexpectedAnswer, match=match):
            store.load(user_id)
        with pytest.raises(UnexpectedAnswer, match=match):
            store.swap(user_id, Change(None, stored(9)))


def test_each_shard_says_which_it_is(sharded, shards):
    """The marks can be read by whoever has to tell databases apart."""
    fill(sharded(shards))
    documents = [shard.load(MARK_ID).document for shard in shards]
    (layout,) = {document.split()[6].rstrip(",") for document in documents}
    assert [f"shard {number} of 3 in layout {layout}, complete" for number in range(SHARDS)] == documents


def test_a_missing_shard_is_noticed(sharded, shards):
    """With one store less, users would be looked for where they are not: nothing is read or written."""
    fill(sharded(shards))
    store = sharded(shards[:2])
    for user_id in (next(users_of(shard, 2)) for shard in range(2)):
        with pytest.raises(
            UnexpectedAnswer, match=r"of 2 says that it is shard \d of 3: give the same stores in the same"
        ):
            store.load(user_id)


def test_one_shard_more_is_noticed(sharded, shards):
    """With one store more, neither."""
    fill(sharded(shards))
    store = sharded([*shards, MemoryStore()])
    for user_id in (next(users_of(shard, 4)) for shard in range(4)):
        with pytest.raises(UnexpectedAnswer, match=r"of 4 says that it is shard \d of 3"):
            store.load(user_id)


def test_exchanged_shards_are_noticed(sharded, shards):
    """In another order, only the users of the shard that is in its place are served."""
    fill(sharded(shards))
    store = sharded([shards[0], shards[2], shards[1]])
    assert stored(0) == store.load(next(users_of(0)))
    for shard in (1, 2):
        with pytest.raises(
            UnexpectedAnswer, match=f"given as shard {shard} of 3 says that it is shard {3 - shard} of 3"
        ):
            store.load(next(users_of(shard)))


@pytest.mark.parametrize("lost", range(SHARDS))
def test_a_shard_that_lost_its_data_is_noticed(sharded, shards, lost):
    """An empty database in the place of one does not read as "no second factor" for its users."""
    fill(sharded(shards))
    store = sharded([*shards[:lost], MemoryStore(), *shards[lost + 1 :]])
    with pytest.raises(
        UnexpectedAnswer, match=rf"shard {lost} of 3 has no mark any more: it was emptied, restored from"
    ):
        store.load(next(users_of(lost)))
    for other in set(range(SHARDS)) - {lost}:
        assert stored(other) == store.load(next(users_of(other)))


def test_a_shard_of_another_layout_is_noticed(sharded, shards):
    """A shard of another installation with as many shards is not taken for this one's."""
    fill(sharded(shards))
    others = [MemoryStore() for _ in range(SHARDS)]
    fill(sharded(others))
    store = sharded([shards[0], others[1], shards[2]])
    assert stored(0) == store.load(next(users_of(0)))
    with pytest.raises(UnexpectedAnswer, match="shard 1 and shard 0 belong to different layouts"):
        store.load(next(users_of(1)))


def test_something_else_in_the_place_of_a_mark_is_refused(sharded, shards):
    """A record of that id that is none of ours is neither believed nor overwritten."""
    shards[1].swap(MARK_ID, Change(None, stored(1)))
    everything_raises(sharded(shards), "given as shard 1 has something else than a mark")
    assert stored(1) == shards[1].load(MARK_ID)


def test_a_layout_that_was_interrupted_is_completed(sharded, shards):
    """Whoever comes after a crash in the middle of making the marks goes on with it."""
    for step in range(SHARDS + 1):
        copies = [MemoryStore() for _ in shards]
        for shard, copy in zip(shards, copies, strict=True):
            held = shard.load(MARK_ID)
            assert held is None or copy.swap(MARK_ID, Change(None, held))
        fill(sharded(copies))
        number, change = next_step([shard.load(MARK_ID) for shard in shards])
        assert step % SHARDS == number
        assert shards[number].swap(MARK_ID, change)
    assert next_step([shard.load(MARK_ID) for shard in shards]) is None


def test_a_layout_that_mixes_two_is_not_completed(shards):
    """A mark of another layout in the middle of making one is no reason to go on."""
    first = Mark(number=0, count=2, layout="a" * 32, complete=False).stored()
    other = Mark(number=1, count=2, layout="b" * 32).stored()
    with pytest.raises(UnexpectedAnswer, match="shard 1 belongs to another layout than shard 0"):
        next_step([first, other])


def test_many_may_make_the_layout_at_once(shards):
    """Of threads that use new shards for the first time, each with a store of its own, all agree on one layout."""
    barrier = threading.Barrier(8)
    stores = [ShardedStore(shards) for _ in range(8)]

    def use(store: ShardedStore) -> None:
        barrier.wait(60)
        assert store.load(USER) is None

    threads = [threading.Thread(target=use, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layouts = {Mark.read(shard.load(MARK_ID), number, SHARDS).layout for number, shard in enumerate(shards)}
    assert 1 == len(layouts)


def test_a_layout_that_is_made_while_its_marks_are_read_is_no_loss(sharded):
    """Marks that appear one after the other, while they are looked at, are not taken for shards that lost theirs."""

    class Late(MemoryStore):
        """A shard that is read right before another process makes the layout."""

        then: Callable[[], object] | None = None

        def load(self, user_id: str) -> Stored | None:
            held, then, self.then = super().load(user_id), self.then, None
            if then is not None:
                then()
            return held

    late = [Late() for _ in range(SHARDS)]
    store = sharded(late)
    late[0].then = lambda: ShardedStore(late).load(USER)
    assert store.load(next(users_of(2))) is None
    assert late[0].then is None


class LosesEverySwap(MemoryStore):
    """A shard where another process is always faster by one step."""

    def swap(self, user_id: str, change: Change) -> bool:
        super().swap(user_id, change)
        return False


def test_whoever_loses_the_making_of_a_mark_goes_on_with_the_winners(sharded):
    """A mark that another process made is as good as one's own."""
    store = sharded([LosesEverySwap() for _ in range(SHARDS)])
    assert store.load(USER) is None


def test_a_shard_is_looked_at_once(sharded, shards):
    """After the first use of a shard its mark is read no more."""
    asked: list[str] = []

    class Watched(MemoryStore):
        def load(self, user_id: str) -> Stored | None:
            asked.append(user_id)
            return super().load(user_id)

    store = sharded([Watched()])
    store.load(USER)
    asked.clear()
    store.load(USER)
    assert [USER] == asked


class Down(MemoryStore):
    """A shard whose server does not answer."""

    def load(self, user_id: str) -> Stored | None:
        raise ConnectionError("the server is down")


def test_a_shard_that_is_down_concerns_its_own_users_only(sharded, shards):
    """Others sign in, and nobody of that shard reads as a user without a second factor."""
    fill(sharded(shards))
    store = sharded([shards[0], Down(), shards[2]])
    assert [stored(0), stored(2)] == [store.load(next(users_of(shard))) for shard in (0, 2)]
    with pytest.raises(ConnectionError, match="the server is down"):
        store.load(next(users_of(1)))


def test_what_is_known_of_a_layout_is_what_was_read():
    """A layout that is still being made is not taken for one that is complete."""
    layout = Layout(2)
    assert not layout.learn(0, None)
    assert not layout.learn(0, Mark(number=0, count=2, layout="a" * 32, complete=False).stored())
    assert not layout.knows(0)
    assert layout.learn(0, Mark(number=0, count=2, layout="a" * 32).stored())
    assert layout.knows(0)


# --- one outbox ------------------------------------------------------------------------------------------------------


def test_no_reader_sees_a_stamp(sharded, shards):
    """The trail and the outbox show the events as they were given, and the shards alone have the time of the swap."""
    store = sharded(shards)
    store.swap(USER, Change(None, stored(1), (event(1),)))
    assert [event(1)] == list(store.events(USER)) == [entry.event for entry in store.events_after()]
    ((kept,),) = [shard.events(USER) for shard in shards if shard.events(USER)]
    assert {"number", outbox.STAMP} == set(kept.detail)


def test_events_from_before_the_shards_come_first(sharded, shards):
    """A store that was in use before it became a shard keeps its events, and they are handed on."""
    old = next(users_of(2))
    shards[2].swap(old, Change(None, stored(1), (event(1, old),)))
    store = sharded(shards)
    store.swap(USER, Change(None, stored(2), (event(2),)))
    assert [event(1, old), event(2)] == [entry.event for entry in store.events_after()]


class Interrupted(MemoryStore):
    """A shard where something happens right after its outbox was read for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.then: list[Callable[[], object]] = []

    def events_after(self, cursor: str = "", limit: int = 100) -> Any:
        page = super().events_after(cursor, limit)
        if self.then:
            self.then.pop()()
        return page


def test_an_event_never_comes_before_one_whose_swap_had_returned(sharded):
    """What happens in two shards while they are read one after the other is handed on in the order it happened."""
    shards = [Interrupted(), MemoryStore(), MemoryStore()]
    store = sharded(shards)
    fill(store)
    early, late = next(users_of(0)), next(users_of(1))

    def two_swaps() -> None:
        other = ShardedStore(shards)
        assert other.swap(early, Change(version(0), stored(10), (event(10, early),)))
        assert other.swap(late, Change(version(1), stored(11), (event(11, late),)))

    shards[0].then.append(two_swaps)
    page = store.events_after()
    rest = store.events_after(page[-1].cursor if page else "")
    assert [event(10, early), event(11, late)] == [entry.event for entry in (*page, *rest)]


def test_clocks_that_disagree_lose_and_repeat_nothing(sharded, monkeypatch):
    """Whatever each machine's clock says, a reader gets every event once, and those of one user in their order."""
    random = Random(7)
    shards = [MemoryStore() for _ in range(SHARDS)]
    store = sharded(shards)
    monkeypatch.setattr(outbox.time, "time_ns", lambda: random.randrange(10**18))
    wanted: dict[str, list[int]] = {}
    read: list[Any] = []
    cursor = ""
    for number in range(300):
        user_id = f"user-{random.randrange(12)}"
        held = store.load(user_id)
        change = Change(held and held.version, stored(number), (event(number, user_id),))
        assert store.swap(user_id, change)
        wanted.setdefault(user_id, []).append(number)
        if random.random() < 0.3:
            page = store.events_after(cursor, random.randrange(1, 9))
            read += page
            cursor = page[-1].cursor if page else cursor
    while page := store.events_after(cursor, 7):
        read += page
        cursor = page[-1].cursor
    got: dict[str, list[int]] = {}
    for entry in read:
        got.setdefault(entry.event.user_id, []).append(number_of(entry.event))
    assert wanted == got


@pytest.mark.parametrize("cursor", ['["1","2"]', "[1,2,3]", "{}", '["x","",""]', "[" * 9_000, '"abc"', "null"])
def test_a_cursor_of_other_shards_is_refused(sharded, shards, cursor):
    """A cursor has a place in each of these shards, as that shard wrote it."""
    with pytest.raises(ValueError, match="is no cursor of this store"):
        sharded(shards).events_after(cursor)


def test_a_cursor_is_text(sharded, shards):
    """`None`, from a table that holds no cursor yet, is told how the first run begins."""
    with pytest.raises(TypeError, match="a cursor is str, and the first run begins with '', not NoneType"):
        sharded(shards).events_after(None)


# --- what can be a shard ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ShardedStore, AsyncShardedStore])
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([], ValueError, "give at least one shard"),
        ([MemoryStore()] * 2, ValueError, "none twice"),
        ([MemoryStore], TypeError, "a shard must be a store, with load and swap, and not <class"),
        (["app.db"], TypeError, "a shard must be a store, with load and swap, and not 'app.db'"),
    ],
    ids=["none", "twice", "class", "path"],
)
def test_shards_that_are_none_are_refused(kind, given, error, message):
    """What cannot be a shard is refused when the store is made, in words that say what can."""
    with pytest.raises(error, match=message):
        kind(given)


class TwoMethods:
    """A store without any ability beyond the two methods."""

    def __init__(self) -> None:
        inner = MemoryStore()
        self.load, self.swap = inner.load, inner.swap

    def __repr__(self) -> str:
        return "TwoMethods()"


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (lambda store: store.events(USER), "events"),
        (lambda store: store.events_after(), "events_after"),
        (lambda store: store.prune_events(NOW), "prune_events"),
        (lambda store: store.user_ids(), "user_ids"),
    ],
    ids=["events", "events_after", "prune_events", "user_ids"],
)
def test_an_ability_that_a_shard_lacks_is_named(call, method):
    """Asking for what a shard does not keep is a TypeError that names the shard."""
    with pytest.raises(TypeError, match=rf"TwoMethods\(\) lacks this optional ability .* no method {method}\(\)"):
        call(ShardedStore([TwoMethods()]))


def test_every_shard_is_asked_what_is_wrong_with_it(sharded, shards):
    """Each finding names the shard that it is about, on either face."""
    found = sharded(shards).diagnose(0)
    assert ["in_memory"] * SHARDS == [finding.code for finding in found]
    assert ["shard 0", "shard 1", "shard 2"] == [finding.message.partition(":")[0] for finding in found]


def test_a_shard_that_cannot_say_what_is_wrong_is_passed_over(loop):
    """A host's own stores need no more than the two methods, among those that have more."""
    store = Blocking(AsyncShardedStore([Awaiting(MemoryStore()), ThreadedStore(MemoryStore())]), loop)
    assert ["shard 1"] == [finding.message.partition(":")[0] for finding in store.diagnose(0)]


def test_closing_closes_every_shard(tmp_path):
    """The store closes what can be closed, also at the end of a `with`."""
    files = [SQLiteStore(tmp_path / f"{number}.db") for number in range(2)]
    with ShardedStore([*files, MemoryStore()]) as store:
        assert store.load(USER) is None
    for file in files:
        with pytest.raises(ValueError, match="is closed"):
            file.load(USER)


def test_closing_the_asynchronous_store_closes_every_shard(loop):
    """The asynchronous store awaits the closing of those that can be closed."""
    closed: list[int] = []

    class Closing(ThreadedStore):
        async def aclose(self) -> None:
            closed.append(1)

    store = AsyncShardedStore([Closing(MemoryStore()), ThreadedStore(MemoryStore())])
    loop.run(store.aclose())
    assert [1] == closed


def test_the_repr_shows_the_shards():
    """The repr says what it is made of."""
    assert "ShardedStore([MemoryStore(), MemoryStore()])" == repr(ShardedStore([MemoryStore(), MemoryStore()]))
    threaded = [ThreadedStore(MemoryStore())]
    assert "AsyncShardedStore([ThreadedStore(MemoryStore())])" == repr(AsyncShardedStore(threaded))
