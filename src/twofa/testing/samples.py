"""What the laws put into a store: look-alike users, documents that are easily spoilt, numbered records and events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from twofa.events import Event, EventKind
from twofa.stores.protocol import Stored

if TYPE_CHECKING:
    from twofa.stores.protocol import Trail

USER = "user-42"
NOW = datetime.fromtimestamp(1_800_000_000, UTC)

LOOKALIKES = (
    "user",
    "User",
    "USER",
    "user ",
    " user",
    "user\t",
    "user\n",
    "user%",
    "user_",
    "us%",
    "us_r",
    "%",
    "_",
    "*",
    "user\\",
    "user'",
    'user"',
    "caf\u00e9",
    "cafe\u0301",
    "cafe",
    "stra\u00dfe",
    "strasse",
    "\u0130",
    "i",
    "\u0131",
    "user\u200b",
    "us\u0435r",
    "1",
    "01",
    "1.0",
    "1e0",
    "NULL",
    "\U0001f600",
    "\U0001f600\ufe0f",
    "\uff5e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x" * 254,
    "x" * 255,
    "x" * 254 + "y",
    "\U0001f600" * 255,
    "\U0001f600" * 254 + "y",
)
"""User ids that some collation, trimming, pattern, number or normalization takes for one another."""

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


def version(number: int) -> str:
    """Return a version as the library makes them, but told from the others at sight."""
    return f"{number:032x}"


def stored(number: int, document: str | None = None) -> Stored:
    """Return a record whose document names its version, unless it is given."""
    return Stored(version(number), f"document {number}" if document is None else document)


def event(number: int = 0, user_id: str = USER, kind: EventKind = EventKind.CODE_ACCEPTED) -> Event:
    """Return an event that is told from the others by a number."""
    return Event(kind, user_id, NOW + timedelta(seconds=number), source="192.0.2.1", detail={"number": number})


def numbers(store: Trail, user_id: str = USER) -> list[int]:
    """Return the numbers of a user's events, in the trail's order."""
    return [int(event.detail["number"] or 0) for event in store.events(user_id)]
