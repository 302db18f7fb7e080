"""One user: reading and replacing the record, and reading the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa import _entropy
from twofa.stores.protocol import Stored, UnexpectedAnswer
from twofa.stores.redis import scripts
from twofa.stores.redis.exchange import ask, ask_and_wait
from twofa.stores.redis.layout import MOST_EVENTS, read_entries, write_event
from twofa.stores.trail import EventRow

if TYPE_CHECKING:
    from twofa.events import Event
    from twofa.stores.protocol import Change
    from twofa.stores.redis.exchange import Exchange, Word
    from twofa.stores.redis.opening import Opened


def load(opened: Opened, user_id: str) -> Exchange[Stored | None]:
    """Read a record."""
    asked, found, *record = yield from ask(
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
        (happened,) = yield from ask_and_wait(opened.settings, scripts.SWAP, key, opened.identity, *arguments)
    else:
        (happened,) = yield from ask(scripts.SWAP, key, opened.identity, *arguments)
    return bool({b"yes": True, b"no": False}[happened])


def events(opened: Opened, user_id: str) -> Exchange[tuple[Event, ...]]:
    """Read the audit trail of a user."""
    (members,) = yield from ask(scripts.TRAIL, opened.layout.key_of(user_id), opened.identity, user_id.encode())
    return tuple(entry.event for entry in read_entries(members, shard=0))
