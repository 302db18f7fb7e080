"""One call on its way between the record and the caller: what both faces share, without any I/O of its own.

A face loads the record, asks `Run.next` what to do, swaps, tells the listener, works, and goes round again until there
is a value or an error. Only that loop exists twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

from twofa import _entropy
from twofa._engine.operations import Decision
from twofa._record.state import Record, dump, load
from twofa.errors import RecordError
from twofa.events import EventKind
from twofa.stores.protocol import Change, Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa._engine.jobs import Done, Job
    from twofa._engine.operations import Operation
    from twofa._record.sealing import Seal
    from twofa._record.state import State
    from twofa.events import Event

T = TypeVar("T")

ROUNDS = 100
"""How often a call may go round: each round that it loses was won by another call on the same user."""


class Turn(Generic[T]):
    """What the face does next."""

    __slots__ = ("change", "decision")

    def __init__(self, decision: Decision[T], change: Change | None) -> None:
        self.decision = decision
        self.change = change
        """To be swapped first; if that fails, go round again."""

    @property
    def events(self) -> tuple[Event, ...]:
        """To be told once the change, if there is one, is durable."""
        return self.decision.events

    @property
    def job(self) -> Job | None:
        """To be run then; go round again with what came of it."""
        return self.decision.job

    def result(self) -> T:
        """Return the value, or raise the error, that ends the call."""
        if self.decision.error is not None:
            raise self.decision.error
        return cast("T", self.decision.value)


class Run(Generic[T]):
    """One call on one record. Knows its own writes again, so that a lost reply is not taken for a lost swap."""

    def __init__(self, operation: Operation[T], seal: Seal) -> None:
        self.operation = operation
        self.user_id = operation.call.user_id
        self._done: Done | None = None
        self._seal = seal
        self._offered: Turn[T] | None = None

    def next(self, stored: Stored | None) -> Turn[T]:
        """Return what to do about the record as it was just loaded.

        A record that cannot be trusted ends the call with its `RecordError`: it never reads as "no second factor".
        """
        try:
            return self._next(stored)
        except RecordError as problem:
            return Turn(self.operation.refuse(problem, EventKind.RECORD_REFUSED), None)

    def _next(self, stored: Stored | None) -> Turn[T]:
        record = open_record(self._seal, stored)
        offered, self._offered = self._offered, None
        if offered is not None and _landed(offered, record):
            return Turn(offered.decision, None)
        decision = self._decide(stored, record.state)
        turn = Turn(decision, self._change(stored, record, decision))
        self._offered = turn if turn.change is not None else None
        return turn

    def resume(self, done: Done) -> None:
        """Go on after a job: its change is known to have happened, and the call decides again with what came of it."""
        self._done, self._offered = done, None

    def landed(self, stored: Stored | None) -> bool:
        """Whether a reload shows that the last change happened, although its swap failed."""
        return self._offered is not None and _landed(self._offered, open_record(self._seal, stored))

    def _decide(self, stored: Stored | None, state: State) -> Decision[T]:  # noqa: ARG002  # sealed: see `ResealRun`
        return self.operation.decide(state, self._done)

    def _change(self, stored: Stored | None, record: Record, decision: Decision[T]) -> Change | None:
        expected = stored.version if stored is not None else None
        if decision.erase:
            # Nothing of the user is to stay behind, so the trail does not get the event of its own erasure.
            return Change(expected, None) if stored is not None else None
        if decision.state is None:
            return None
        return Change(expected, close_record(self._seal, decision.state, record.versions), decision.events)

    def __repr__(self) -> str:
        return f"Run({self.operation!r})"


class ResealRun(Run[bool]):
    """A call that is about the sealed document, which no operation sees: whether the primary key has sealed it."""

    def __init__(self, operation: Operation[bool], seal: Seal, is_current: Callable[[str], bool]) -> None:
        super().__init__(operation, seal)
        self._is_current = is_current

    def _decide(self, stored: Stored | None, state: State) -> Decision[bool]:
        if stored is None or self._is_current(stored.document):
            return Decision(value=False)
        return super()._decide(stored, state)


def open_record(seal: Seal, stored: Stored | None) -> Record:
    """Return what is in a stored record, or an empty one where there is none; raises `RecordError`."""
    if stored is None:
        return Record()
    inside = load(seal.open(stored.document))
    return Record(inside.state, (stored.version, *inside.versions))


def close_record(seal: Seal, state: State, earlier: tuple[str, ...]) -> Stored:
    """Return a record to store, under a version that was never used before."""
    return Stored(_entropy.random_token(), seal.close(dump(Record(state, earlier))))


def _landed(offered: Turn[T], record: Record) -> bool:
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
