"""`ThreadedStore`: any blocking store behind the asynchronous protocol, from worker threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from typing_extensions import override

from twofa.stores.protocol import AsyncStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from twofa.events import Event
    from twofa.stores.protocol import Change, Store, Stored

T = TypeVar("T")


async def _in_a_thread(function: Callable[..., T], *arguments: object) -> T:
    import asyncio  # a host under another event loop does without

    return await asyncio.to_thread(function, *arguments)


class ThreadedStore(AsyncStore):
    """An asynchronous store over a blocking one. A swap that is cancelled runs to its end: it leaves old or new."""

    def __init__(self, store: Store, *, run_blocking: Callable[..., Awaitable[Any]] = _in_a_thread) -> None:
        """Wrap `store`.

        `run_blocking(function, *arguments)` runs a function in a thread: pass `trio.to_thread.run_sync` under trio.
        """
        self._store = store
        self._run_blocking = run_blocking

    @override
    async def load(self, user_id: str) -> Stored | None:
        return cast("Stored | None", await self._run_blocking(self._store.load, user_id))

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return cast("bool", await self._run_blocking(self._store.swap, user_id, change))

    async def events(self, user_id: str) -> Sequence[Event]:
        """Return the user's events, oldest first. Raises `TypeError` if the wrapped store keeps no trail."""
        events = getattr(self._store, "events", None)
        if events is None:
            raise TypeError(f"{self._store!r} keeps no trail: it has no method events(user_id)")
        return cast("Sequence[Event]", await self._run_blocking(events, user_id))

    async def user_ids(self, after: str = "", limit: int = 100) -> Sequence[str]:
        """Return up to `limit` user ids after `after`. Raises `TypeError` if the wrapped store cannot list them."""
        user_ids = getattr(self._store, "user_ids", None)
        if user_ids is None:
            raise TypeError(f"{self._store!r} cannot list its users: it has no method user_ids(after, limit)")
        return cast("Sequence[str]", await self._run_blocking(user_ids, after, limit))

    def __repr__(self) -> str:
        return f"ThreadedStore({self._store!r})"
