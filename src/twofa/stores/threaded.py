"""`ThreadedStore`: any blocking store behind the asynchronous protocol, from worker threads."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from typing_extensions import override

from twofa.stores.protocol import AsyncStore, Stored, UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from typing import Any

    from twofa.events import Event
    from twofa.stores.protocol import Change, Finding, OutboxEntry, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """What the wrapped store has loaded, and for whom."""

    user_id: str
    stored: Stored | None


class ThreadedStore(AsyncStore):
    """An asynchronous store over a blocking one. A swap that is cancelled runs to its end: it leaves old or new."""

    def __init__(self, store: Store, *, run_blocking: Callable[..., Awaitable[Any]] = asyncio.to_thread) -> None:
        """Wrap `store`.

        `run_blocking(function, *arguments)` runs a function in a thread and returns what it returned: pass
        `trio.to_thread.run_sync` under trio.
        """
        self._store = store
        self._run_blocking = run_blocking

    @override
    async def load(self, user_id: str) -> Stored | None:
        answer: object = await self._run_blocking(self._load, user_id)
        # A `run_blocking` of the host's that forgets to return would read as "no record", which lets everybody in.
        if not isinstance(answer, _Loaded) or answer.user_id != user_id:
            raise UnexpectedAnswer("run_blocking must return what the function that it was given returned, and did not")
        return answer.stored

    def _load(self, user_id: str) -> _Loaded:
        return _Loaded(user_id=user_id, stored=self._store.load(user_id))

    @override
    async def swap(self, user_id: str, change: Change) -> bool:
        return cast("bool", await self._run_blocking(self._store.swap, user_id, change))

    async def events(self, user_id: str) -> Sequence[Event]:
        """Return the user's events, oldest first. Raises `TypeError` if the wrapped store keeps no trail."""
        return cast("Sequence[Event]", await self._call("events", user_id))

    async def events_after(self, cursor: str = "", limit: int = 100) -> Sequence[OutboxEntry]:
        """Return up to `limit` events after `cursor`. Raises `TypeError` if the wrapped store is no outbox."""
        return cast("Sequence[OutboxEntry]", await self._call("events_after", cursor, limit))

    async def prune_events(self, before: datetime) -> int:
        """Erase the events earlier than `before`. Raises `TypeError` if the wrapped store is no outbox."""
        return cast("int", await self._call("prune_events", before))

    async def user_ids(self, after: str = "", limit: int = 100) -> Sequence[str]:
        """Return up to `limit` user ids after `after`. Raises `TypeError` if the wrapped store cannot list them."""
        return cast("Sequence[str]", await self._call("user_ids", after, limit))

    async def diagnose(self, now: float) -> Sequence[Finding]:
        """Return what the wrapped store finds wrong with its database, nothing if it does not look."""
        if not hasattr(self._store, "diagnose"):
            return ()
        return cast("Sequence[Finding]", await self._call("diagnose", now))

    async def _call(self, ability: str, *arguments: object) -> object:
        method = getattr(self._store, ability, None)
        if method is None:
            raise TypeError(f"{self._store!r} lacks this optional ability of a store: it has no method {ability}()")
        return await self._run_blocking(method, *arguments)

    def __repr__(self) -> str:
        return f"ThreadedStore({self._store!r})"
