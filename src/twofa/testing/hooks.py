"""What a conformance test needs to be told about a store: how to make one, and how to open the same data again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from twofa.stores.protocol import Listing, Outbox, Trail
from twofa.testing.interleaving import interrupted
from twofa.testing.racing import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from twofa.stores.protocol import Change
    from twofa.testing.interleaving import Interrupted

METHODS: Mapping[type, tuple[str, ...]] = {
    Trail: ("events",),
    Outbox: ("events", "events_after", "prune_events"),
    Listing: ("user_ids",),
}


class StoreHooks:
    """The hooks that every conformance class has, and the fixtures made of them."""

    def make_store(self) -> Any:
        """Return an empty store. It is closed after the test, if it has a method `close`."""
        raise NotImplementedError("make_store() must return an empty store: say how to make one")

    def make_peer(self, store: Any) -> Any:  # for those who override it
        """Return a second handle on the data of `store`, on a connection of its own.

        Return `store` itself only where there can be no other, as with a database in the memory of one process.
        """
        raise NotImplementedError("make_peer(store) must open the same data again: say how")

    def let_years_pass(self, store: Any) -> Any:
        """Do what makes ten years pass for the database of `store`, if it has a clock by which it erases anything.

        Where a clock cannot be moved, look whether anything is to expire, and raise `AssertionError` if it is. By
        default only the clocks of this process are moved, which is done in any case.
        """

    @pytest.fixture
    def store(self) -> Iterator[Any]:
        """A new store for each test."""
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

    def open_again(self, store: Any) -> Any:
        """Return a new handle on the same data."""
        return self.make_peer(store)

    def ask(self, hook: Callable[[Any], Any], store: Any) -> Any:
        """Call one of the subclass's hooks with the store as `make_store` made it."""
        return hook(store)

    def race(self, store: Any, peer: Any, user_id: str, changes: Sequence[Change]) -> Sequence[object]:
        """Try all changes at once, every other one through the peer; return what each was told."""
        handles = [(store, peer)[number % 2] for number in range(len(changes))]
        return at_once([partial(handle.swap, user_id, change) for handle, change in zip(handles, changes, strict=True)])

    def interrupt(self, store: Any, peer: Any, user_id: str, changes: tuple[Change, Change], at: int) -> Interrupted:
        """Try the first change on `store`, and the second one on `peer` before step `at` of the first."""
        first, second = changes
        return interrupted(lambda: store.swap(user_id, first), lambda: peer.swap(user_id, second), at)


def dispose(store: Any) -> None:
    """Close a store that can be closed."""
    getattr(store, "close", lambda: None)()


def able(store: Any, ability: type) -> bool:
    """Return whether a store has the methods of an optional ability: `Trail`, `Outbox` or `Listing`.

    `isinstance` would not do: since Python 3.12 it does not see what `Blocking` passes on.
    """
    return all(callable(getattr(store, name, None)) for name in METHODS[ability])
