"""How much to erase at a time, so that logins go on meanwhile.

SQLite has one writer at a time. To erase four million events takes most of a minute, and whoever wants to write in that
time fails. So each batch is small enough to take a few hundredths of a second, and is followed by a pause as long as it
took: other processes do not queue for the file but look for it to be free now and then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 200
SMALLEST, LARGEST = 50, 10_000
"""Events in a batch."""
AIM = 0.05
"""Seconds that a batch should take. On a slow disk fewer events take as long."""


def in_batches(erase: Callable[[int], int]) -> int:
    """Call `erase` until fewer events are left than it was asked to erase; return how many it erased in all."""
    size, erased = FIRST, 0
    while True:
        start = time.monotonic()
        done = erase(size)
        taken = time.monotonic() - start
        erased += done
        if done < size:
            return erased
        time.sleep(taken)
        size = next_size(size, taken)


def next_size(size: int, taken: float) -> int:
    """Return how many events to erase next, after that many took `taken` seconds: at most twice as many."""
    fitting = int(size * AIM / taken) if taken else 2 * size
    return max(SMALLEST, min(LARGEST, 2 * size, fitting))
