"""What a store owes whose trail is an outbox: a reader that keeps its cursor misses and repeats nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from twofa.stores.protocol import Change, Outbox
from twofa.testing.racing import restless_threads
from twofa.testing.samples import LOOKALIKES, NOW, USER, event, numbers, stored, version
from twofa.testing.store_conformance import ROUNDS, THREADS
from twofa.testing.trail_conformance import TrailConformance

if TYPE_CHECKING:
    from twofa.events import Event
    from twofa.stores.protocol import OutboxEntry


class OutboxConformance(TrailConformance):
    """What a store owes whose trail is an outbox."""

    def test_it_is_an_outbox(self, store: Any) -> None:
        """The store has the ability that is judged here, and an empty outbox hands nothing on."""
        assert isinstance(store, Outbox)
        assert [] == list(store.events_after())

    def test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps(self, store: Any, peer: Any) -> None:
        """Events come swap after swap, whoever they are about and through whichever handle they were written."""
        said: list[Event] = []
        for number, user_id in enumerate(LOOKALIKES):
            handle = (store, peer)[number % 2]
            happened = (event(number, user_id), event(-number, user_id))
            assert handle.swap(user_id, Change(None, stored(number), happened))
            said += happened
        assert said == [entry.event for entry in store.events_after(limit=1000)]
        assert said == [entry.event for entry in peer.events_after(limit=1000)]
        assert 100 == len(store.events_after()) or len(said) <= 100

    @pytest.mark.parametrize("limit", [1, 3, 5, 100])
    def test_a_reader_that_keeps_its_cursor_misses_and_repeats_nothing(self, store: Any, peer: Any, limit: int) -> None:
        """From any cursor on, also with another handle, come exactly the events after it."""
        for number in range(5):
            store.swap(f"user-{number}", Change(None, stored(number), (event(number, f"user-{number}"),)))
        everything = list(store.events_after())
        cursor = ""
        read: list[OutboxEntry] = []
        while page := list(peer.events_after(cursor, limit)):
            assert len(page) <= limit
            read.extend(page)
            cursor = page[-1].cursor
        assert everything == read
        for number, entry in enumerate(everything):
            assert everything[number + 1 :] == list(store.events_after(entry.cursor))

    def test_what_comes_later_stands_after_every_cursor(self, store: Any) -> None:
        """A reader that has read everything gets what happens afterwards, once."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        assert 1 == len(store.events_after())
        (first,) = store.events_after()
        assert [] == list(store.events_after(first.cursor))
        store.swap("another", Change(None, stored(2), (event(2, "another"),)))
        (second,) = store.events_after(first.cursor)
        assert (event(2, "another"), []) == (second.event, list(store.events_after(second.cursor)))

    def test_a_swap_that_lost_hands_nothing_on(self, store: Any) -> None:
        """Only what happened is handed on."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap(USER, Change(None, stored(2), (event(2),)))
        store.swap(USER, Change(version(9), None, (event(3),)))
        assert [event(1)] == [entry.event for entry in store.events_after()]

    def test_a_cursor_outlives_its_event(self, store: Any) -> None:
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
    def test_a_cursor_that_the_store_did_not_make_is_refused(self, store: Any, cursor: str) -> None:
        """Nothing is handed on after a cursor of unknown origin, and the refusal says what to do."""
        with pytest.raises(ValueError, match="cursor"):
            store.events_after(cursor)

    def test_pruning_erases_what_is_older_and_nothing_else(self, store: Any, peer: Any) -> None:
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

    def test_pruning_reads_the_time_zone(self, store: Any) -> None:
        """An instant is the same in every zone, and a time without a zone is refused."""
        store.swap(USER, Change(None, stored(1), (event(10),)))
        east = (NOW + timedelta(seconds=10)).astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert 0 == store.prune_events(east)
        with pytest.raises(ValueError, match="zone"):
            store.prune_events(NOW.replace(tzinfo=None))
        assert 1 == store.prune_events(east + timedelta(seconds=1))

    def test_a_reader_beside_writers_misses_nothing(self, store: Any, peer: Any) -> None:
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
