"""`StoreMachine`: a store beside its model, driven by Hypothesis through whatever sequence of swaps it can think of.

The pools are tiny on purpose: with four documents and users that look alike, sequences meet each other. Of nine planted
faults the machine found nine in this way, and six with random bytes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from twofa.stores.protocol import Change, Listing, Outbox, Stored, Trail
from twofa.testing.event_loop import Blocking, EventLoop, settled
from twofa.testing.explaining import check_events, check_record
from twofa.testing.hooks import able, dispose
from twofa.testing.outbox_conformance import handed_on
from twofa.testing.samples import event, number_of, version

if TYPE_CHECKING:
    from twofa.events import Event

USERS = ("user", "User", "user ", "us%", "us\u00e9r")
DOCUMENTS = ("", "A", "a", "A ")

users = st.sampled_from(USERS)
documents = st.sampled_from(DOCUMENTS)
sides = st.booleans()
events_of_a_swap = st.integers(0, 2)


class StoreMachine(RuleBasedStateMachine):
    """Subclass it, say how to make a store, and give `TestCase` of the subclass to pytest.

    For instance::

    class Machine(StoreMachine):
        def make_store(self): return MyStore(fresh_database())
        def make_peer(self, store): return MyStore(store.database)

    TestMachine = Machine.TestCase
    """

    def make_store(self) -> Any:
        """Return an empty store, for each sequence anew."""
        raise NotImplementedError("make_store() must return an empty store: say how to make one")

    def make_peer(self, store: Any) -> Any:  # for those who override it
        """Return a second handle on the data of `store`."""
        raise NotImplementedError("make_peer(store) must open the same data again: say how")

    def open(self) -> tuple[Any, Any]:
        """Return a store and a peer, called like blocking ones."""
        store = self.make_store()
        return store, self.make_peer(store)

    @initialize()
    def begin(self) -> None:
        """Start with an empty store and an empty model."""
        self.handles = self.open()
        self.records: dict[str, Stored] = {}
        self.spent: dict[str, list[str]] = {user_id: [version(0)] for user_id in USERS}
        self.trail: list[Event] = []
        self.last = self.happened = self.dealt_with = 0
        self.cursor = ""

    @override
    def teardown(self) -> None:
        """Close what was opened."""
        for handle in {id(each): each for each in getattr(self, "handles", ())}.values():
            dispose(handle)

    @rule(user_id=users, document=documents, side=sides, events=events_of_a_swap)
    def put(self, user_id: str, document: str, side: bool, events: int) -> None:  # drawn by Hypothesis
        """Create a record, or replace the one that is there, expecting what is the case."""
        self._swap(user_id, self._version_of(user_id), Stored(self._new_version(), document), side, events)

    @rule(user_id=users, side=sides, events=events_of_a_swap)
    def delete(self, user_id: str, side: bool, events: int) -> None:
        """Delete the record, or confirm that there is none."""
        self._swap(user_id, self._version_of(user_id), None, side, events)

    @rule(user_id=users, document=documents | st.none(), back=st.integers(0, 3), side=sides, events=events_of_a_swap)
    def be_stale(self, user_id: str, document: str | None, back: int, side: bool, events: int) -> None:
        """Try with a version that was spent, that another user has, or that was never there."""
        stale = self.spent[user_id] + [held.version for whose, held in self.records.items() if whose != user_id]
        new = None if document is None else Stored(self._new_version(), document)
        self._swap(user_id, stale[-1 - back % len(stale)], new, side, events)

    @rule(user_id=users, document=documents | st.none(), side=sides, events=events_of_a_swap)
    def expect_none(self, user_id: str, document: str | None, side: bool, events: int) -> None:
        """Try to create a record, or to keep the user absent, whether or not there is one."""
        new = None if document is None else Stored(self._new_version(), document)
        self._swap(user_id, None, new, side, events)

    @precondition(lambda self: able(self.handles[0], Outbox))
    @rule(side=sides, limit=st.sampled_from((1, 2, 100)))
    def read_on(self, side: bool, limit: int) -> None:
        """Read the outbox on from where the last reader stopped, on whichever side that was."""
        entries = list(self.handles[side].events_after(self.cursor, limit))
        wanted = [each for each in self.trail if number_of(each) > self.dealt_with][:limit]
        check_events(wanted, handed_on(entries), f"a page of at most {limit} events")
        if entries:
            self.cursor, self.dealt_with = entries[-1].cursor, number_of(entries[-1].event)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """Both handles see the model's records, trail, outbox and list."""
        for store in getattr(self, "handles", ()):
            for user_id in USERS:
                check_record(self.records.get(user_id), store, user_id, "that is what the swaps so far amount to")
                if able(store, Trail):
                    wanted = [each for each in self.trail if each.user_id == user_id]
                    check_events(wanted, store.events(user_id), f"the trail of {user_id!r}")
            if able(store, Outbox):
                check_events(self.trail, handed_on(store.events_after(limit=1000)), "the outbox")
            if able(store, Listing):
                listed = sorted(store.user_ids())
                assert sorted(self.records) == listed, f"user_ids() lists {listed} instead of {sorted(self.records)}"

    def _swap(self, user_id: str, expected: str | None, new: Stored | None, side: bool, events: int) -> None:
        happened = tuple(event(self._count(), user_id) for _ in range(events))
        fits = expected == self._version_of(user_id)
        said = self.handles[side].swap(user_id, Change(expected, new, happened))
        assert fits is said, f"swap() returned {said!r} for {user_id!r} where it must return {fits}"
        if not fits:
            return
        if expected is not None:
            self.spent[user_id].append(expected)
        if new is None:
            self.records.pop(user_id, None)
            self.trail = [each for each in self.trail if each.user_id != user_id]
        else:
            self.records[user_id] = new
        self.trail += happened

    def _version_of(self, user_id: str) -> str | None:
        held = self.records.get(user_id)
        return None if held is None else held.version

    def _new_version(self) -> str:
        self.last += 1
        return version(self.last)

    def _count(self) -> int:
        self.happened += 1
        return self.happened


class AsyncStoreMachine(StoreMachine):
    """The same for an asynchronous store: `make_store` and `make_peer` return one, or are coroutine functions."""

    @override
    def open(self) -> tuple[Any, Any]:
        """Return a store and a peer, called like blocking ones."""
        self.loop = EventLoop()
        store = self.loop.run(settled(self.make_store))
        peer = self.loop.run(settled(partial(self.make_peer, store)))
        return Blocking(store, self.loop), Blocking(peer, self.loop)

    @override
    def teardown(self) -> None:
        """Close what was opened."""
        super().teardown()
        if hasattr(self, "loop"):
            self.loop.close()
