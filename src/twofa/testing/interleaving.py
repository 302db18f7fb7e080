"""One call that comes between two steps of another: at each step in turn, instead of at a random one.

A race finds a window that is wide. The window of a dictionary that is read on one line and written on the next is a
few bytecodes wide, and a race misses it in most runs.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from types import FrameType

BLOCKED = 0.02
"""Seconds after which a call that has not returned is taken to wait for the one that it came between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """What came of two calls, of which one came between the steps of the other."""

    first: object
    second: object
    steps: int
    """How many steps the first one took."""


class Interruption:
    """A trace function that lets another call go ahead when the traced one is about to begin its step `at`."""

    def __init__(self, at: int, go: threading.Event, other: Future[object]) -> None:
        self.steps = 0
        self._at, self._go, self._other = at, go, other

    def __call__(self, _frame: FrameType | None, what: str, _argument: object) -> Interruption:
        """Count a line; `sys.settrace` has this called before each one."""
        if what == "line":
            self.steps += 1
            if self.steps == self._at:
                self._go.set()
                # It returns at once, or waits for a lock that the traced call holds, which has to go on then.
                wait([self._other], BLOCKED)
        return self


def interrupted(first: Callable[[], object], second: Callable[[], object], at: int) -> Interrupted:
    """Call `first`, and `second` in another thread before the line of `first` with number `at` is run.

    If `first` has fewer lines, `second` is called afterwards. Lines of Python count, whatever module they are in; what
    happens inside a driver that is written in C is one step.
    """
    go = threading.Event()

    def waiting() -> object:
        go.wait()
        return second()

    with ThreadPoolExecutor(2) as pool:
        # Its thread is there before the first call begins: to start one in the middle takes locks of the interpreter
        # that the first call may hold.
        other = pool.submit(waiting)
        interruption = Interruption(at, go, other)

        def traced() -> object:
            before = sys.gettrace()
            sys.settrace(interruption)
            try:
                return first()
            finally:
                sys.settrace(before)

        try:
            outcome = pool.submit(traced).result()
        finally:
            go.set()
        return Interrupted(first=outcome, second=other.result(), steps=interruption.steps)


def spread(steps: int, most: int) -> Iterator[int]:
    """Yield the numbers of all steps, or of `most` of them from the first to the last."""
    yield from sorted({1 + index * steps // most for index in range(most)} if steps > most else range(1, steps + 1))
