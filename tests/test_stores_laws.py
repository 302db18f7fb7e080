"""The laws of `twofa.stores.protocol`, one a method, run on every store that comes with the library.

A store's tests subclass the laws and say how to make a store, and a peer: a second handle on the same data.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from twofa import Event, EventKind
from twofa.stores import Change, Listing, MemoryStore, Outbox, SQLiteStore, Stored, ThreadedStore, Trail

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from twofa.stores import Store

T = TypeVar("T")

USER = "user-42"
THREADS = 12
ROUNDS = 8
NOW = datetime.fromtimestamp(1_800_000_000, UTC)

LOOKALIKES = [
    "user",
    "User",
    "USER",
    "user ",
    " user",
    "user\t",
    "user\n",
    "user%",
    "user_",
    "us%",
    "us_r",
    "%",
    "_",
    "*",
    "user\\",
    "user'",
    'user"',
    "caf\u00e9",
    "cafe\u0301",
    "cafe",
    "stra\u00dfe",
    "strasse",
    "\u0130",
    "i",
    "\u0131",
    "user\u200b",
    "us\u0435r",
    "1",
    "01",
    "1.0",
    "1e0",
    "NULL",
    "\U0001f600",
    "\U0001f600\ufe0f",
    "\uff5e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x" * 254,
    "x" * 255,
    "x" * 254 + "y",
    "\U0001f600" * 255,
]

DOCUMENTS = {
    "sealed": "twofa1.k3y1d." + "Zm9v-_" * 250,
    "every ASCII character": "".join(map(chr, range(1, 128))),
    "spaces at both ends": "  document  ",
    "line breaks": "a\nb\r\nc\rd\n",
    "one character": ".",
    "nothing": "",
    "an integer": "007",
    "a float": "1e5",
    "a null": "NULL",
    "64 kB": "0123456789abcdef" * 4096,
}


def version(number: int) -> str:
    """Return a version as the library makes them, but told from the others at sight."""
    return f"{number:032x}"


def stored(number: int, document: str | None = None) -> Stored:
    """Return a record whose document names its version, unless it is given."""
    return Stored(version(number), f"document {number}" if document is None else document)


def event(number: int = 0, user_id: str = USER, kind: EventKind = EventKind.CODE_ACCEPTED) -> Event:
    """Return an event that is told from the others by a number."""
    return Event(kind, user_id, NOW + timedelta(seconds=number), source="192.0.2.1", detail={"number": number})


def numbers(store: Trail, user_id: str = USER) -> list[object]:
    """Return the numbers of a user's events, in the trail's order."""
    return [event.detail["number"] for event in store.events(user_id)]


@contextmanager
def restless_threads() -> Iterator[None]:
    """Make the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Start all calls at the same instant, each in a thread of its own; return what each returned, or raise."""
    barrier = threading.Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool, restless_threads():
        return [future.result() for future in [pool.submit(start, call) for call in calls]]


# --- the laws ------------------------------------------------------------------------------------------------------


class StoreLaws:
    """What every store owes the library."""

    def make_store(self) -> Store:
        """Return an empty store."""
        raise NotImplementedError("say how to make the store")

    def make_peer(self, store: Store) -> Store:
        """Return a second handle on the data of `store`; the store itself where there can be no other."""
        raise NotImplementedError("say how to open the same data again")

    @pytest.fixture
    def store(self) -> Iterator[Any]:
        """A new store for each law."""
        store = self.make_store()
        yield store
        dispose(store)

    @pytest.fixture
    def peer(self, store: Store) -> Iterator[Any]:
        """A second handle on the same data."""
        peer = self.make_peer(store)
        yield peer
        dispose(peer)

    # one after the other

    def test_an_unknown_user_has_nothing(self, store):
        """Nothing is kept of a user that nothing was ever put for, whoever else is known."""
        assert store.load(USER) is None
        assert store.swap("another", Change(None, stored(1)))
        assert store.load(USER) is None

    @pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
    def test_a_document_comes_back_byte_for_byte(self, store, document):
        """A document comes back as it was put, as a new record and in the place of another."""
        assert store.swap(USER, Change(None, stored(1, document)))
        assert stored(1, document) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(2, "another")))
        assert store.swap(USER, Change(version(2), stored(3, document)))
        assert stored(3, document) == store.load(USER)

    def test_a_loaded_record_is_a_stored(self, store):
        """What is loaded has its version and document as text."""
        store.swap(USER, Change(None, stored(1)))
        loaded = store.load(USER)
        assert (Stored, str, str) == (type(loaded), type(loaded.version), type(loaded.document))

    def test_only_an_absent_record_is_created(self, store):
        """A creator loses against a record that is there, and changes nothing."""
        assert store.swap(USER, Change(None, stored(1))) is True
        assert store.swap(USER, Change(None, stored(2))) is False
        assert store.swap(USER, Change(None, stored(1))) is False
        assert stored(1) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_stale_version_loses_and_changes_nothing(self, store, new):
        """Who expects a version that was replaced loses, and the record stays as it is."""
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), stored(2))) is True
        assert store.swap(USER, Change(version(1), new)) is False
        assert stored(2) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_who_expects_a_record_loses_where_there_is_none(self, store, new):
        """Neither an update nor a delete happens to a user without a record, nor to anyone else."""
        store.swap("another", Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), new)) is False
        assert store.load(USER) is None
        assert stored(1) == store.load("another")

    def test_writing_the_same_document_spends_the_version(self, store):
        """A swap that changes only the version counts as a change, so that the version before is stale."""
        store.swap(USER, Change(None, stored(1, "same")))
        assert store.swap(USER, Change(version(1), stored(2, "same"))) is True
        assert store.swap(USER, Change(version(1), stored(3, "same"))) is False
        assert stored(2, "same") == store.load(USER)

    def test_a_document_that_returns_does_not_bring_its_version_back(self, store):
        """After A, B and A again, who has seen the first A is stale."""
        store.swap(USER, Change(None, stored(1, "A")))
        store.swap(USER, Change(version(1), stored(2, "B")))
        store.swap(USER, Change(version(2), stored(3, "A")))
        assert store.swap(USER, Change(version(1), stored(4, "C"))) is False
        assert stored(3, "A") == store.load(USER)

    def test_a_delete_leaves_nothing(self, store):
        """After a delete there is no record, and it can be created again."""
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), None)) is True
        assert store.load(USER) is None
        assert store.swap(USER, Change(version(1), None)) is False
        assert store.swap(USER, Change(None, stored(2))) is True
        assert stored(2) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_record_made_again_does_not_revive_an_old_writer(self, store, new):
        """Who has seen the record before it was deleted and created again is stale."""
        store.swap(USER, Change(None, stored(1)))
        store.swap(USER, Change(version(1), None))
        store.swap(USER, Change(None, stored(2)))
        assert store.swap(USER, Change(version(1), new)) is False
        assert stored(2) == store.load(USER)

    def test_nothing_can_be_kept_absent(self, store):
        """To delete "only if absent" says whether the user has no record, and deletes none."""
        assert store.swap(USER, Change(None, None)) is True
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(None, None)) is False
        assert stored(1) == store.load(USER)

    def test_lookalike_users_are_kept_apart(self, store):
        """User ids are compared byte for byte: each has a record of its own to create, update and delete."""
        assert len(LOOKALIKES) == len(set(LOOKALIKES))
        for number, user_id in enumerate(LOOKALIKES):
            assert (user_id, None) == (user_id, store.load(user_id))
            assert (user_id, True) == (user_id, store.swap(user_id, Change(None, stored(number))))
        for number, user_id in enumerate(LOOKALIKES):
            assert (user_id, stored(number)) == (user_id, store.load(user_id))
            assert store.swap(user_id, Change(version(number), stored(1000 + number)))
        for number, user_id in enumerate(LOOKALIKES):
            assert (user_id, stored(1000 + number)) == (user_id, store.load(user_id))
            assert store.swap(user_id, Change(version(1000 + number), None))
            assert store.load(user_id) is None

    def test_another_handle_sees_a_win_at_once(self, store, peer):
        """What one handle has put, replaced or deleted, the other one loads, and cannot win against."""
        assert store.swap(USER, Change(None, stored(1)))
        assert stored(1) == peer.load(USER)
        assert peer.swap(USER, Change(None, stored(2))) is False
        assert peer.swap(USER, Change(version(1), stored(2)))
        assert stored(2) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(3))) is False
        assert store.swap(USER, Change(version(2), None))
        assert peer.load(USER) is None

    # at the same instant, half of them through the peer

    def test_one_of_many_creators_wins(self, store, peer):
        """Of any number of creators of one record exactly one is told that it won, and its record is there."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            won = race(store, peer, user_id, [Change(None, stored(number)) for number in range(THREADS)])
            assert [stored(number) for number in won] == [store.load(user_id)]

    def test_one_of_many_updaters_wins(self, store, peer):
        """Of any number of updaters of one version exactly one is told that it won, and its record is there."""
        store.swap(USER, Change(None, stored(0)))
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [Change(version(held), stored(first + number)) for number in range(THREADS)]
            (won,) = race(store, peer, USER, changes)
            held = first + won
            assert stored(held) == store.load(USER)

    def test_one_of_many_deleters_wins(self, store, peer):
        """Of any number of deleters exactly one is told that it won, and nothing is left."""
        for round_ in range(ROUNDS):
            store.swap(USER, Change(None, stored(round_)))
            assert 1 == len(race(store, peer, USER, [Change(version(round_), None)] * THREADS))
            assert store.load(USER) is None

    def test_an_updater_and_a_deleter_never_both_win(self, store, peer):
        """Of updaters and deleters of one version exactly one wins, and what it wanted is what is left."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            store.swap(user_id, Change(None, stored(1000)))
            wanted = [stored(number) if number % 3 else None for number in range(THREADS)]
            won = race(store, peer, user_id, [Change(version(1000), new) for new in wanted])
            assert [wanted[number] for number in won] == [store.load(user_id)]

    def test_no_update_is_lost(self, store, peer):
        """A count that threads raise by load and swap, trying again when they lose, ends at the sum."""
        store.swap(USER, Change(None, stored(0, "0")))
        workers, each = 6, 6

        def work(handle: Store, worker: int) -> list[str]:
            spent: list[str] = []
            while len(spent) < each:
                held = handle.load(USER)
                assert held is not None
                mine = Stored(version(1000 * (worker + 1) + int(held.document)), str(int(held.document) + 1))
                if handle.swap(USER, Change(held.version, mine)):
                    spent.append(held.version)
            return spent

        handles = [store, peer] * (workers // 2)
        calls = [lambda h=handle, n=number: work(h, n) for number, handle in enumerate(handles)]
        spent = [each for worker in at_once(calls) for each in worker]
        assert str(workers * each) == store.load(USER).document
        assert len(spent) == len(set(spent))

    def test_swaps_of_different_users_do_not_disturb_each_other(self, store, peer):
        """Everyone wins who is alone with a user."""
        handles = [store, peer] * (THREADS // 2)
        calls = [
            lambda h=handle, n=number: h.swap(f"user-{n}", Change(None, stored(n)))
            for number, handle in enumerate(handles)
        ]
        assert [True] * THREADS == at_once(calls)
        assert [stored(number) for number in range(THREADS)] == [store.load(f"user-{n}") for n in range(THREADS)]


class TrailLaws(StoreLaws):
    """What a store owes that keeps a trail."""

    def test_it_keeps_a_trail(self, store):
        """The store has the ability that is judged here."""
        assert isinstance(store, Trail)
        assert [] == list(store.events(USER))

    def test_an_event_comes_back_as_it_was(self, store):
        """Kind, user, time, source and detail come back with their types, hostile text and all."""
        hostile = "'; DROP TABLE users; --\n\u202e\U0001f600%_\"\\" + "x" * 200
        detail = {"reason": hostile, "remaining": 0, "big": 2**53, "yes": True, "no": False, "nothing": None, "": ""}
        events = (
            Event(EventKind.SETUP_BEGUN, USER, NOW),
            Event(EventKind.CODE_REJECTED, USER, NOW, source="", detail=detail),
            Event(EventKind.CODE_REJECTED, USER, NOW, source=hostile, detail={}),
        )
        assert store.swap(USER, Change(None, stored(1), events))
        assert events == tuple(store.events(USER))
        kept = store.events(USER)[1].detail
        assert [(name, type(value)) for name, value in detail.items()] == [(n, type(v)) for n, v in kept.items()]

    def test_every_kind_of_event_is_kept(self, store):
        """No kind of event is lost or changed."""
        events = tuple(Event(kind, USER, NOW) for kind in EventKind)
        assert store.swap(USER, Change(None, stored(1), events))
        assert list(EventKind) == [event.kind for event in store.events(USER)]

    @pytest.mark.parametrize("seconds", [0, 2**31 - 1, 2**31, 2**32 + 1, 253402300799])
    def test_an_event_time_is_kept_as_aware_utc(self, store, seconds):
        """A time comes back to the second, before and after 2038 and 2106, and tells its zone."""
        at = datetime.fromtimestamp(seconds, UTC)
        store.swap(USER, Change(None, stored(1), (Event(EventKind.CODE_ACCEPTED, USER, at),)))
        (kept,) = store.events(USER)
        assert (at, timedelta(0)) == (kept.at, kept.at.utcoffset())

    def test_the_trail_grows_in_order(self, store):
        """Events stand in the order of the swaps, and within one swap in the order they were given."""
        store.swap(USER, Change(None, stored(0), (event(0), event(1))))
        store.swap(USER, Change(version(0), stored(1)))
        store.swap(USER, Change(version(1), stored(2), (event(2), event(-1))))
        assert [0, 1, 2, -1] == numbers(store)

    def test_an_event_is_kept_only_if_its_swap_won(self, store):
        """A swap that lost, whatever it wanted, leaves no event."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        assert not store.swap(USER, Change(None, stored(2), (event(2),)))
        assert not store.swap(USER, Change(version(9), stored(3), (event(3),)))
        assert not store.swap(USER, Change(version(9), None, (event(4),)))
        assert not store.swap(USER, Change(None, None, (event(5),)))
        assert not store.swap("another", Change(version(1), stored(6), (event(6, "another"),)))
        assert [1] == numbers(store)
        assert [] == list(store.events("another"))

    def test_a_delete_erases_the_trail(self, store):
        """Nothing is left of a user whose record is deleted, except what happened with that very step."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap("another", Change(None, stored(1), (event(1, "another"),)))
        assert store.swap(USER, Change(version(1), None, (event(2),)))
        assert [2] == numbers(store)
        store.swap(USER, Change(None, stored(3), (event(3),)))
        assert store.swap(USER, Change(version(3), None))
        assert [] == list(store.events(USER))
        assert [1] == numbers(store, "another")

    def test_lookalike_users_have_trails_of_their_own(self, store):
        """Nobody's trail shows, or loses, an event of a user whose id looks alike."""
        for number, user_id in enumerate(LOOKALIKES):
            store.swap(user_id, Change(None, stored(number), (event(number, user_id),)))
        for number, user_id in enumerate(LOOKALIKES):
            assert (event(number, user_id),) == tuple(store.events(user_id))
            store.swap(user_id, Change(version(number), None))
            assert () == tuple(store.events(user_id))

    def test_another_handle_sees_the_trail_at_once(self, store, peer):
        """What one handle has written, the other one reads."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        peer.swap(USER, Change(version(1), stored(2), (event(2),)))
        assert [1, 2] == numbers(store) == numbers(peer)

    def test_a_race_leaves_the_winners_events_only(self, store, peer):
        """The trail tells of exactly the swaps that won, in the order in which they did."""
        store.swap(USER, Change(None, stored(0)))
        expected: list[int] = []
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [
                Change(version(held), stored(first + number), (event(first + number),)) for number in range(THREADS)
            ]
            (won,) = race(store, peer, USER, changes)
            held = first + won
            expected.append(held)
        assert expected == numbers(store)


class OutboxLaws(TrailLaws):
    """What a store owes whose trail is an outbox."""

    def test_it_is_an_outbox(self, store):
        """The store has the ability that is judged here, and an empty outbox hands nothing on."""
        assert isinstance(store, Outbox)
        assert [] == list(store.events_after())

    def test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps(self, store, peer):
        """Events come swap after swap, whoever they are about and through whichever handle they were written."""
        said = []
        for number, user_id in enumerate(LOOKALIKES):
            handle = (store, peer)[number % 2]
            happened = (event(number, user_id), event(-number, user_id))
            assert handle.swap(user_id, Change(None, stored(number), happened))
            said.extend(happened)
        assert said == [entry.event for entry in store.events_after(limit=1000)]
        assert said == [entry.event for entry in peer.events_after(limit=1000)]
        assert 100 == len(store.events_after()) or len(said) <= 100

    @pytest.mark.parametrize("limit", [1, 3, 5, 100])
    def test_a_reader_that_keeps_its_cursor_misses_and_repeats_nothing(self, store, peer, limit):
        """From any cursor on, also with another handle, come exactly the events after it."""
        for number in range(5):
            store.swap(f"user-{number}", Change(None, stored(number), (event(number, f"user-{number}"),)))
        everything = list(store.events_after())
        cursor, read = "", []
        while page := list(peer.events_after(cursor, limit)):
            assert len(page) <= limit
            read.extend(page)
            cursor = page[-1].cursor
        assert everything == read
        for number, entry in enumerate(everything):
            assert everything[number + 1 :] == list(store.events_after(entry.cursor))

    def test_what_comes_later_stands_after_every_cursor(self, store):
        """A reader that has read everything gets what happens afterwards, once."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        (first,) = store.events_after()
        assert [] == list(store.events_after(first.cursor))
        store.swap("another", Change(None, stored(2), (event(2, "another"),)))
        (second,) = store.events_after(first.cursor)
        assert (event(2, "another"), []) == (second.event, list(store.events_after(second.cursor)))

    def test_a_swap_that_lost_hands_nothing_on(self, store):
        """Only what happened is handed on."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap(USER, Change(None, stored(2), (event(2),)))
        store.swap(USER, Change(version(9), None, (event(3),)))
        assert [event(1)] == [entry.event for entry in store.events_after()]

    def test_a_cursor_outlives_its_event(self, store):
        """After its event is erased, a cursor still stands where it stood, and erased events are not handed on."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap("another", Change(None, stored(1), (event(2, "another"), event(3, "another"))))
        first, second, _ = (entry.cursor for entry in store.events_after())
        store.swap("another", Change(version(1), None))
        store.swap("third", Change(None, stored(1), (event(4, "third"),)))
        assert [event(4, "third")] == [entry.event for entry in store.events_after(first)]
        assert [event(4, "third")] == [entry.event for entry in store.events_after(second)]
        store.prune_events(NOW + timedelta(seconds=5))
        assert [] == list(store.events_after(first))
        store.swap(USER, Change(version(1), stored(5), (event(5),)))
        assert [event(5)] == [entry.event for entry in store.events_after(second)]

    @pytest.mark.parametrize("cursor", ["x", "-1", "1; DROP TABLE twofa_event", "\u0661", "1" * 400, "9" * 19, "\0"])
    def test_a_cursor_that_the_store_did_not_make_is_refused(self, store, cursor):
        """Nothing is handed on after a cursor of unknown origin, and the refusal says what to do."""
        with pytest.raises(ValueError, match="cursor"):
            store.events_after(cursor)

    def test_pruning_erases_what_is_older_and_nothing_else(self, store, peer):
        """Events before the given instant go from every trail and from the outbox; those at it or later stay."""
        store.swap(USER, Change(None, stored(1), (event(10), event(30))))
        store.swap("another", Change(None, stored(1), (event(20, "another"), event(19, "another"))))
        assert 0 == store.prune_events(NOW)
        assert 2 == peer.prune_events(NOW + timedelta(seconds=20))
        assert [30] == numbers(store)
        assert [20] == numbers(store, "another")
        assert [30, 20] == [entry.event.detail["number"] for entry in store.events_after()]
        assert 1 == store.prune_events(NOW + timedelta(seconds=20, microseconds=1))
        assert [event(30)] == [entry.event for entry in store.events_after()]
        assert stored(1) == store.load("another")

    def test_pruning_reads_the_time_zone(self, store):
        """An instant is the same in every zone, and a time without a zone is refused."""
        store.swap(USER, Change(None, stored(1), (event(10),)))
        east = (NOW + timedelta(seconds=10)).astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert 0 == store.prune_events(east)
        with pytest.raises(ValueError, match="zone"):
            store.prune_events(NOW.replace(tzinfo=None))
        assert 1 == store.prune_events(east + timedelta(seconds=1))

    def test_a_reader_beside_writers_misses_nothing(self, store, peer):
        """Whoever reads while others write, cursor by cursor, has read every event exactly once in the end."""
        done = threading.Event()
        read: list[Event] = []

        def reader() -> None:
            cursor, last = "", False
            while True:
                page = list(peer.events_after(cursor, 7))
                read.extend(entry.event for entry in page)
                cursor = page[-1].cursor if page else cursor
                if last and not page:
                    return
                last = done.is_set()

        def writer(number: int) -> None:
            for round_ in range(ROUNDS):
                user_id = f"user-{number}-{round_}"
                (store, peer)[round_ % 2].swap(user_id, Change(None, stored(1), (event(round_, user_id),) * 2))

        with ThreadPoolExecutor(THREADS + 1) as pool, restless_threads():
            reading = pool.submit(reader)
            for writing in [pool.submit(writer, number) for number in range(THREADS)]:
                writing.result()
            done.set()
            reading.result()
        assert [entry.event for entry in store.events_after(limit=10_000)] == read
        assert 2 * THREADS * ROUNDS == len(read)


