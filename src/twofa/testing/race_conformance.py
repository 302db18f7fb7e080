"""What a store owes its records when swaps meet.

Half of the callers in each race go through a second handle on the same data, since a lock or a cache inside one handle
hides what another connection does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from twofa.stores.protocol import Change, Stored, Trail
from twofa.testing.explaining import check_record, check_winner, named
from twofa.testing.hooks import StoreHooks, able
from twofa.testing.interleaving import spread
from twofa.testing.racing import at_once, restless_threads
from twofa.testing.samples import event, numbers, stored, version
from twofa.testing.user_ids import USER

THREADS = 12
ROUNDS = 8
SWAPS = 120
"""How often each thread swaps in the long run: of 1,440 swaps in all, a store that loses one in 200 loses seven."""
STEPS = 25
"""At how many of a swap's steps another one comes between."""


class RaceConformance(StoreHooks):
    """The simultaneous part of `StoreConformance`."""

    def test_one_of_many_creators_wins(self, store: Any, peer: Any) -> None:
        """Of any number of creators of one record exactly one is told that it won, and its record is there."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            changes = [Change(None, stored(number)) for number in range(THREADS)]
            won = check_winner(self.race(store, peer, user_id, changes), "create one record")
            check_record(stored(won), store, user_id, "its creator was told that it won the race")

    def test_one_of_many_updaters_wins(self, store: Any, peer: Any) -> None:
        """Of any number of updaters of one version exactly one is told that it won, and its record is there."""
        store.swap(USER, Change(None, stored(0)))
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [Change(version(held), stored(first + number)) for number in range(THREADS)]
            held = first + check_winner(self.race(store, peer, USER, changes), "replace one version")
            check_record(stored(held), store, USER, "its writer was told that it won the race")

    def test_one_of_many_deleters_wins(self, store: Any, peer: Any) -> None:
        """Of any number of deleters exactly one is told that it won, and nothing is left."""
        for round_ in range(ROUNDS):
            store.swap(USER, Change(None, stored(round_)))
            changes = [Change(version(round_), None)] * THREADS
            check_winner(self.race(store, peer, USER, changes), "delete one record")
            check_record(None, store, USER, "one of the deleters was told that it won")

    def test_an_updater_and_a_deleter_never_both_win(self, store: Any, peer: Any) -> None:
        """Of updaters and deleters of one version exactly one wins, and what it wanted is what is left."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            store.swap(user_id, Change(None, stored(1000)))
            wanted = [stored(number) if number % 3 else None for number in range(THREADS)]
            changes = [Change(version(1000), new) for new in wanted]
            won = check_winner(self.race(store, peer, user_id, changes), "replace or delete one record")
            check_record(wanted[won], store, user_id, "that is what the winner of the race wanted")

    def test_no_update_is_lost(self, store: Any, peer: Any) -> None:
        """A count that threads raise by load and swap, trying again when they lose, ends at the sum."""
        store.swap(USER, Change(None, stored(0, "0")))
        workers, each = 6, 12

        def work(handle: Any, worker: int) -> list[str]:
            spent: list[str] = []
            while len(spent) < each:
                held: Stored = handle.load(USER)
                assert held is not None, "the record disappeared while it was being updated"
                mine = Stored(version(1000 * (worker + 1) + int(held.document)), str(int(held.document) + 1))
                if handle.swap(USER, Change(held.version, mine)):
                    spent.append(held.version)
            return spent

        handles = [store, peer] * (workers // 2)
        calls = [lambda h=handle, n=number: work(h, n) for number, handle in enumerate(handles)]
        spent = [each for worker in at_once(calls) for each in worker]
        count = int(store.load(USER).document)
        assert workers * each == count, (
            f"{workers * each} swaps that raised a count by one were told that they won, and it stands at {count}: "
            "updates were lost"
        )
        assert len(spent) == len(set(spent)), "two swaps were both told that they replaced the same version"

    def test_a_thousand_swaps_all_happen(self, store: Any, peer: Any) -> None:
        """Whoever is alone with a user wins each time and finds what was written before: not one swap is lost."""

        def work(handle: Any, worker: int) -> str | None:
            user_id = f"user-{worker}"
            for number in range(SWAPS):
                if not handle.swap(user_id, Change(version(number - 1) if number else None, stored(number))):
                    return f"swap {number + 1} of {user_id} lost although nobody else wrote"
            last = handle.load(user_id)
            return None if last == stored(SWAPS - 1) else f"after {SWAPS} swaps {user_id} has {named(last)}"

        handles = [store, peer] * (THREADS // 2)
        calls = [lambda h=handle, n=number: work(h, n) for number, handle in enumerate(handles)]
        wrong = [each for each in at_once(calls) if each is not None]
        assert not wrong, f"{wrong[0]}: an earlier swap returned True and was not written, or a right one lost"

    @pytest.mark.parametrize(
        ("old", "new"),
        [(None, stored(2)), (stored(1), stored(2)), (stored(1), None)],
        ids=["create", "update", "delete"],
    )
    def test_a_swap_is_one_step(self, store: Any, peer: Any, old: Stored | None, new: Stored | None) -> None:
        """Between whichever steps of a swap another one of the same record comes, one of the two wins."""
        expected = None if old is None else old.version

        def between(at: int) -> int:
            user_id = f"user-{at}"
            if old is not None:
                assert store.swap(user_id, Change(None, old))
            changes = Change(expected, new, (event(2, user_id),)), Change(expected, stored(3), (event(3, user_id),))
            outcome = self.interrupt(store, (store, peer)[at % 2], user_id, changes, at)
            won = check_winner(
                [outcome.first, outcome.second], f"write one record, the second before step {at} of the first"
            )
            check_record(
                changes[won].new, store, user_id, f"that swap won, and another one came before step {at} of it"
            )
            assert not able(store, Trail) or [2 + won] == numbers(store, user_id), (
                f"the trail has the events {numbers(store, user_id)} after only swap {2 + won} won"
            )
            return outcome.steps

        for at in spread(between(0), STEPS):
            between(at)

    def test_swaps_of_different_users_do_not_disturb_each_other(self, store: Any, peer: Any) -> None:
        """Everyone wins who is alone with a user."""
        handles = [store, peer] * (THREADS // 2)
        calls = [
            lambda h=handle, n=number: h.swap(f"user-{n}", Change(None, stored(n)))
            for number, handle in enumerate(handles)
        ]
        said = at_once(calls)
        assert [True] * THREADS == said, (
            f"{len(said) - said.count(True)} of {THREADS} swaps lost although each was alone with its user: a store "
            "that is busy must wait or raise, and never say that it lost"
        )
        for number in range(THREADS):
            check_record(stored(number), store, f"user-{number}", "it was created while others were")

    def test_a_reader_never_sees_half_a_swap(self, store: Any, peer: Any) -> None:
        """Whoever loads while others swap gets a version with the document that it was put with."""
        store.swap(USER, Change(None, stored(0)))
        swaps = 120

        def write() -> None:
            for number in range(swaps):
                assert store.swap(USER, Change(version(number), stored(number + 1))), "a swap lost with no other writer"

        def read() -> set[Stored]:
            seen: set[Stored] = set()
            while stored(swaps) not in seen:
                seen.add(peer.load(USER))
            return seen

        with ThreadPoolExecutor(3) as pool, restless_threads():
            writing, readers = pool.submit(write), [pool.submit(read) for _ in range(2)]
            try:
                writing.result()
            finally:
                store.swap(USER, Change(store.load(USER).version, stored(swaps)))  # lets the readers go home
            seen = set[Stored]().union(*(reader.result() for reader in readers))
        torn = seen - {stored(number) for number in range(swaps + 1)}
        assert not torn, f"a reader saw {named(torn.pop())}, whose version and document were never put together"
