"""What every store owes the library: the laws of `twofa.stores.protocol`, one a test.

Half of the callers in each race go through a second handle on the same data, since a lock or a cache inside one handle
hides what another connection does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from twofa.stores.protocol import Change, Stored
from twofa.testing.racing import at_once, restless_threads
from twofa.testing.samples import DOCUMENTS, LOOKALIKES, USER, stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

THREADS = 12
ROUNDS = 8


class StoreConformance:
    """The laws for a blocking store: subclass it, say how to make a store, and run pytest."""

    def make_store(self) -> Any:
        """Return an empty store. It is closed after the test, if it has a method `close`."""
        raise NotImplementedError("make_store() must return an empty store: say how to make one")

    def make_peer(self, store: Any) -> Any:  # for those who override it
        """Return a second handle on the data of `store`, on a connection of its own.

        Return `store` itself only where there can be no other, as with a database in the memory of one process.
        """
        raise NotImplementedError("make_peer(store) must open the same data again: say how")

    @pytest.fixture
    def store(self) -> Iterator[Any]:
        """A new store for each law."""
        store = self.make_store()
        yield store
        dispose(store)

    @pytest.fixture
    def peer(self, store: Any) -> Iterator[Any]:
        """A second handle on the same data."""
        peer = self.make_peer(store)
        yield peer
        if peer is not store:
            dispose(peer)

    def ask(self, hook: Callable[[Any], Any], store: Any) -> Any:
        """Call one of the subclass's hooks with the store as `make_store` made it."""
        return hook(store)

    def race(self, store: Any, peer: Any, user_id: str, changes: Sequence[Change]) -> list[int]:
        """Try all changes at once, every other one through the peer; return which one was told that it won."""
        calls = [
            lambda handle=(store, peer)[number % 2], change=change: handle.swap(user_id, change)
            for number, change in enumerate(changes)
        ]
        return only_winner(at_once(calls))

    # one after the other

    def test_an_unknown_user_has_nothing(self, store: Any) -> None:
        """Nothing is kept of a user that nothing was ever put for, whoever else is known."""
        assert store.load(USER) is None
        assert store.swap("another", Change(None, stored(1)))
        assert store.load(USER) is None

    @pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
    def test_a_document_comes_back_byte_for_byte(self, store: Any, document: str) -> None:
        """A document comes back as it was put, as a new record and in the place of another."""
        assert store.swap(USER, Change(None, stored(1, document)))
        assert stored(1, document) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(2, "another")))
        assert store.swap(USER, Change(version(2), stored(3, document)))
        assert stored(3, document) == store.load(USER)

    def test_a_loaded_record_is_a_stored(self, store: Any) -> None:
        """What is loaded has its version and document as text."""
        store.swap(USER, Change(None, stored(1)))
        loaded = store.load(USER)
        assert type(loaded) is Stored
        assert (str, str) == (type(loaded.version), type(loaded.document))

    def test_only_an_absent_record_is_created(self, store: Any) -> None:
        """A creator loses against a record that is there, and changes nothing."""
        assert store.swap(USER, Change(None, stored(1))) is True
        assert store.swap(USER, Change(None, stored(2))) is False
        assert store.swap(USER, Change(None, stored(1))) is False
        assert stored(1) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_stale_version_loses_and_changes_nothing(self, store: Any, new: Stored | None) -> None:
        """Who expects a version that was replaced loses, and the record stays as it is."""
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), stored(2))) is True
        assert store.swap(USER, Change(version(1), new)) is False
        assert stored(2) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_who_expects_a_record_loses_where_there_is_none(self, store: Any, new: Stored | None) -> None:
        """Neither an update nor a delete happens to a user without a record, nor to anyone else."""
        store.swap("another", Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), new)) is False
        assert store.load(USER) is None
        assert stored(1) == store.load("another")

    def test_writing_the_same_document_spends_the_version(self, store: Any) -> None:
        """A swap that changes only the version counts as a change, so that the version before is stale."""
        store.swap(USER, Change(None, stored(1, "same")))
        assert store.swap(USER, Change(version(1), stored(2, "same"))) is True
        assert store.swap(USER, Change(version(1), stored(3, "same"))) is False
        assert stored(2, "same") == store.load(USER)

    def test_a_document_that_returns_does_not_bring_its_version_back(self, store: Any) -> None:
        """After A, B and A again, who has seen the first A is stale."""
        store.swap(USER, Change(None, stored(1, "A")))
        store.swap(USER, Change(version(1), stored(2, "B")))
        store.swap(USER, Change(version(2), stored(3, "A")))
        assert store.swap(USER, Change(version(1), stored(4, "C"))) is False
        assert stored(3, "A") == store.load(USER)

    def test_a_delete_leaves_nothing(self, store: Any) -> None:
        """After a delete there is no record, and it can be created again."""
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), None)) is True
        assert store.load(USER) is None
        assert store.swap(USER, Change(version(1), None)) is False
        assert store.swap(USER, Change(None, stored(2))) is True
        assert stored(2) == store.load(USER)

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_record_made_again_does_not_revive_an_old_writer(self, store: Any, new: Stored | None) -> None:
        """Who has seen the record before it was deleted and created again is stale."""
        store.swap(USER, Change(None, stored(1)))
        store.swap(USER, Change(version(1), None))
        store.swap(USER, Change(None, stored(2)))
        assert store.swap(USER, Change(version(1), new)) is False
        assert stored(2) == store.load(USER)

    def test_nothing_can_be_kept_absent(self, store: Any) -> None:
        """To delete "only if absent" says whether the user has no record, and deletes none."""
        assert store.swap(USER, Change(None, None)) is True
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(None, None)) is False
        assert stored(1) == store.load(USER)

    def test_lookalike_users_are_kept_apart(self, store: Any) -> None:
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

    def test_another_handle_sees_a_win_at_once(self, store: Any, peer: Any) -> None:
        """What one handle has put, replaced or deleted, the other one loads, and cannot win against."""
        assert store.swap(USER, Change(None, stored(1)))
        assert stored(1) == peer.load(USER)
        assert peer.swap(USER, Change(None, stored(2))) is False
        assert peer.swap(USER, Change(version(1), stored(2)))
        assert stored(2) == store.load(USER)
        assert store.swap(USER, Change(version(1), stored(3))) is False
        assert stored(2) == peer.load(USER)
        assert store.swap(USER, Change(version(2), stored(4)))
        assert stored(4) == peer.load(USER)
        assert store.swap(USER, Change(version(4), None))
        assert peer.load(USER) is None

    # at the same instant, half of them through the peer

    def test_one_of_many_creators_wins(self, store: Any, peer: Any) -> None:
        """Of any number of creators of one record exactly one is told that it won, and its record is there."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            won = self.race(store, peer, user_id, [Change(None, stored(number)) for number in range(THREADS)])
            assert [stored(number) for number in won] == [store.load(user_id)]

    def test_one_of_many_updaters_wins(self, store: Any, peer: Any) -> None:
        """Of any number of updaters of one version exactly one is told that it won, and its record is there."""
        store.swap(USER, Change(None, stored(0)))
        held = 0
        for round_ in range(1, ROUNDS + 1):
            first = round_ * THREADS
            changes = [Change(version(held), stored(first + number)) for number in range(THREADS)]
            (won,) = self.race(store, peer, USER, changes)
            held = first + won
            assert stored(held) == store.load(USER)

    def test_one_of_many_deleters_wins(self, store: Any, peer: Any) -> None:
        """Of any number of deleters exactly one is told that it won, and nothing is left."""
        for round_ in range(ROUNDS):
            store.swap(USER, Change(None, stored(round_)))
            assert 1 == len(self.race(store, peer, USER, [Change(version(round_), None)] * THREADS))
            assert store.load(USER) is None

    def test_an_updater_and_a_deleter_never_both_win(self, store: Any, peer: Any) -> None:
        """Of updaters and deleters of one version exactly one wins, and what it wanted is what is left."""
        for round_ in range(ROUNDS):
            user_id = f"user-{round_}"
            store.swap(user_id, Change(None, stored(1000)))
            wanted = [stored(number) if number % 3 else None for number in range(THREADS)]
            won = self.race(store, peer, user_id, [Change(version(1000), new) for new in wanted])
            assert [wanted[number] for number in won] == [store.load(user_id)]

    def test_no_update_is_lost(self, store: Any, peer: Any) -> None:
        """A count that threads raise by load and swap, trying again when they lose, ends at the sum."""
        store.swap(USER, Change(None, stored(0, "0")))
        workers, each = 6, 6

        def work(handle: Any, worker: int) -> list[str]:
            spent: list[str] = []
            while len(spent) < each:
                held: Stored = handle.load(USER)
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

    def test_swaps_of_different_users_do_not_disturb_each_other(self, store: Any, peer: Any) -> None:
        """Everyone wins who is alone with a user."""
        handles = [store, peer] * (THREADS // 2)
        calls = [
            lambda h=handle, n=number: h.swap(f"user-{n}", Change(None, stored(n)))
            for number, handle in enumerate(handles)
        ]
        assert [True] * THREADS == at_once(calls)
        assert [stored(number) for number in range(THREADS)] == [store.load(f"user-{n}") for n in range(THREADS)]

    def test_a_reader_never_sees_half_a_swap(self, store: Any, peer: Any) -> None:
        """Whoever loads while others swap gets a version with the document that it was put with."""
        store.swap(USER, Change(None, stored(0)))
        swaps = 120

        def write() -> None:
            for number in range(swaps):
                assert store.swap(USER, Change(version(number), stored(number + 1)))

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
        assert set() == seen - {stored(number) for number in range(swaps + 1)}


def only_winner(said: Sequence[object]) -> list[int]:
    """Return the place of the one that was told that it won."""
    won = [number for number, each in enumerate(said) if each]
    assert 1 == len(won), f"{len(won)} of {len(said)} racing swaps were told that they won"
    return won


def dispose(store: Any) -> None:
    """Close a store that can be closed."""
    getattr(store, "close", lambda: None)()
