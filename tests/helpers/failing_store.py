"""A store that fails in one way or another, at the write that a test chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from twofa import Change, Stored

NO_FAULT = ""
LOAD_FAILS = "load fails"
SWAP_FAILS = "swap fails"
"""It raises, and nothing happened."""
REPLY_LOST = "reply lost"
"""It raises, and the change happened."""
REPLY_AND_LOAD_LOST = "reply lost, then load fails"
SAYS_NO = "says no"
"""It says that nothing happened, but the change did: a driver has sent it twice."""
OVERTAKEN = "overtaken"
"""It says no, as if somebody else had come first and left the record as it was."""
ALWAYS_OVERTAKEN = "overtaken for ever"
NEXT_LOAD_FAILS = "next load fails"
"""The change happens, and the next load raises."""

FAULTS = (
    LOAD_FAILS,
    SWAP_FAILS,
    REPLY_LOST,
    REPLY_AND_LOAD_LOST,
    SAYS_NO,
    OVERTAKEN,
    ALWAYS_OVERTAKEN,
    NEXT_LOAD_FAILS,
)


class Gone(Exception):
    """What a driver raises when the connection is lost."""


class FailingStore(MemoryStore):
    """A memory store that meets one fault in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.plan(NO_FAULT, 0)

    def plan(self, fault: str, at: int) -> None:
        """Let the next call meet a fault, at its write number `at`."""
        self._fault, self._at, self._swaps = fault, at, 0
        self._load_fails = fault == LOAD_FAILS

    def load(self, user_id: str) -> Stored | None:
        """Load, or fail."""
        if self._load_fails:
            self._load_fails = False
            raise Gone
        return super().load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        """Swap, or fail as planned."""
        due = self._swaps >= self._at if self._fault == ALWAYS_OVERTAKEN else self._swaps == self._at
        fault = self._fault if due else NO_FAULT
        self._swaps += 1
        if fault == SWAP_FAILS:
            raise Gone
        if fault in {OVERTAKEN, ALWAYS_OVERTAKEN}:
            return False
        happened = super().swap(user_id, change)
        self._load_fails = fault in {REPLY_AND_LOAD_LOST, NEXT_LOAD_FAILS}
        if happened and fault in {REPLY_LOST, REPLY_AND_LOAD_LOST}:
            raise Gone
        return happened and fault != SAYS_NO


class Awaiting:
    """The same store for the asynchronous face. It never waits for anything."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def load(self, user_id: str) -> Stored | None:
        """As `Store.load`."""
        return self._store.load(user_id)

    async def swap(self, user_id: str, change: Change) -> bool:
        """As `Store.swap`."""
        return self._store.swap(user_id, change)
