"""The same laws for asynchronous stores: calls run in an event loop of its own thread, races run in one `gather`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from twofa.stores.protocol import Change, Stored
from twofa.testing.event_loop import Blocking, EventLoop, settled
from twofa.testing.explaining import check_record, named
from twofa.testing.interleaving import Interrupted
from twofa.testing.listing_conformance import ListingConformance
from twofa.testing.outbox_conformance import OutboxConformance
from twofa.testing.samples import stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.trail_conformance import TrailConformance
from twofa.testing.user_ids import USER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

TURNS = 12
"""Turns of the event loop: a call is cancelled, or another one comes between, after each of them."""


class AsyncStoreConformance(StoreConformance):
    """The laws for an asynchronous store: `make_store` and `make_peer` return one, or are coroutine functions."""

    @pytest.fixture
    def loop(self) -> Iterator[EventLoop]:
        """The event loop of one test."""
        loop = EventLoop()
        yield loop
        loop.close()

    @override
    @pytest.fixture
    def store(self, loop: EventLoop) -> Iterator[Any]:
        """A new store for each test."""
        store = Blocking(loop.run(settled(self.make_store)), loop)
        yield store
        store.close()

    @override
    @pytest.fixture
    def peer(self, loop: EventLoop, store: Any) -> Iterator[Any]:
        """A second handle on the same data."""
        peer = self.open_again(store)
        yield peer
        if peer.store is not store.store:
            peer.close()

    @override
    def open_again(self, store: Blocking) -> Blocking:
        """Return a new handle on the same data."""
        return Blocking(self.ask(self.make_peer, store), store.loop)

    @override
    def ask(self, hook: Callable[[Any], Any], store: Blocking) -> Any:
        """Call one of the subclass's hooks, perhaps a coroutine function, with the store as `make_store` made it."""
        return store.run(settled(partial(hook, store.store)))

    @override
    def race(self, store: Any, peer: Any, user_id: str, changes: Sequence[Change]) -> Sequence[object]:
        """Try all changes in one `gather`, every other one through the peer; return what each was told."""

        async def together() -> Any:
            handles = [store.store, peer.store] * (len(changes) // 2 + 1)
            return await asyncio.gather(
                *(handle.swap(user_id, change) for handle, change in zip(handles, changes, strict=False))
            )

        return list(store.run(together()))

    @override
    def interrupt(self, store: Any, peer: Any, user_id: str, changes: tuple[Change, Change], at: int) -> Interrupted:
        """Try the first change on `store`, and the second one on `peer` after `at` turns of the event loop."""

        async def between() -> Interrupted:
            first = asyncio.ensure_future(store.store.swap(user_id, changes[0]))
            for _ in range(at):
                await asyncio.sleep(0)
            second = await peer.store.swap(user_id, changes[1])
            return Interrupted(first=await first, second=second, steps=TURNS)

        outcome: Interrupted = store.run(between())
        return outcome

    @pytest.mark.parametrize("new", [stored(2), None], ids=["update", "delete"])
    def test_a_cancelled_swap_leaves_old_or_new(self, store: Any, peer: Any, new: Stored | None) -> None:
        """Wherever a swap is cancelled, the record is the one before or the one after, and the store goes on."""
        for turns in range(TURNS):
            user_id, when = f"user-{turns}", f"a swap was cancelled after {turns} turns of the event loop"
            assert store.swap(user_id, Change(None, stored(1)))
            ended = store.run(cancelled_after(turns, store.store.swap(user_id, Change(version(1), new))))
            left = peer.load(user_id)
            assert left in (stored(1), new), f"{when}, and left {named(left)}: neither the old record nor the new one"
            # A thread or a server may still be at it: the swap that follows waits its turn, and tells what it was.
            undone = store.swap(user_id, Change(version(1), stored(3)))
            assert ended is not True or not undone, f"{when}, had returned True, and had changed nothing"
            check_record(stored(3) if undone else new, peer, user_id, when)
        assert store.swap(USER, Change(None, stored(1))), "after swaps that were cancelled, a right one lost"
        check_record(stored(1), peer, USER, "it was put after other swaps were cancelled")


class AsyncTrailConformance(AsyncStoreConformance, TrailConformance):
    """The laws for an asynchronous store that keeps a trail."""


class AsyncOutboxConformance(AsyncTrailConformance, OutboxConformance):
    """The laws for an asynchronous store whose trail is an outbox."""


class AsyncListingConformance(AsyncStoreConformance, ListingConformance):
    """The laws for an asynchronous store that can list its users."""


async def cancelled_after(turns: int, call: Coroutine[Any, Any, bool]) -> bool | None:
    """Cancel a call after some turns of the event loop; return what it returned if it was done before."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None
