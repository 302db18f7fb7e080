"""What is said to the server, and what its answers mean: everything that both faces share, without any I/O.

A talk is a generator: it yields a `Command`, and is sent the reply or thrown the error. A face only carries them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zlib import crc32

from twofa import _entropy
from twofa.stores.protocol import OutboxEntry, Stored
from twofa.stores.redis import cursors, scripts
from twofa.stores.redis.cursors import SHARDS, Place
from twofa.stores.trail import EventRow, seconds_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from twofa.events import Event
    from twofa.stores.protocol import Change
    from twofa.stores.redis.scripts import Script

T = TypeVar("T")

REMEMBERED = 600
"""Seconds for which the server knows a swap again that is sent twice: longer than any driver goes on trying."""
_LOOKED_AT = 500
"""How many events one script looks at when old ones are erased, so that none holds the server up."""
_LONGEST_PREFIX = 64


class Command(NamedTuple):
    """One command to the server."""

    words: tuple[str | bytes | int, ...]
    node: object = None
    """The node of a cluster that it is for, where its keys do not say."""


if TYPE_CHECKING:
    Talk = Generator[Command, Any, T]


class Keys:
    """The names under which everything is kept.

    Only the tag in braces decides about the node of a cluster. It says prefix and shard and comes first, so that braces
    in a user's id do no harm.
    """

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not be typed
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        plain = prefix.isascii() and prefix.isprintable() and not set(prefix) & set("{} ")
        if not plain or not 0 < len(prefix) <= _LONGEST_PREFIX:
            raise ValueError(
                f"prefix must be 1 to {_LONGEST_PREFIX} ASCII characters without spaces and braces, not {prefix[:80]!r}"
            )
        self.prefix = prefix

    def of_shard(self, shard: int, what: str) -> bytes:
        """Return the name of what there is once for each shard."""
        return f"{{{self.prefix}:{shard:02}}}:{what}".encode()

    def of(self, what: str, user_id: str) -> bytes:
        """Return the name of what there is once for each user, or of what there is once in the shard of a user."""
        return self.of_shard(_shard(user_id), what)


def _shard(user_id: str) -> int:
    return crc32(user_id.encode()) % SHARDS


# --- talks ---------------------------------------------------------------------------------------------------------


def _call(script: Script, keys: Sequence[bytes], arguments: Sequence[str | bytes | int] = ()) -> Talk[Any]:
    """Run a script: by its name, or with its text on a server that does not know it yet, or any more."""
    words = (len(keys), *keys, *arguments)
    try:
        return (yield Command(("EVALSHA", script.sha, *words)))
    except Exception as error:
        if not _is_a(error, "NoScriptError"):
            raise
    return (yield Command(("EVAL", script.text, *words)))


def _is_a(error: Exception, name: str) -> bool:
    """Whether an error is of that class of its driver: Redis and Valkey have drivers with classes of their own."""
    return any(each.__name__ == name for each in type(error).__mro__)


def load(keys: Keys, user_id: str) -> Talk[Stored | None]:
    """Read a record."""
    version, document = yield from _call(scripts.LOAD, [keys.of(f"user:{user_id}", user_id)])
    return None if version is None else Stored(version.decode(), document.decode())


def swap(keys: Keys, user_id: str, change: Change) -> Talk[bool]:
    """Apply a change.

    A driver sends a command again when a connection breaks or an answer is late, although the server may have carried
    it out. So each swap has a mark of its own, which stands in every sending of it and is kept with what it did: a swap
    that is sent again says once more that it happened, deletes included, and writes nothing twice.
    """
    new = change.new
    arguments: list[str | bytes | int] = [
        user_id.encode(),
        "" if change.expected is None else f"={change.expected}",
        "" if new is None else f"={new.version}",
        "" if new is None else new.document,
        REMEMBERED,
    ]
    for event in change.events:
        texts = _texts(EventRow.of(event, user_id))
        arguments += [len(texts), *texts]
    named = [keys.of(what, user_id) for what in (f"user:{user_id}", f"trail:{user_id}", "events", "users")]
    mark = keys.of(f"done:{_entropy.random_token()}", user_id)
    reply = yield from _call(scripts.SWAP, [*named, mark], arguments)
    if reply not in (0, 1):
        raise RuntimeError(f"the server answered a swap with {reply!r}: is the connection in a transaction of yours?")
    return bool(reply)


def events(keys: Keys, user_id: str) -> Talk[tuple[Event, ...]]:
    """Read the trail of a user."""
    entries = yield from _call(scripts.TRAIL, [keys.of(f"trail:{user_id}", user_id), keys.of("events", user_id)])
    return tuple(_event(texts) for _, texts in sorted(entries, key=lambda entry: Place.of(entry[0])))


def events_after(keys: Keys, cursor: str, limit: int) -> Talk[tuple[OutboxEntry, ...]]:
    """Read a page of all streams as if they were one.

    Each stream is read at another instant. What a later one has from after the first of these instants waits for the
    next page, or it would be handed on before an event of a stream that was read too early to show it. The instants are
    told by the clock that the ids come from, so that among streams of one server nothing is out of order. Only where
    that clock was set back a stream is ahead of it, and what it has is handed on at once.

    A cursor has a place in every stream, so that nothing is lost even if the clocks of a cluster's nodes disagree: an
    event with an earlier time that appears late still stands after the place in its own stream.
    """
    places = cursors.read(cursor)
    if limit < 1:
        return ()
    pages: list[tuple[int, list[tuple[Place, list[bytes]]]]] = []
    for shard, place in enumerate(places):
        now, entries = yield from _call(scripts.PAGE, [keys.of_shard(shard, "events")], [place.start, limit])
        pages.append((int(now), [(Place.of(entry_id), texts) for entry_id, texts in entries]))
    horizon = min(now for now, _ in pages)
    ready: list[tuple[Place, int, list[bytes]]] = []
    for shard, (now, page) in enumerate(pages):
        for place, texts in page:
            if horizon <= place.time < now:
                break
            ready.append((place, shard, texts))
    handed_on: list[OutboxEntry] = []
    for place, shard, texts in sorted(ready)[:limit]:
        places[shard] = place
        handed_on.append(OutboxEntry(cursors.written(places), _event(texts)))
    return tuple(handed_on)


def prune_events(keys: Keys, before: datetime) -> Talk[int]:
    """Erase old events, a few hundred at a time."""
    seconds, erased = seconds_of(before), 0
    for shard in range(SHARDS):
        stream, start = keys.of_shard(shard, "events"), "-"
        while True:
            last, old = yield from _call(scripts.OLD, [stream], [start, _LOOKED_AT, seconds])
            if last is None:
                break
            start = f"({last.decode()}"
            if old:
                trails = {user_id: number for number, user_id in enumerate(dict.fromkeys(each for _, each in old), 2)}
                named = [keys.of_shard(shard, f"trail:{user_id.decode()}") for user_id in trails]
                pairs = [word for entry_id, user_id in old for word in (entry_id, trails[user_id])]
                erased += yield from _call(scripts.ERASE, [stream, *named], pairs)
    return erased


def user_ids(keys: Keys, after: str, limit: int) -> Talk[tuple[str, ...]]:
    """Read a page of the users of all shards."""
    if limit < 1:
        return ()
    users: list[bytes] = []
    for shard in range(SHARDS):
        users += yield from _call(scripts.USERS, [keys.of_shard(shard, "users")], [after.encode(), limit])
    return tuple(user_id.decode() for user_id in sorted(users)[:limit])


# --- events in a stream --------------------------------------------------------------------------------------------


def _texts(row: EventRow) -> list[str | bytes]:
    """Return an event as a stream keeps it. The script that looks for old ones knows where user and time stand."""
    texts: list[str | bytes] = ["user", row.user_id.encode(), "at", str(row.at), "kind", row.kind, "detail", row.detail]
    return texts if row.source is None else [*texts, "source", row.source.encode()]


def _event(texts: Sequence[bytes]) -> Event:
    named = {name.decode(): text.decode() for name, text in zip(texts[::2], texts[1::2], strict=True)}
    row = EventRow(named["user"], int(named["at"]), named["kind"], named.get("source"), named["detail"])
    return row.event()
