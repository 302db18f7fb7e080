"""Which commands each method of the store sends, and what the answers mean.

`RedisStore` and `AsyncRedisStore` differ only in how they send a command. What they send, and in which order, is
written here once, in functions that do no I/O of their own: each is a generator that yields the commands it wants sent,
is resumed with their replies, and in the end returns the method's result. For example:

    def load(store, user_id):
        (reply,) = yield [Command(("EVALSHA", ...))]     # the store sends it and resumes the function here
        return ...                                       # what the store's load() returns
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from twofa import _entropy
from twofa.errors import RecordDamaged, UnsupportedRecord
from twofa.stores.protocol import Stored, UnexpectedAnswer
from twofa.stores.redis import scripts
from twofa.stores.redis.layout import MOST_EVENTS, Layout, read_entries, write_event
from twofa.stores.redis.settings import Settings
from twofa.stores.trail import EventRow, seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from twofa.events import Event
    from twofa.stores.protocol import Change
    from twofa.stores.redis.scripts import Script

T = TypeVar("T")

_logger = logging.getLogger("twofa.stores")
_logger.addHandler(logging.NullHandler())

Word: TypeAlias = str | bytes | int

FORMAT = 1
"""How everything is kept. A version of twofa that changes it counts this up, and converts what is there."""
_READ_TOGETHER = 256
"""How many shards of a single server one script reads."""
_LOOKED_AT = 500
"""How many events one script looks at when old ones are erased, so that it holds nobody up for more than about 2 ms."""
_SENT_TOGETHER = 1000
"""How many commands are sent before the first reply is read."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command to the server."""

    words: tuple[Word, ...]
    node: object = None
    """The node of a cluster that it is for, where no key says so."""


Replies: TypeAlias = Sequence[Any]
"""The reply to each command, or the exception that the driver has raised."""
Exchange: TypeAlias = Generator[Sequence[Command], Replies, T]
"""A function of this module while it runs: it yields commands, receives their replies, and returns a `T`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A store that was found or created on the server."""

    settings: Settings
    identity: str
    """Random text that every shard of this store has, and no shard of another one."""
    groups: tuple[tuple[int, ...], ...]
    """Which shards one script may read together: a few hundred on a single server, one each on a cluster."""

    @property
    def layout(self) -> Layout:
        """The keys of the store."""
        return self.settings.layout


# --- questions and answers -------------------------------------------------------------------------------------------


def _ask(script: Script, key: bytes, *arguments: Word) -> Exchange[list[Any]]:
    """Run a script on one key and return its answer."""
    (answer,) = yield from _ask_each(script, [((key,), arguments)])
    return answer


def _ask_each(script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[Word]]]) -> Exchange[list[list[Any]]]:
    """Run a script once for each tuple of keys and arguments; return the answers in the same order."""
    answers: list[list[Any]] = []
    for start in range(0, len(calls), _SENT_TOGETHER):
        tickets = [_entropy.random_token() for _ in calls[start : start + _SENT_TOGETHER]]
        words = [
            (len(keys), *keys, ticket, *arguments)
            for ticket, (keys, arguments) in zip(tickets, calls[start : start + _SENT_TOGETHER], strict=True)
        ]
        replies = list((yield [Command(("EVALSHA", script.name, *each)) for each in words]))
        # A server that was restarted, or that has just taken over a shard, does not know the script by its name.
        unknown = [number for number, reply in enumerate(replies) if is_a(reply, "NoScriptError")]
        if unknown:
            again = yield [Command(("EVAL", script.text, *words[number])) for number in unknown]
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        answers += [_answer(reply, ticket) for reply, ticket in zip(replies, tickets, strict=True)]
    return answers


