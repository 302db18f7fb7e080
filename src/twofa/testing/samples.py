"""What the conformance tests put into a store: versions, records and events that are told apart by a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from twofa.events import Event, EventKind
from twofa.stores.protocol import Stored
from twofa.testing.user_ids import LOOKALIKES, USER

if TYPE_CHECKING:
    from twofa.stores.protocol import Trail

__all__ = ["DOCUMENTS", "LOOKALIKES", "NOW", "TWINS", "USER", "event", "number_of", "numbers", "stored", "version"]

NOW = datetime.fromtimestamp(1_800_000_000, UTC)

DOCUMENTS = {
    "sealed": "twofa1.k3y1d." + "Zm9v-_" * 250,
    "every ASCII character": "".join(map(chr, range(1, 128))),
    "spaces at both ends": "  document  ",
    "line breaks": "a\nb\r\nc\rd\n",
    "one character": ".",
    "nothing": "",
    "an integer": "007",
    "a float": "1e5",
    "a null": "NULL",
    "64 kB": "0123456789abcdef" * 4096,
}
"""Documents that a wrong column type, encoding or binding changes."""

_PLAIN = "3f9c0a5be1d24786b7c8d9eafb0c1d2e"

TWINS = {
    "the first digit": (_PLAIN, "4" + _PLAIN[1:]),
    "the last digit": (_PLAIN, _PLAIN[:-1] + "f"),
    "the first half": (_PLAIN, "0123456789abcdef" + _PLAIN[16:]),
    "the second half": (_PLAIN, _PLAIN[:16] + "0123456789abcdef"),
    "what a float rounds off": ("9" * 32, "9" * 31 + "8"),
    "the exponent of zero": ("0e" + "1" * 30, "0e" + "2" * 30),
    "a leading zero": ("0" + "1" * 31, "1" * 31 + "0"),
    "one bit above the 64th": ("0" * 15 + "1" + "0" * 15 + "1", "0" * 15 + "2" + "0" * 15 + "1"),
}
"""Versions that differ in this alone, and are one to a column that is too short or takes them for numbers."""


def version(number: int) -> str:
    """Return the version of that number, as long and as patternless as those that the library makes.

    A counter written in 32 digits would not do: it fits into 64 bits, and real versions do not.
    """
    return sha256(b"version %d" % number).hexdigest()[:32]


def stored(number: int, document: str | None = None) -> Stored:
    """Return a record whose document names its number, unless the document is given."""
    return Stored(version(number), f"document {number}" if document is None else document)


def event(number: int = 0, user_id: str = USER, kind: EventKind = EventKind.CODE_ACCEPTED) -> Event:
    """Return an event that is told from the others by a number."""
    return Event(kind, user_id, NOW + timedelta(seconds=number), source="192.0.2.1", detail={"number": number})


def number_of(event: Event) -> int:
    """Return the number by which an event is told from the others."""
    return int(event.detail["number"] or 0)


def numbers(store: Trail, user_id: str = USER) -> list[int]:
    """Return the numbers of a user's events, in the trail's order."""
    return [number_of(event) for event in store.events(user_id)]
