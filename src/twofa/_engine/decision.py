"""What an operation is given, and what it decides: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twofa._engine.hashing import Job
from twofa._record.state import State
from twofa._time import utc
from twofa.errors import Throttled, TwoFactorError
from twofa.events import Event, EventKind, Plain
from twofa.policy import Policy

if TYPE_CHECKING:
    from twofa._record.throttle import LaneName

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[T]):
    """What to do now: write, tell the listener, do slow work, then raise or return."""

    value: T | None = None
    error: TwoFactorError | None = None
    state: State | None = None
    """What to write; `None` writes nothing."""
    only_if_changed: bool = False
    """Write `state` only where it differs from what is stored."""
    erase: bool = False
    """Delete the record instead."""
    events: tuple[Event, ...] = ()
    """Written with the state, where the store keeps an audit trail, and told to the listener."""
    job: Job | None = None
    """Slow work. The same operation decides again with what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A code or proof that was right, and the state in which it is spent."""

    state: State
    events: tuple[Event, ...] = ()
    proof: dict[str, Plain] = field(default_factory=dict[str, Plain])
    """How it was proven, for the event of what it allows."""
    failed_before: int = 0
    """Wrong codes since the last right one."""
    step_offset: int | None = None
    """Time steps by which the app's clock was ahead; `None` for anything but a TOTP code."""


@dataclass(frozen=True, slots=True)
class SessionGeneration:
    """The generation of the session that a call comes from."""

    generation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What all operations have in common: who asks, when, and under which policy."""

    operation: str
    """The method's name, as in `transitions.TABLE`."""
    user_id: str
    now: int
    """Unix seconds, taken once: a call that decides again after a conflict decides about the same moment."""
    source: str | None
    policy: Policy
    threads: int
    """Threads that hash at once."""
    browser: str | None = None
    """The generation in a browser token that is genuine and this user's, or `None`."""

    session: SessionGeneration | None = None
    """Under any other generation the call is refused: the session that it comes from was ended meanwhile."""

    def has_ended(self, state: State) -> bool:
        """Whether the session that this call comes from was ended."""
        return self.session is not None and self.session.generation != state.generation

    def lane(self, state: State) -> LaneName:
        """Return the lane in which this call's attempt counts: a browser is known under the present generation."""
        known = self.browser is not None and self.browser == state.generation
        return "known" if known else "strangers"

    def event(self, kind: EventKind, **detail: Plain) -> Event:
        """Return an event of this call."""
        return Event(kind, self.user_id, utc(self.now), source=self.source, detail=detail)

    def refuse(self, error: TwoFactorError, kind: EventKind = EventKind.REFUSED) -> Decision[Any]:
        """Decline without a write: the listener is told, and the record does not change."""
        return Decision(error=error, events=(self.event(kind, operation=self.operation, reason=error.code),))

    def wait(self, state: State, until: int) -> Decision[Any]:
        """Decline to look at a code at all. `state` is written only if a clock that went back had to be allowed for."""
        event = self.event(EventKind.THROTTLED, operation=self.operation, retry_at=until)
        return Decision(error=Throttled(utc(until)), state=state, only_if_changed=True, events=(event,))
