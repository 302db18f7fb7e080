"""How the kit, which is blocking, calls an asynchronous store: in an event loop that runs in a thread of its own.

No plugin for pytest is needed, and none is disturbed.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


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
        self.store, self.loop = store, loop
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
    """Call something in the event loop, and await what it returns if that is awaitable."""
    outcome = call()
    return await outcome if inspect.isawaitable(outcome) else outcome
