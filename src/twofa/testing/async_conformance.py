"""The same laws for asynchronous stores: each call runs in an event loop of its own thread, races run in one `gather`.

No plugin for pytest is needed, and none is disturbed.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from twofa.stores.protocol import Change, Stored
from twofa.testing.listing_conformance import ListingConformance
from twofa.testing.outbox_conformance import OutboxConformance
from twofa.testing.samples import USER, stored, version
from twofa.testing.store_conformance import StoreConformance, only_winner
from twofa.testing.trail_conformance import TrailConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence


class EventLoop:
    """An event loop in a thread of its own, where blocking code can have coroutines run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="twofa.testing", daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine returns, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Blocking:
    """An asynchronous store, called like a blocking one."""

    def __init__(self, store: Any, loop: EventLoop) -> None:
        self.store = store
        self.run = loop.run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # Found only where the store has it, so that the wrapper has the store's abilities and no other.
        return partial(self._call, getattr(self.store, name))

    def _call(self, method: Callable[..., Any], *arguments: object, **named: object) -> Any:
        return self.run(settled(partial(method, *arguments, **named)))

    def close(self) -> None:
        """Close the store, if it can be closed."""
        close = getattr(self.store, "aclose", None) or getattr(self.store, "close", None)
        if close is not None:
            self._call(close)


async def settled(call: Callable[[], Any]) -> Any:
    """Call something in the event loop, and wait for it if it is to be waited for."""
    outcome = call()
    return await outcome if inspect.isawaitable(outcome) else outcome


class AsyncStoreConformance(StoreConformance):
    """The laws for an asynchronous store: `make_store` and `make_peer` return one, or are coroutine functions."""

    @pytest.fixture
    def loop(self) -> Iterator[EventLoop]:
        """The event loop of one law."""
        loop = EventLoop()
        yield loop
        loop.close()

    @override
    @pytest.fixture
    def store(self, loop: EventLoop) -> Iterator[Any]:
        """A new store for each law."""
        store = Blocking(loop.run(settled(self.make_store)), loop)
        yield store
        store.close()

    @override
    @pytest.fixture
    def peer(self, loop: EventLoop, store: Any) -> Iterator[Any]:
        """A second handle on the same data."""
        peer = Blocking(loop.run(settled(partial(self.make_peer, store.store))), loop)
        yield peer
        if peer.store is not store.store:
            peer.close()

    @override
    def ask(self, hook: Callable[[Any], Any], store: Blocking) -> Any:
        """Call one of the subclass's hooks, perhaps a coroutine function, with the store as `make_store` made it."""
        return store.run(settled(partial(hook, store.store)))

    @override
    def race(self, store: Any, peer: Any, user_id: str, changes: Sequence[Change]) -> list[int]:
        """Try all changes in one `gather`, every other one through the peer; return which one was told that it won."""

        async def together() -> Any:
            handles = [store.store, peer.store] * (len(changes) // 2 + 1)
            return await asyncio.gather(
                *(handle.swap(user_id, change) for handle, change in zip(handles, changes, strict=False))
            )

        return only_winner(store.run(together()))

    @pytest.mark.parametrize("new", [stored(2), None], ids=["update", "delete"])
    def test_a_cancelled_swap_leaves_old_or_new(self, store: Any, peer: Any, new: Stored | None) -> None:
        """Wherever a swap is cancelled, the record is the one before or the one after, and the store goes on."""
        for turns in range(12):
            user_id = f"user-{turns}"
            assert store.swap(user_id, Change(None, stored(1)))
            ended = store.run(cancelled_after(turns, store.store.swap(user_id, Change(version(1), new))))
            assert peer.load(user_id) in (stored(1), new)
            # A thread or a server may still be at it: the swap that follows waits its turn, and tells what it was.
            undone = store.swap(user_id, Change(version(1), stored(3)))
            assert ended is not True or not undone
            assert (stored(3) if undone else new) == peer.load(user_id)
        assert store.swap(USER, Change(None, stored(1)))
        assert stored(1) == peer.load(USER)


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