class ListingLaws(StoreLaws):
    """What a store owes that can list its users."""

    def test_it_lists_its_users(self, store):
        """The store has the ability that is judged here."""
        assert isinstance(store, Listing)
        assert [] == list(store.user_ids())

    def test_every_user_with_a_record_is_listed_once(self, store):
        """Whatever their ids look like, all users are listed, once, and in one order."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        listed = list(store.user_ids())
        assert sorted(LOOKALIKES) == sorted(listed)
        assert listed == list(store.user_ids())

    @pytest.mark.parametrize("limit", [1, 7, len(LOOKALIKES), 1000])
    def test_pages_add_up_to_the_list(self, store, limit):
        """Passing the last id on until a page is empty gives the whole list, page after page of the limit's length."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        pages: list[list[str]] = [list(store.user_ids(limit=limit))]
        while pages[-1]:
            pages.append(list(store.user_ids(after=pages[-1][-1], limit=limit)))
        assert list(store.user_ids(limit=1000)) == [user_id for page in pages for user_id in page]
        assert {min(limit, len(LOOKALIKES))} == {len(page) for page in pages[: len(LOOKALIKES) // limit or 1]}

    def test_a_hundred_are_listed_unless_more_are_asked_for(self, store):
        """Without a limit a page has a hundred users."""
        for number in range(101):
            store.swap(f"user-{number:03}", Change(None, stored(number)))
        first = list(store.user_ids())
        assert (100, 1) == (len(first), len(store.user_ids(first[-1])))

    def test_a_page_goes_on_after_a_user_that_is_gone(self, store):
        """The id to go on from need not be there any more."""
        for user_id in "abc":
            store.swap(user_id, Change(None, stored(1)))
        store.swap("b", Change(version(1), None))
        assert ["c"] == list(store.user_ids(after="b"))
        assert ["a", "c"] == list(store.user_ids())

    def test_a_swap_that_lost_lists_nobody(self, store):
        """Only a record makes a user: neither a lost swap nor an event does."""
        store.swap(USER, Change(version(1), stored(2), (event(),)))
        store.swap("another", Change(None, None, (event(user_id="another"),)))
        assert [] == list(store.user_ids())


def race(store: Store, peer: Store, user_id: str, changes: Sequence[Change]) -> list[int]:
    """Try all changes at once, every other one through the peer; return which of them were told that they won."""
    calls = [
        lambda h=(store, peer)[number % 2], change=change: h.swap(user_id, change)
        for number, change in enumerate(changes)
    ]
    won = [number for number, said in enumerate(at_once(calls)) if said]
    assert 1 == len(won)
    return won


def dispose(store: object) -> None:
    """Close a store that can be closed."""
    getattr(store, "close", lambda: None)()


# --- the stores ----------------------------------------------------------------------------------------------------


class Awaited:
    """An asynchronous store called like a blocking one: each call runs in an event loop of its own."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner() as runner:
            return runner.run(call)

    def load(self, user_id: str) -> Any:
        return self._run(self._store.load(user_id))

    def swap(self, user_id: str, change: Change) -> Any:
        return self._run(self._store.swap(user_id, change))

    def events(self, user_id: str) -> Any:
        return self._run(self._store.events(user_id))

    def events_after(self, cursor: str = "", limit: int = 100) -> Any:
        return self._run(self._store.events_after(cursor, limit))

    def prune_events(self, before: datetime) -> Any:
        return self._run(self._store.prune_events(before))

    def user_ids(self, after: str = "", limit: int = 100) -> Any:
        return self._run(self._store.user_ids(after, limit))


class TestMemoryStore(OutboxLaws, ListingLaws):
    """`MemoryStore` keeps the laws."""

    def make_store(self):
        return MemoryStore()

    def make_peer(self, store):
        return store


class TestSQLiteStoreInMemory(OutboxLaws, ListingLaws):
    """`SQLiteStore` keeps the laws in memory."""

    def make_store(self):
        return SQLiteStore(":memory:")

    def make_peer(self, store):
        return store


class TestSQLiteStore(OutboxLaws, ListingLaws):
    """`SQLiteStore` keeps the laws in a file."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "app.db"

    def make_store(self):
        return SQLiteStore(self.path)

    def make_peer(self, store):
        return SQLiteStore(store.path)


class TestThreadedStore(OutboxLaws, ListingLaws):
    """`ThreadedStore` keeps the laws over a store that keeps them."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "app.db"
        self.blocking: list[SQLiteStore] = []
        yield
        for store in self.blocking:
            store.close()

    def make_store(self):
        self.blocking.append(SQLiteStore(self.path))
        return Awaited(ThreadedStore(self.blocking[-1]))

    def make_peer(self, store):  # noqa: ARG002  # the data is in the file
        return self.make_store()
