"""What a store owes that keeps a trail of events."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from twofa.events import Event, EventKind
from twofa.stores.protocol import Change, Trail
from twofa.testing.racing import restless_threads
from twofa.testing.samples import LOOKALIKES, NOW, USER, event, numbers, stored, version
from twofa.testing.store_conformance import ROUNDS, THREADS, StoreConformance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twofa.events import Plain


class TrailConformance(StoreConformance):
    """What a store owes that keeps a trail."""

    def test_it_keeps_a_trail(self, store: Any) -> None:
        """The store has the ability that is judged here."""
        assert isinstance(store, Trail)
        assert [] == list(store.events(USER))

    def test_an_event_comes_back_as_it_was(self, store: Any) -> None:
        """Kind, user, time, source and detail come back with their types, hostile text and all."""
        hostile = "'; DROP TABLE users; --\n\u202e\U0001f600%_\"\\" + "x" * 200
        detail: Mapping[str, Plain] = {
            "reason": hostile,
            "remaining": 0,
            "big": 2**53,
            "yes": True,
            "no": False,
            "nothing": None,
            "": "",
        }
        events = (
            Event(EventKind.SETUP_BEGUN, USER, NOW),
            Event(EventKind.CODE_REJECTED, USER, NOW, source="", detail=detail),
            Event(EventKind.CODE_REJECTED, USER, NOW, source=hostile, detail={}),
        )
        assert store.swap(USER, Change(None, stored(1), events))
        assert events == tuple(store.events(USER))
        kept = store.events(USER)[1].detail
        assert [(name, type(value)) for name, value in detail.items()] == [(n, type(v)) for n, v in kept.items()]

    def test_every_kind_of_event_is_kept(self, store: Any) -> None:
        """No kind of event is lost or changed."""
        events = tuple(Event(kind, USER, NOW) for kind in EventKind)
        assert store.swap(USER, Change(None, stored(1), events))
        assert list(EventKind) == [event.kind for event in store.events(USER)]

    @pytest.mark.parametrize("seconds", [0, 2**31 - 1, 2**31, 2**32 + 1, 253402300799])
    def test_an_event_time_is_kept_as_aware_utc(self, store: Any, seconds: int) -> None:
        """A time comes back to the second, before and after 2038 and 2106, and tells its zone."""
        at = datetime.fromtimestamp(seconds, UTC)
        store.swap(USER, Change(None, stored(1), (Event(EventKind.CODE_ACCEPTED, USER, at),)))
        (kept,) = store.events(USER)
        assert (at, timedelta(0)) == (kept.at, kept.at.utcoffset())

    def test_the_trail_grows_in_order(self, store: Any) -> None:
        """Events stand in the order of the swaps, and within one swap in the order they were given."""
        store.swap(USER, Change(None, stored(0), (event(0), event(1))))
        store.swap(USER, Change(version(0), stored(1)))
        store.swap(USER, Change(version(1), stored(2), (event(2), event(-1))))
        assert [0, 1, 2, -1] == numbers(store)

    def test_an_event_is_kept_only_if_its_swap_won(self, store: Any) -> None:
        """A swap that lost, whatever it wanted, leaves no event."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        assert not store.swap(USER, Change(None, stored(2), (event(2),)))
        assert not store.swap(USER, Change(version(9), stored(3), (event(3),)))
        assert not store.swap(USER, Change(version(9), None, (event(4),)))
        assert not store.swap(USER, Change(None, None, (event(5),)))
        assert not store.swap("another", Change(version(1), stored(6), (event(6, "another"),)))
        assert [1] == numbers(store)
        assert [] == list(store.events("another"))

    def test_a_delete_erases_the_trail(self, store: Any) -> None:
        """Nothing is left of a user whose record is deleted, except what happened with that very step."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap("another", Change(None, stored(1), (event(1, "another"),)))
        assert store.swap(USER, Change(version(1), None, (event(2),)))
        assert [2] == numbers(store)
        store.swap(USER, Change(None, stored(3), (event(3),)))
        assert store.swap(USER, Change(version(3), None))
        assert [] == list(store.events(USER))
        assert [1] == numbers(store, "another")

    def test_lookalike_users_have_trails_of_their_own(self, store: Any) -> None:
        """Nobody's trail shows, or loses, an event of a user whose id looks alike."""
        for number, user_id in enumerate(LOOKALIKES):
            store.swap(user_id, Change(None, stored(number), (event(number, user_id),)))
        for number, user_id in enumerate(LOOKALIKES):
            assert (event(number, user_id),) == tuple(store.events(user_id))
            store.swap(user_id, Change(version(number), None))
            assert () == tuple(store.events(user_id))

    def test_another_handle_sees_the_trail_at_once(self, store: Any, peer: Any) -> None:
        """What one handle has written, the other one reads."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        peer.swap(USER, Change(version(1), stored(2), (event(2),)))
        assert [1, 2] == numbers(store) == numbers(peer)
        store.swap(USER, Change(version(2), stored(3), (event(3),)))
        assert [1, 2, 3] == numbers(peer)

    def test_a_race_leaves_the_winners_events_only(self, store: Any, peer: Any) -> None:
        """The trail tells of exactly the swaps that won, in the order in which they did."""
        store.swap(USER, Change(None, stored(0)))
        expected: list[int] = []
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [
                Change(version(held), stored(first + number), (event(first + number),)) for number in range(THREADS)
            ]
            (won,) = self.race(store, peer, USER, changes)
            held = first + won
            expected.append(held)
        assert expected == numbers(store)

    def test_the_record_and_its_event_change_in_one_step(self, store: Any, peer: Any) -> None:
        """Whoever sees a record sees the event it was put with, and the other way round, at every moment."""
        store.swap(USER, Change(None, stored(0), (event(0),)))
        swaps = 60

        def write() -> None:
            for number in range(swaps):
                assert store.swap(USER, Change(version(number), stored(number + 1), (event(number + 1),)))

        def read() -> list[str]:
            wrong: list[str] = []
            there = 0
            while there < swaps:
                record = int(peer.load(USER).version, 16)
                told = max(numbers(peer))
                there = int(peer.load(USER).version, 16)
                if not record <= told <= there:
                    wrong.append(f"the trail ended with event {told} between records {record} and {there}")
            return wrong

        with ThreadPoolExecutor(2) as pool, restless_threads():
            writing, reading = pool.submit(write), pool.submit(read)
            try:
                writing.result()
            finally:
                store.swap(USER, Change(store.load(USER).version, stored(swaps), (event(swaps),)))  # ends the reader
            assert [] == reading.result()
