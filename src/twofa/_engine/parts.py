"""The parts that a face is put together from: its store and its listener, checked before anyone signs in."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from twofa._engine.listening import is_asynchronous
from twofa.stores.protocol import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twofa.events import Event


def check_parts(store: object, on_event: object, *, awaits: bool) -> None:
    """Raise `TypeError` for an object that is no store or no listener, or that is for the other face."""
    if isinstance(store, type):
        raise TypeError(f"store must be an instance, not the class {store.__name__}: pass {store.__name__}(…)")
    for name in ("load", "swap"):
        if not callable(getattr(store, name, None)):
            kind = type(store).__name__
            raise TypeError(f"store must be an object with load and swap, such as SQLiteStore(path), not a {kind}")
    if awaits and Store in type(store).__mro__:
        raise TypeError(f"{store!r} is a blocking store: pass ThreadedStore({store!r})")
    if on_event is not None and not callable(on_event):
        raise TypeError("on_event must be a function that takes an Event")
    if not awaits and (is_asynchronous(getattr(store, "load", None)) or is_asynchronous(on_event)):
        raise TypeError("a store or listener with coroutine functions needs AsyncTwoFactor")


def trail_of(store: Any) -> Any:
    """Return the store as an audit trail; raises `TypeError` for one that keeps none."""
    if not callable(getattr(store, "events", None)):
        raise TypeError(
            f"{store!r} keeps no audit trail: events() needs a store with a method events, such as SQLiteStore"
        )
    return store


def newest_first(events: Sequence[Event], limit: int) -> tuple[Event, ...]:
    """Return the latest events, the newest first."""
    return tuple(reversed(events[-limit:])) if limit > 0 else ()


def is_being_cancelled() -> bool:
    """Whether whoever runs the present task wants it to end. Under another event loop than asyncio's: always."""
    import asyncio  # a blocking host does without

    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or task.cancelling() > 0


def refuse_coroutine(told: object) -> None:
    """Raise `TypeError` for a coroutine that a listener of the blocking face returned: nobody will await it."""
    if inspect.iscoroutine(told):
        told.close()
        raise TypeError("on_event returned a coroutine, which only AsyncTwoFactor awaits")
