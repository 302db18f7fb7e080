"""Whose turn it is, among calls of this process that want the same user.

Two things are done one call at a time. Calls whose swap lost a conflict would otherwise lose to chance again and again:
of 64 that kept writing one record, some took ten seconds although each write took ten milliseconds. And slow hashes
of one user must not fill the pool that all users share. Calls that met no conflict and need no slow work never queue.

A queue is about fairness. The store alone decides who wins.

A position may leave its queue anywhere: while the garbage collector closes an abandoned coroutine, or in a signal
handler, in the middle of other code of this module. So no code here waits for a lock that the same thread may hold:
requests are put into a deque, and whoever gets the lock carries out all of them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable


CONFLICT_PATIENCE = 2.0
"""Seconds that a call waits behind others that met a conflict on its user. Then it goes on out of turn."""

SLOW_WORK_PATIENCE = 60.0
"""Seconds that a call waits behind the slow work of others on its user. Then it gives up: `StoreContention`."""


class Queue:
    """The positions of waiting calls, a line for each user."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        """Seconds that a call waits at most: the one in front may hang in its database."""
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._requests: deque[Callable[[], None]] = deque()
        self._lines: dict[str, deque[Position | AsyncPosition]] = {}

    def is_busy(self, user_id: str) -> bool:
        """Return whether a call on this user stands in the queue."""
        return user_id in self._lines

    def join(self, user_id: str, position: Position | AsyncPosition) -> None:
        """Put a position at the end of its user's line; the first in line is woken at once."""
        if self._process != os.getpid():  # after a fork: the positions, and whoever holds the lock, are the parent's
            self._start()
        self._carry_out(lambda: self._join(user_id, position))

    def leave(self, user_id: str, position: Position | AsyncPosition) -> None:
        """Take a position out, and wake the one that is first then."""
        self._carry_out(lambda: self._leave(user_id, position))

    def _carry_out(self, request: Callable[[], None]) -> None:
        self._requests.append(request)
        # If another call holds the lock, it sees our request before it lets go, or we see the lock free again.
        while self._requests and self._lock.acquire(blocking=False):
            try:
                while self._requests:
                    self._requests.popleft()()
            finally:
                self._lock.release()

    def _join(self, user_id: str, position: Position | AsyncPosition) -> None:
        line = self._lines.setdefault(user_id, deque())
        line.append(position)
        if line[0] is position:
            position.wake()

    def _leave(self, user_id: str, position: Position | AsyncPosition) -> None:
        line = self._lines.get(user_id)
        if line is None or position not in line:
            return
        line.remove(position)
        if line:
            line[0].wake()
        else:
            del self._lines[user_id]


class Position:
    """A blocking call's position in the queue of its user."""

    __slots__ = ("_joined", "_queue", "_turn", "_user_id")

    def __init__(self, queue: Queue, user_id: str) -> None:
        self._queue, self._user_id = queue, user_id
        self._joined = False
        # A bare lock, since a `threading.Event` has a lock of its own, which the same thread might hold.
        self._turn = threading.Lock()

    @property
    def joined(self) -> bool:
        """Whether this call stands in the queue."""
        return self._joined

    def join(self) -> bool:
        """Stand in the queue; return whether another call is in front."""
        self._joined = True
        self._turn.acquire()
        self._queue.join(self._user_id, self)
        return self._turn.locked()

    def wait(self) -> bool:
        """Wait for this call's turn, which lasts until it leaves; return whether it came within the patience."""
        if not self._turn.acquire(timeout=self._queue.patience):
            return False
        self._turn.release()
        return True

    def wake(self) -> None:
        """Say that it is this call's turn."""
        if self._turn.locked():
            self._turn.release()

    def leave(self) -> None:
        """Leave the queue, if in it."""
        if self._joined:
            self._joined = False
            self._queue.leave(self._user_id, self)


class AsyncPosition:
    """The same for a coroutine under asyncio. Under another event loop nobody waits, and chance decides."""

    __slots__ = ("_joined", "_loop", "_queue", "_turn", "_user_id", "_woken")

    def __init__(self, queue: Queue, user_id: str) -> None:
        self._queue, self._user_id = queue, user_id
        self._joined = self._woken = False
        self._turn: Future[None] | None = None
        self._loop: AbstractEventLoop | None = None

    @property
    def joined(self) -> bool:
        """As `Position.joined`."""
        return self._joined

    def join(self) -> bool:
        """As `Position.join`."""
        import asyncio  # a blocking host does without

        self._joined = True
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._turn = self._loop.create_future()
        self._queue.join(self._user_id, self)
        return not self._woken

    async def wait(self) -> bool:
        """As `Position.wait`."""
        import asyncio

        if self._turn is not None:
            await asyncio.wait([self._turn], timeout=self._queue.patience)
        return self._woken

    def wake(self) -> None:
        """As `Position.wake`, from the thread of any event loop."""
        self._woken = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resume)

    def _resume(self) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def leave(self) -> None:
        """As `Position.leave`."""
        if self._joined:
            self._joined = False
            if self._turn is not None:
                self._turn.cancel()
                self._queue.leave(self._user_id, self)
