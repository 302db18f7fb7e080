"""Whose turn it is, among calls on one user that have overtaken each other.

A call whose swap is lost begins again, and among many of them chance decides who is overtaken once more: of 64 that
kept writing one record, some waited for ten seconds although each write took ten milliseconds. So those of this process
that were overtaken stand in line. Nobody does who was not, and nobody waits for long: this is about fairness, and the
store alone decides who wins.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from asyncio import AbstractEventLoop, Future

PATIENCE = 2.0
"""Seconds after which a call goes on out of turn: what is in front of it may hang in its database."""


class Turns:
    """The lines of one face, one a user."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        import threading  # `import twofa` is cheaper without

        self._process = os.getpid()
        self._lock = threading.Lock()
        self._lines: dict[str, deque[Place | AsyncPlace]] = {}

    def contended(self, user_id: str) -> bool:
        """Return whether a call on this user was overtaken, and has not come to its end."""
        return user_id in self._lines

    def join(self, user_id: str, waiting: Place | AsyncPlace) -> bool:
        """Stand in line; return whether it is this one's turn at once."""
        if self._process != os.getpid():  # those in the line, and who holds the lock, are the parent's
            self._start()
        with self._lock:
            line = self._lines.setdefault(user_id, deque())
            line.append(waiting)
            return line[0] is waiting

    def leave(self, user_id: str, waiting: Place | AsyncPlace) -> None:
        """Let the next one go on."""
        with self._lock:
            line = self._lines.get(user_id, deque())
            if waiting in line:
                line.remove(waiting)
            if line:
                line[0].wake()
            else:
                self._lines.pop(user_id, None)


class Place:
    """A blocking call's place in the line of its user."""

    __slots__ = ("_go", "_turns", "_user_id")

    def __init__(self, turns: Turns, user_id: str) -> None:
        self._turns, self._user_id = turns, user_id
        self._go: threading.Event | None = None

    def join(self) -> bool:
        """Stand in line when a swap is lost for the first time; return whether there is someone to wait for."""
        if self._go is not None:
            return False
        import threading  # loaded already, where threads overtake each other

        self._go = threading.Event()
        return not self._turns.join(self._user_id, self)

    def wait(self) -> None:
        """Wait for this call's turn, which lasts until it leaves."""
        if self._go is not None:
            self._go.wait(PATIENCE)

    def wake(self) -> None:
        """Say that it is this call's turn."""
        if self._go is not None:
            self._go.set()

    def leave(self) -> None:
        """Go out of the line, if in it."""
        if self._go is not None:
            self._turns.leave(self._user_id, self)
            self._go = None


class AsyncPlace:
    """The same for a coroutine under asyncio. Under another event loop nobody waits, and chance decides."""

    __slots__ = ("_go", "_loop", "_turns", "_user_id")

    def __init__(self, turns: Turns, user_id: str) -> None:
        self._turns, self._user_id = turns, user_id
        self._go: Future[None] | None = None
        self._loop: AbstractEventLoop | None = None

    def join(self) -> bool:
        """As `Place.join`."""
        import asyncio  # loaded already, if it is asyncio's loop that runs this

        if self._go is not None:
            return False
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._go = self._loop.create_future()
        return not self._turns.join(self._user_id, self)

    async def wait(self) -> None:
        """As `Place.wait`."""
        import asyncio

        if self._go is not None:
            await asyncio.wait([self._go], timeout=PATIENCE)

    def wake(self) -> None:
        """As `Place.wake`, from the thread of any event loop."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        if self._go is not None and not self._go.done():
            self._go.set_result(None)

    def leave(self) -> None:
        """As `Place.leave`."""
        if self._go is not None:
            self._turns.leave(self._user_id, self)
            self._go.cancel()
            self._go = None
