"""What a store owes whose trail is an outbox: a reader that keeps its cursor misses and repeats nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from twofa.stores.protocol import Change, Outbox
from twofa.testing.explaining import check_events, check_record, check_refused
from twofa.testing.hooks import able
from twofa.testing.race_conformance import THREADS
from twofa.testing.racing import restless_threads
from twofa.testing.samples import NOW, event, stored, version
from twofa.testing.trail_conformance import TrailConformance
from twofa.testing.user_ids import LOOKALIKES, OTHER, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from twofa.events import Event
    from twofa.stores.protocol import OutboxEntry

MANY = 40
"""Events of one swap that takes long to write, so that swaps of one event begin and end meanwhile."""
WRITINGS = 20
"""How often each writer beside a reader swaps. On PostgreSQL 8 times missed, in 2 of 30 runs, a reader that follows an
identity column."""
THOUSANDS = 2_500
"""Events to prune at once."""


class OutboxConformance(TrailConformance):
    """The laws for a store whose trail is an outbox."""

    def test_it_is_an_outbox(self, store: Any) -> None:
        """The store has the ability that is judged here, and an empty outbox hands nothing on."""
        assert able(store, Outbox), (
            "the store lacks events_after() or prune_events(): without both, use TrailConformance"
        )
        check_events([], handed_on(store.events_after()), "the outbox of an empty store")

    def test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps(self, store: Any, peer: Any) -> None:
        """Events come swap after swap, whoever they are about and through whichever handle they were written."""
        said: list[Event] = []
        for number, user_id in enumerate(LOOKALIKES):
            handle = (store, peer)[number % 2]
            happened = (event(2 * number, user_id), event(-2 * number - 1, user_id))
            assert handle.swap(user_id, Change(None, stored(number), happened))
            said += happened
        for handle in (store, peer):
            check_events(said, handed_on(handle.events_after(limit=1000)), "the outbox of all users")
        assert 100 == len(store.events_after()) or len(said) <= 100, "without a limit a page must have 100 events"

    @pytest.mark.parametrize("limit", [1, 3, 5, 100])
    def test_a_reader_that_keeps_its_cursor_misses_and_repeats_nothing(self, store: Any, peer: Any, limit: int) -> None:
        """From any cursor on, also with another handle, come exactly the events after it."""
        said = [event(number, f"user-{number}") for number in range(5)]
        for number, happened in enumerate(said):
            store.swap(happened.user_id, Change(None, stored(number), (happened,)))
        cursor = ""
        read: list[OutboxEntry] = []
        while (page := list(peer.events_after(cursor, limit))) and len(read) <= len(said):
            assert len(page) <= limit, f"a page of at most {limit} events has {len(page)}"
            read.extend(page)
            cursor = page[-1].cursor
        check_events(said, handed_on(read), f"what a reader got in pages of {limit}")
        for number, entry in enumerate(read):
            rest = handed_on(store.events_after(entry.cursor))
            check_events(said[number + 1 :], rest, f"what comes after the cursor of event {number}")

    def test_what_comes_later_stands_after_every_cursor(self, store: Any) -> None:
        """A reader that has read everything gets what happens afterwards, once."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        check_events([event(1)], handed_on(store.events_after()), "the outbox after one swap")
        check_events([event(1)], handed_on(store.events_after()), "the outbox read again from the beginning")
        (first,) = store.events_after()
        check_events([], handed_on(store.events_after(first.cursor)), "what comes after the only event")
        store.swap(OTHER, Change(None, stored(2), (event(2, OTHER),)))
        check_events([event(2, OTHER)], handed_on(store.events_after(first.cursor)), "what comes after the first event")
        (second,) = store.events_after(first.cursor)
        check_events([], handed_on(store.events_after(second.cursor)), "what comes after the second of two events")

    def test_a_swap_that_lost_hands_nothing_on(self, store: Any) -> None:
        """Only what happened is handed on."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap(USER, Change(None, stored(2), (event(2),)))
        store.swap(USER, Change(version(9), None, (event(3),)))
        check_events([event(1)], handed_on(store.events_after()), "the outbox after two swaps that lost")

    def test_a_cursor_outlives_its_event(self, store: Any) -> None:
        """After its event is erased, a cursor still stands where it stood, and erased events are not handed on."""
        store.swap(USER, Change(None, stored(1), (event(1),)))
        store.swap(OTHER, Change(None, stored(1), (event(2, OTHER), event(3, OTHER))))
        first, second, _ = (entry.cursor for entry in store.events_after())
        store.swap(OTHER, Change(version(1), None))
        store.swap("third", Change(None, stored(1), (event(4, "third"),)))
        for cursor in (first, second):
            rest = handed_on(store.events_after(cursor))
            check_events([event(4, "third")], rest, "what comes after a cursor, when events 2 and 3 are erased,")
        store.prune_events(NOW + timedelta(seconds=5))
        check_events([], handed_on(store.events_after(first)), "what comes after a cursor when all events are pruned")
        store.swap(USER, Change(version(1), stored(5), (event(5),)))
        rest = handed_on(store.events_after(second))
        check_events([event(5)], rest, "what comes after the cursor of an erased event")

    @pytest.mark.parametrize("cursor", ["x", "-1", "1; DROP TABLE twofa_event", "\u0661", "1" * 400, "9" * 19, "\0"])
    def test_a_cursor_that_the_store_did_not_make_is_refused(self, store: Any, cursor: str) -> None:
        """Nothing is handed on after a cursor of unknown origin, and the refusal says what to do."""
        check_refused("cursor", store.events_after, cursor)

    def test_pruning_erases_what_is_older_and_nothing_else(self, store: Any, peer: Any) -> None:
        """Events before the given instant go from every trail and from the outbox; those at it or later stay."""
        store.swap(USER, Change(None, stored(1), (event(10), event(30))))
        store.swap(OTHER, Change(None, stored(1), (event(20, OTHER), event(19, OTHER))))
        assert 0 == store.prune_events(NOW), "prune_events() erased events that are younger than what it was given"
        erased = peer.prune_events(NOW + timedelta(seconds=20))
        assert 2 == erased, f"prune_events() returned {erased} where two events were older and one of that very second"
        check_events([event(30)], store.events(USER), "the trail after pruning up to second 20")
        check_events([event(20, OTHER)], store.events(OTHER), "another user's trail after pruning up to second 20")
        left = handed_on(store.events_after())
        check_events([event(30), event(20, OTHER)], left, "the outbox after pruning up to second 20")
        assert 1 == store.prune_events(NOW + timedelta(seconds=20, microseconds=1)), (
            "prune_events() must erase an event of second 20 when it is asked for all before a moment in that second"
        )
        check_events([event(30)], handed_on(store.events_after()), "the outbox after pruning the event of second 20")
        check_record(stored(1), store, OTHER, "prune_events() must leave records alone")

    def test_pruning_reads_the_time_zone(self, store: Any) -> None:
        """An instant is the same in every zone, and a time without a zone is refused."""
        store.swap(USER, Change(None, stored(1), (event(10),)))
        east = (NOW + timedelta(seconds=10)).astimezone(timezone(timedelta(hours=5, minutes=45)))
        assert 0 == store.prune_events(east), "prune_events() ignored the time zone of what it was given"
        check_refused("zone", store.prune_events, NOW.replace(tzinfo=None))
        erased = store.prune_events(east + timedelta(seconds=1))
        assert 1 == erased, f"prune_events() returned {erased} instead of 1 for a time in another zone"

    def test_pruning_erases_thousands(self, store: Any) -> None:
        """However many events are old, one call erases all of them, and says how many there were."""
        batch = THOUSANDS // 10
        for number in range(10):
            user_id = f"user-{number}"
            old = tuple(event(-1 - each, user_id) for each in range(number * batch, (number + 1) * batch))
            assert store.swap(user_id, Change(None, stored(1), (*old, event(number, user_id))))
        erased = store.prune_events(NOW)
        assert THOUSANDS == erased, f"prune_events() returned {erased} where {THOUSANDS} events were old"
        left = [event(number, f"user-{number}") for number in range(10)]
        check_events(left, handed_on(store.events_after(limit=10_000)), "the outbox after thousands were pruned")

    def test_a_reader_beside_writers_misses_nothing(self, store: Any, peer: Any) -> None:
        """Whoever reads while others write gets every event once, and none before one whose swap had returned."""
        done = threading.Event()
        read: list[Event] = []
        swaps: dict[str, tuple[float, float]] = {}

        def reader() -> None:
            cursor, last = "", False
            while True:
                page = list(peer.events_after(cursor, 500))
                read.extend(handed_on(page))
                cursor = page[-1].cursor if page else cursor
                if last and not page:
                    return
                last = done.is_set()

        def writer(number: int) -> None:
            # Every third one writes many events in each swap: in many databases their numbers are given out long
            # before they can be seen, and those of a short swap are given out and seen in between.
            many = 1 if number % 3 else MANY
            for round_ in range(WRITINGS):
                user_id = f"user-{number}-{round_}"
                happened = tuple(event(each, user_id) for each in range(many))
                began = time.perf_counter()
                (store, peer)[round_ % 2].swap(user_id, Change(None, stored(1), happened))
                swaps[user_id] = began, time.perf_counter()

        with ThreadPoolExecutor(THREADS + 1) as pool, restless_threads():
            reading = pool.submit(reader)
            try:
                for writing in [pool.submit(writer, number) for number in range(THREADS)]:
                    writing.result()
            finally:
                done.set()
            reading.result()
        everything = handed_on(store.events_after(limit=10_000))
        wanted = WRITINGS * sum(1 if number % 3 else MANY for number in range(THREADS))
        assert wanted == len(everything), f"{wanted} events were written, and {len(everything)} are in the outbox"
        check_events(by_user(everything), by_user(read), "what a reader got while others wrote")
        check_order(read, swaps)


def check_order(read: Sequence[Event], swaps: Mapping[str, tuple[float, float]]) -> None:
    """Fail with a sentence if an event came after one whose swap began when its own had returned.

    `swaps` has for each user, of whom there was one swap, when it began and when it returned.
    """
    latest = read[0].user_id
    for user_id in (each.user_id for each in read):
        assert swaps[latest][0] <= swaps[user_id][1], (
            f"an event of {user_id!r} was handed on after one of {latest!r}, whose swap began when the other had "
            "returned: events must come in the order of their commits"
        )
        latest = max(latest, user_id, key=lambda user_id: swaps[user_id][0])


def by_user(events: Iterable[Event]) -> list[Event]:
    """Return events user by user, those of each in the order they had."""
    return sorted(events, key=lambda event: event.user_id)


def handed_on(entries: Iterable[OutboxEntry]) -> list[Event]:
    """Return the events of a page."""
    return [entry.event for entry in entries]
