"""What a store owes that keeps a trail of events."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from twofa.events import Event, EventKind
from twofa.stores.protocol import Change, Trail
from twofa.testing.explaining import check_events, check_winner, shortened
from twofa.testing.hooks import able
from twofa.testing.race_conformance import ROUNDS, THREADS
from twofa.testing.racing import restless_threads
from twofa.testing.samples import NOW, event, numbers, stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.user_ids import LOOKALIKES, OTHER, USER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twofa.events import Plain

HOSTILE = "'; DROP TABLE users; --\n\u202e\U0001f600%_\"\\" + "x" * 200
LONGEST_SOURCE = 256
"""Characters; `twofa` cuts what is longer."""


class TrailConformance(StoreConformance):
    """The laws for a store that keeps a trail."""

    def test_it_keeps_a_trail(self, store: Any) -> None:
        """The store has the ability that is judged here."""
        assert able(store, Trail), "the store has no method events(): without a trail, use StoreConformance"
        check_events([], store.events(USER), "the trail of an empty store")

    def test_an_event_comes_back_as_it_was(self, store: Any) -> None:
        """Kind, user, time, source and detail come back with their types, hostile text and all."""
        detail: Mapping[str, Plain] = {
            "number": 1,
            "reason": HOSTILE,
            "remaining": 0,
            "big": 2**53,
            "yes": True,
            "no": False,
            "nothing": None,
            "": "",
        }
        events = (
            Event(EventKind.SETUP_BEGUN, USER, NOW, detail={"number": 0}),
            Event(EventKind.CODE_REJECTED, USER, NOW, source="", detail=detail),
            Event(EventKind.CODE_REJECTED, USER, NOW, source=HOSTILE),
        )
        assert store.swap(USER, Change(None, stored(1), events))
        kept = store.events(USER)
        check_events(events, kept, "the trail of one user")
        for name, value in detail.items():
            found = kept[1].detail[name]
            assert type(value) is type(found), f"{name!r} in an event's detail is {found!r} instead of {value!r}"

    @pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600", "\n"], ids=["ascii", "accent", "emoji", "line"])
    def test_the_longest_source_comes_back_whole(self, store: Any, character: str) -> None:
        """A source of 256 characters is kept to the last one, whatever they are."""
        source = character * (LONGEST_SOURCE - 1) + "."
        assert store.swap(USER, Change(None, stored(1), (Event(EventKind.CODE_REJECTED, USER, NOW, source=source),)))
        (kept,) = store.events(USER)
        assert source == kept.source, (
            f"a source of {LONGEST_SOURCE} characters came back with {len(kept.source or '')}: {shortened(kept.source)}"
        )

    def test_every_kind_of_event_is_kept(self, store: Any) -> None:
        """No kind of event is lost or changed."""
        events = tuple(Event(kind, USER, NOW, detail={"number": number}) for number, kind in enumerate(EventKind))
        assert store.swap(USER, Change(None, stored(1), events))
        check_events(events, store.events(USER), "the trail of one user")

    @pytest.mark.parametrize("seconds", [0, 2**31 - 1, 2**31, 2**32 + 1, 253402300799])
    def test_an_event_time_is_kept_as_aware_utc(self, store: Any, seconds: int) -> None:
        """A time comes back to the second, before and after 2038 and 2106, and tells its zone."""
        at = datetime.fromtimestamp(seconds, UTC)
        store.swap(USER, Change(None, stored(1), (Event(EventKind.CODE_ACCEPTED, USER, at),)))
        (kept,) = store.events(USER)
        assert timedelta(0) == kept.at.utcoffset(), f"the time of an event came back as {kept.at!r}: it must be UTC"
        assert at == kept.at, f"the time of an event came back as {kept.at} instead of {at}"

    def test_the_trail_grows_in_order(self, store: Any) -> None:
        """Events stand in the order of the swaps, and within one swap in the order they were given."""
        store.swap(USER, Change(None, stored(0), (event(0), event(1))))
        store.swap(USER, Change(version(0), stored(1)))
        store.swap(USER, Change(version(1), stored(2), (event(2), event(-1))))
        check_events([event(0), event(1), event(2), event(-1)], store.events(USER), "the trail after three swaps")

    def test_an_event_is_kept_only_if_its_swap_won(self, store: Any) -> None:
        """A swap that lost, whatever it wanted, leaves no event."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        assert not store.swap(USER, Change(None, stored(2), (event(2),)))
        assert not store.swap(USER, Change(version(9), stored(3), (event(3),)))
        assert not store.swap(USER, Change(version(9), None, (event(4),)))
        assert not store.swap(USER, Change(None, None, (event(5),)))
        assert not store.swap(OTHER, Change(version(1), stored(6), (event(6, OTHER),)))
        check_events([event(1)], store.events(USER), "the trail after one swap that won and four that lost")
        check_events([], store.events(OTHER), "the trail of a user whose only swap lost")

    def test_a_delete_erases_the_trail(self, store: Any) -> None:
        """Nothing is left of a user whose record is deleted, except what happened with that very step."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap(OTHER, Change(None, stored(1), (event(1, OTHER),)))
        assert store.swap(USER, Change(version(1), None, (event(2),)))
        check_events([event(2)], store.events(USER), "the trail after a delete that brought event 2")
        store.swap(USER, Change(None, stored(3), (event(3),)))
        assert store.swap(USER, Change(version(3), None))
        check_events([], store.events(USER), "the trail after a delete without an event")
        check_events([event(1, OTHER)], store.events(OTHER), "the trail of another user than the one deleted")

    def test_lookalike_users_have_trails_of_their_own(self, store: Any) -> None:
        """Nobody's trail shows, or loses, an event of a user whose id looks alike."""
        for number, user_id in enumerate(LOOKALIKES):
            store.swap(user_id, Change(None, stored(number), (event(number, user_id),)))
        for number, user_id in enumerate(LOOKALIKES):
            where = f"the trail of {shortened(user_id)}, beside users with similar ids,"
            check_events([event(number, user_id)], store.events(user_id), where)
            store.swap(user_id, Change(version(number), None))
            check_events([], store.events(user_id), f"{where} after a delete")

    def test_another_handle_sees_the_trail_at_once(self, store: Any, peer: Any) -> None:
        """What one handle has written, the other one reads."""
        said = [event(1), event(2), event(3)]
        store.swap(USER, Change(None, stored(1), (said[0],)))
        peer.swap(USER, Change(version(1), stored(2), (said[1],)))
        for handle in (store, peer):
            check_events(said[:2], handle.events(USER), "the trail that two handles have written")
        store.swap(USER, Change(version(2), stored(3), (said[2],)))
        check_events(said, peer.events(USER), "the trail that another handle has just added to")

    def test_a_race_leaves_the_winners_events_only(self, store: Any, peer: Any) -> None:
        """The trail tells of exactly the swaps that won, in the order in which they did."""
        store.swap(USER, Change(None, stored(0)))
        expected: list[Event] = []
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [
                Change(version(held), stored(first + number), (event(first + number),)) for number in range(THREADS)
            ]
            held = first + check_winner(self.race(store, peer, USER, changes), "replace one version")
            expected.append(event(held))
        check_events(expected, store.events(USER), f"the trail after {ROUNDS} races, one winner each,")

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
                record = number_of_record(peer)
                newest = max(numbers(peer))
                there = number_of_record(peer)
                if not record <= newest <= there:
                    wrong.append(f"the newest event was {newest} while the record went from {record} to {there}")
            return wrong

        with ThreadPoolExecutor(2) as pool, restless_threads():
            writing, reading = pool.submit(write), pool.submit(read)
            try:
                writing.result()
            finally:
                store.swap(USER, Change(store.load(USER).version, stored(swaps), (event(swaps),)))  # ends the reader
            wrong: Sequence[str] = reading.result()
        assert not wrong, f"{wrong[0]}: a record and its events must be written in one transaction"


def number_of_record(store: Any) -> int:
    """Return the number of the record that was put last."""
    return int(store.load(USER).document.rpartition(" ")[2])
