"""`Clock`: the time, as a test sets it."""

from __future__ import annotations


class Clock:
    """Unix time that stands still until it is moved. Pass it as `clock=` to `TwoFactor`."""

    def __init__(self, now: int = 1_800_000_000) -> None:
        """Start at `now`, in Unix seconds: a moment in January 2027, unless given."""
        self.now = now

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now

    def advance(self, seconds: int) -> None:
        """Move by that many seconds, backwards if negative."""
        self.now += seconds

    def __repr__(self) -> str:
        return f"Clock({self.now})"
