"""What a store may use up or look at in its process: open files, and the clock."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Generator

TEN_YEARS = 10 * 365 * 86_400
"""Seconds."""


def open_files() -> int:
    """Return how many files and sockets this process has open, or 0 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):  # noqa: PTH112  # a path that only exists on some systems
            return len(os.listdir(folder))  # noqa: PTH208
    return 0


@contextmanager
def ten_years_later() -> Generator[None]:
    """Move the clocks that Python code reads from the module `time`."""
    with ExitStack() as stack:
        for name, unit in {"time": 1, "monotonic": 1, "time_ns": 10**9, "monotonic_ns": 10**9}.items():
            clock = getattr(time, name)
            stack.enter_context(patch.object(time, name, lambda clock=clock, unit=unit: clock() + TEN_YEARS * unit))
        yield