def _ask_and_wait(opened: Opened, script: Script, key: bytes, *arguments: Word) -> Exchange[list[Any]]:
    """Run a script that writes, and wait until the replicas have what it wrote.

    Both commands are sent together, and so on one connection: WAIT is about the writes of its own connection.
    """
    ticket = _entropy.random_token()
    words = (1, key, ticket, *arguments)
    wanted, seconds = opened.settings.replicas, opened.settings.replica_timeout
    wait = Command(("WAIT", wanted, ceil(seconds * 1000)))
    reply, copies = yield [Command(("EVALSHA", script.name, *words)), wait]
    if is_a(reply, "NoScriptError"):
        reply, copies = yield [Command(("EVAL", script.text, *words)), wait]
    answer = _answer(reply, ticket)
    if isinstance(copies, Exception):
        raise copies
    if answer == [b"yes"] and copies < wanted:
        raise RuntimeError(
            f"{seconds:g} s after a change was made, {copies} of {wanted} replicas have it, so it would be lost if the "
            "primary failed now: see to the replicas"
        )
    return answer


def is_a(reply: object, name: str) -> bool:
    """Whether a reply is an error of that class. Redis and Valkey have drivers with classes of their own."""
    return any(each.__name__ == name for each in type(reply).__mro__)


def _answer(reply: Any, ticket: str) -> list[Any]:
    """Return what stands in an answer after the word `twofa` and our ticket, or raise.

    A connection whose replies got out of step, because it is shared or because a call on it was cancelled, delivers the
    answer to somebody else's question. That must neither read as "no record" nor as "the swap happened".
    """
    if isinstance(reply, Exception):
        raise reply
    if not isinstance(reply, list) or reply[:2] != [b"twofa", ticket.encode()]:
        raise UnexpectedAnswer(
            f"the server has answered another question ({reply!r:.60}): is the connection in a transaction of yours, "
            "or shared without a lock?"
        )
    if reply[2:3] == [b"lost"]:
        raise RuntimeError(
            f"{reply[3].decode()} is no shard of this store any more, and so nobody knows who has a second factor: the "
            "server was flushed, dropped the key, came back without its data, or is another one. Restore the backup"
        )
    return reply[2:]


# --- one user --------------------------------------------------------------------------------------------------------


def load(opened: Opened, user_id: str) -> Exchange[Stored | None]:
    """Read a record."""
    asked, found, *record = yield from _ask(
        scripts.LOAD, opened.layout.key_of(user_id), opened.identity, user_id.encode()
    )
    if asked != user_id.encode() or found not in {b"absent", b"record"}:
        raise UnexpectedAnswer("the server has answered for another user, and nothing of the answer was used")
    if found == b"absent":
        return None
    version, _, document = record[0].decode().split("\n", 2)
    return Stored(version, document)


def swap(opened: Opened, user_id: str, change: Change) -> Exchange[bool]:
    """Apply a change.

    A driver sends a command again when a connection breaks or an answer is late, although the server may have carried
    it out. So each swap has a random mark, which is the same each time it is sent, and which is kept with the record.
    """
    new = change.new
    if len(change.events) > MOST_EVENTS:
        raise ValueError(f"a change can have {MOST_EVENTS} events at most, not {len(change.events)}")
    if new is not None and "\n" in new.version:
        raise ValueError("a version must not contain a line break")
    arguments: list[Word] = [
        user_id.encode(),
        _entropy.random_token()[: scripts.MARK_DIGITS],
        "" if change.expected is None else f"={change.expected}",
        "" if new is None else f"={new.version}",
        "" if new is None else new.document,
    ]
    for event in change.events:
        row = EventRow.of(event, user_id)
        arguments += [row.at, write_event(row)]
    key = opened.layout.key_of(user_id)
    if opened.settings.replicas:
        (happened,) = yield from _ask_and_wait(opened, scripts.SWAP, key, opened.identity, *arguments)
    else:
        (happened,) = yield from _ask(scripts.SWAP, key, opened.identity, *arguments)
    return bool({b"yes": True, b"no": False}[happened])


def events(opened: Opened, user_id: str) -> Exchange[tuple[Event, ...]]:
    """Read the audit trail of a user."""
    (members,) = yield from _ask(scripts.TRAIL, opened.layout.key_of(user_id), opened.identity, user_id.encode())
    return tuple(entry.event for entry in read_entries(members, shard=0))


# --- all users -------------------------------------------------------------------------------------------------------


