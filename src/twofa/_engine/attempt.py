"""One call on its way between load and swap: what both faces share, without any I/O of its own.

A face loads the record, asks `Attempt.next` what to do, swaps, tells the listener, does slow work, and goes round again
until there is a value or an error. Only that loop exists twice, in `blocking.py` and `asynchronous.py`.

A lost reply is not a lost swap. Drivers send a statement again, and connections break after the commit. So an attempt
recognises its own write in a record that it reads again. It does not trust that reading alone, though: what one replica
shows may not survive a fail-over. It writes the same state once more, and only a swap that was acknowledged counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from twofa import _entropy
from twofa._engine.decision import Decision
from twofa._record.document import dump, load
from twofa._record.state import Record
from twofa.errors import RecordError
from twofa.events import EventKind
from twofa.stores.protocol import Change, Stored

if TYPE_CHECKING:
    from twofa._engine.hashing import Done
    from twofa._engine.operation import Operation
    from twofa._record.sealing import Seal
    from twofa._record.state import State
    from twofa.events import Event

T = TypeVar("T")

ROUNDS = 100
"""How often a call may go round: each round that it loses was won by another call on the same user."""

LOST_REPLIES = 3
"""How often the store may fail to answer a call's swap before the call gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[T]):
    """What the face does next."""

    decision: Decision[T]
    change: Change | None = None
    """To be swapped first. If the swap loses, the face goes round again."""
    confirms: bool = False
    """Whether the decision was written before, and `change` only makes sure of it."""

    def result(self) -> T:
        """Return the value, or raise the error, that ends the call."""
        if self.decision.error is not None:
            raise self.decision.error
        return cast("T", self.decision.value)


class Attempt(Generic[T]):
    """One call on one record."""

    def __init__(self, operation: Operation[T], seal: Seal) -> None:
        self.operation = operation
        self.user_id = operation.call.user_id
        self._seal = seal
        self._done: Done | None = None
        self._offered: Step[T] | None = None
        self._seen = False
        """Whether a record has shown that `_offered` was written."""
        self.events: list[Event] = []
        """What has happened by this call so far, to be told at its end."""

    def happened(self, step: Step[T]) -> None:
        """Note that a step was written, or needed no write."""
        self.events += step.decision.events

    def next(self, stored: Stored | None) -> Step[T]:
        """Return what to do about the record as it was just loaded.

        A record that cannot be trusted ends the call with its `RecordError`: it never reads as "no second factor".
        """
        try:
            return self._next(stored)
        except RecordError as problem:
            return Step(decision=self.operation.call.refuse(problem, EventKind.RECORD_REFUSED))

    def resume(self, done: Done) -> None:
        """Go on after slow work: the swap before it is known to have happened, and the call decides again."""
        self._done, self._offered, self._seen = done, None, False

    def _next(self, stored: Stored | None) -> Step[T]:
        record = open_record(self._seal, stored)
        if self._offered is not None and (self._seen or _has_happened(self._offered, record)):
            # Seen once is enough: others may have written over it since, or even erased it.
            self._seen = True
            again = close_record(self._seal, record.state, record.versions) if stored else None
            change = Change(stored.version if stored else None, again)
            return Step(decision=self._offered.decision, change=change, confirms=True)
        decision = self.operation.decide(record, self._done)
        step = Step(decision=decision, change=self._change(stored, record, decision))
        self._offered, self._seen = (step if step.change is not None else None), False
        return step

    def _change(self, stored: Stored | None, record: Record, decision: Decision[T]) -> Change | None:
        expected = stored.version if stored is not None else None
        if decision.erase:
            # Nothing of the user may stay behind, so the audit trail does not get the event of its own erasure.
            return Change(expected, None) if stored is not None else None
        if decision.state is None:
            return None
        return Change(expected, close_record(self._seal, decision.state, record.versions), decision.events)

    def __repr__(self) -> str:
        return f"Attempt({self.operation!r})"


def open_record(seal: Seal, stored: Stored | None) -> Record:
    """Return what is in a stored record, or an empty one where there is none; raises `RecordError`."""
    if stored is None:
        return Record()
    inside = load(seal.open(stored.document))
    is_current = seal.is_current(stored.document)
    return Record(state=inside.state, versions=(stored.version, *inside.versions), is_current=is_current)


def close_record(seal: Seal, state: State, earlier: tuple[str, ...]) -> Stored:
    """Return a record to store, under a version that was never used before."""
    return Stored(_entropy.random_token(), seal.close(dump(Record(state=state, versions=earlier))))


def _has_happened(offered: Step[T], record: Record) -> bool:
    if offered.change is None or offered.change.new is None:
        return not record.versions
    return offered.change.new.version in record.versions


def said(outcome: object) -> bool:
    """Return what a store's `swap` has said; raises `TypeError` where it did not say whether the change happened."""
    if outcome is True or outcome is False:
        return outcome
    # P3: -1 for "I do not know", or a coroutine that nobody awaited, must not let anyone in.
    raise TypeError(
        f"swap() of the store must return True or False, not {type(outcome).__name__}: nothing was granted, and the "
        "change may have happened"
    )
