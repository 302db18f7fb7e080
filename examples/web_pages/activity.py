"""What happened to an account, for its owner: what is rare in full, what is frequent in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from web_pages import words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from twofa import Event

SHOWN = 8


class Activity(NamedTuple):
    """One line of the list."""

    text: str
    at: datetime
    """When it happened last."""
    source: str | None
    times: int
    alarming: bool


def summarise(newest_first: Iterable[Event]) -> list[Activity]:
    """Return the lines, newest first.

    A thousand guesses are one line with their number, so that they hide nothing that was changed.
    """
    lines: dict[str, Activity] = {}
    for number, event in enumerate(newest_first):
        text = words.EVENTS.get(event.kind)
        if text is None:
            continue
        key = text if text in words.FREQUENT else f"{text} {number}"
        known = lines.get(key)
        if known is None:
            lines[key] = Activity(text, event.at, event.source, 1, event.kind in words.ALARMING)
        else:
            lines[key] = known._replace(times=known.times + 1)
    return list(lines.values())[:SHOWN]


def password_may_be_known(newest_first: Iterable[Event]) -> bool:
    """Return whether somebody has tried many codes after the right password, and it was not changed since."""
    for event in newest_first:
        if event.kind == "password_changed":
            return False
        if event.kind in {"attack_suspected", "authenticator_blocked"}:
            return True
    return False