def ask_shards(
    opened: Opened, script: Script, arguments: Sequence[Word], each: Mapping[int, Word]
) -> Exchange[dict[int, Any]]:
    """Run a script on some shards, with an argument of its own for each; return what it says of each shard."""
    groups = [group for group in (tuple(n for n in group if n in each) for group in opened.groups) if group]
    calls = [
        (
            [opened.layout.keys[shard] for shard in group],
            [opened.identity, *arguments, *(each[shard] for shard in group)],
        )
        for group in groups
    ]
    answers = yield from _ask_each(script, calls)
    return {
        shard: said
        for group, answer in zip(groups, answers, strict=True)
        for shard, said in zip(group, answer, strict=True)
    }


def prune_events(opened: Opened, before: datetime) -> Exchange[int]:
    """Erase old events, a few hundred at a time."""
    seconds, erased = seconds_of(before), 0
    for key in opened.layout.keys:
        start: Word = "[e"
        while start:
            last, count = yield from _ask(scripts.PRUNE, key, opened.identity, start, _LOOKED_AT, seconds)
            start = b"(" + last if last else ""
            erased += count
    return erased


# --- finding or creating a store -------------------------------------------------------------------------------------


def open_store(settings: Settings) -> Exchange[Opened]:
    """Find the store on the server, or create an empty one.

    A store is created in steps, since its keys may be on many nodes: the marker says "creating" with a new identity,
    every shard gets that identity, and then the marker says "ready". Whoever finds "creating" finishes the work. Nobody
    uses a store before it is ready, so a shard that is missing from a ready store is a shard that was lost.
    """
    layout = settings.layout
    size = 1 if settings.cluster else _READ_TOGETHER
    numbers = range(layout.shards)
    groups = tuple(tuple(numbers[start : start + size]) for start in range(0, layout.shards, size))
    keys = [[layout.keys[shard] for shard in group] for group in groups]
    (marker,) = yield from _ask(scripts.READ_MARKER, layout.marker)
    if marker == b"":
        if not settings.create:
            raise RuntimeError(
                f"there is no store with the prefix {layout.prefix!r} on this server, and create=False: is it the "
                "right server, and has it all its data?"
            )
        answers = yield from _ask_each(scripts.LOOK, [(each, ()) for each in keys])
        if any(any(answer) for answer in answers):
            (marker,) = yield from _ask(scripts.READ_MARKER, layout.marker)  # somebody may just have created the store
        else:
            new = f"creating {FORMAT} {layout.shards} {_entropy.random_token()}"
            (marker,) = yield from _ask(scripts.REPLACE_MARKER, layout.marker, "", new)
        if marker == b"":
            raise RuntimeError(
                f"{layout.marker.decode()} is gone, although there are records with the prefix {layout.prefix!r}: the "
                "server has lost data. Restore the backup"
            )
    state, format_, shards, identity = _read_marker(marker)
    if format_ != FORMAT:
        raise UnsupportedRecord(
            f"the store with the prefix {layout.prefix!r} is kept in format {format_}, and this version of twofa knows "
            f"format {FORMAT}: upgrade twofa"
        )
    if shards != layout.shards:
        raise RuntimeError(
            f"the store with the prefix {layout.prefix!r} was created with shards={shards}, not {layout.shards}: pass "
            f"shards={shards}"
        )
    if state == "creating":
        yield from _ask_each(scripts.CREATE, [(each, (identity,)) for each in keys])
        ready = f"ready {format_} {shards} {identity}"
        yield from _ask(scripts.REPLACE_MARKER, layout.marker, marker, ready)
        _logger.warning(
            "made an empty store in Redis with the prefix %r: nobody has a second factor there. If users were enrolled "
            "before, this is another server or database, or it has lost its data",
            layout.prefix,
        )
    return Opened(settings=settings, identity=identity, groups=groups)


def _read_marker(marker: bytes) -> tuple[str, int, int, str]:
    try:
        state, format_, shards, identity = marker.decode().split(" ")
        return state, int(format_), int(shards), identity
    except ValueError:
        raise RecordDamaged(f"the marker of the store is not one of ours: {marker[:80]!r}") from None
