"""What a host implements to keep records in a database of its own: two methods.

The laws:

- `load` of an unknown user is `None`; a document comes back byte for byte; `load` reads the primary, never a replica.
- Absence is stated, never inferred from an empty result: the query for a record always answers with one row, record or
  not, that carries a marker and the asked user id. `load` checks both, and raises for anything else. (Behind a proxy
  that pools transactions, an empty result can be the answer to a neighbour's statement. Read as "no second factor
  here", it lets everybody in with the password alone.) Only a store that nobody else's answer can reach, such as one
  in an embedded database, does without.
- A `swap` with a stale version changes nothing and returns `False`. Of any number of racing swaps with the same
  `expected`, exactly one returns `True`. Writing the same document again still spends the version.
- User ids are compared byte for byte: case, trailing spaces and accents keep two users apart.
- A swap that returned is durable, whatever becomes of the caller's own transaction: a store writes in a transaction of
  its own, on a connection of its own. Otherwise a refused code would roll its own count back.
- A swap that is cut short leaves the old record or the new one.
- A store that keeps a trail writes `events` in the same transaction, and a delete erases the user's trail too.
- A trail that is also an outbox hands its events on in an order in which none can be missed: an event that becomes
  visible late never stands before one that was handed on already.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from twofa.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = [
    "AsyncStore",
    "Change",
    "Diagnosable",
    "Finding",
    "Listing",
    "Outbox",
    "OutboxEntry",
    "Store",
    "Stored",
    "Trail",
    "UnexpectedAnswer",
]


class UnexpectedAnswer(RuntimeError):
    """What a store raises for an answer of its database that must not be believed.

    It belongs to another question, or comes from a replica. The message says what probably happened, and what to set.
    """


class Stored(NamedTuple):
    """A user's record as a store holds it: two opaque ASCII strings."""

    version: str
    """32 hexadecimal digits, random, made by the library and never used twice."""
    document: str
    """The sealed record, about 1.5 kB."""


class Change(NamedTuple):
    """One atomic step: put `new` where the version is still `expected`."""

    expected: str | None
    """The version to replace; `None` means "only if the user has no record"."""
    new: Stored | None
    """The record to put; `None` means "delete the record, and whatever else is kept of the user"."""
    events: tuple[Event, ...] = ()
    """What happened with this step, for a store that keeps a trail."""


class OutboxEntry(NamedTuple):
    """An event, and where to go on after it."""

    cursor: str
    """Opaque ASCII text, made by the store: keep it once the event is dealt with, and pass it on to `events_after`."""
    event: Event
    """What happened."""


class Store(Protocol):
    """A blocking store. Safe to call from any thread."""

    def load(self, user_id: str) -> Stored | None:
        """Return the user's record, or `None` if the database says that there is none. Raise if it does not say so."""
        ...

    def swap(self, user_id: str, change: Change) -> bool:
        """Apply `change` if it still fits, durably and in one step; return whether it happened. Raise if unsure."""
        ...


class AsyncStore(Protocol):
    """The same two methods as coroutines."""

    async def load(self, user_id: str) -> Stored | None:
        """As `Store.load`."""
        ...

    async def swap(self, user_id: str, change: Change) -> bool:
        """As `Store.swap`."""
        ...


@runtime_checkable
class Trail(Protocol):
    """An optional ability of a store: it keeps the events."""

    def events(self, user_id: str) -> "Sequence[Event]":
        """Return the user's events, oldest first."""
        ...


@runtime_checkable
class Outbox(Trail, Protocol):
    """An optional ability of a store: it hands its events on, to a mailer or an audit log, and loses none."""

    def events_after(self, cursor: str = "", limit: int = 100) -> "Sequence[OutboxEntry]":
        """Return up to `limit` events of all users that stand after `cursor`; `""` is before the first.

        They come in the order in which they were committed: if one swap returned before another began, its events come
        first. Nothing is ever added before a cursor that was handed out, so that whoever keeps the cursor of each event
        that it has dealt with misses none, and after a restart repeats none. Events that were erased meanwhile, by
        `prune_events` or with their user, are not handed on any more; a cursor stays good all the same.

        Raises `ValueError` for a cursor that the store did not make.
        """
        ...

    def prune_events(self, before: "datetime") -> int:
        """Erase every event with `at` earlier than `before` (an aware datetime), delivered or not; return how many.

        Raises `ValueError` for a datetime without a time zone.
        """
        ...


@runtime_checkable
class Listing(Protocol):
    """An optional ability of a store: it can list its users, for reports and for resealing all."""

    def user_ids(self, after: str = "", limit: int = 100) -> "Sequence[str]":
        """Return up to `limit` user ids greater than `after`, in the store's own order: pass the last one on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake in how a store is set up, or something else that its operator should know."""

    severity: Literal["note", "warning", "critical"]
    """`warning` is to be mended; `critical` keeps users from signing in, or lets others in."""
    code: str
    """A stable name for machines."""
    message: str
    """What it is, and what to do."""


@runtime_checkable
class Diagnosable(Protocol):
    """An optional ability of a store: it finds mistakes in its database, for `python -m twofa check`."""

    def diagnose(self, now: float) -> "Sequence[Finding]":
        """Return what is wrong, without writing anything. `now` is the application's time in Unix seconds."""
        ...
