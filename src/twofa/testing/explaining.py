"""What a store did wrong, in a sentence: whoever reads it has just written a store, and not the conformance test.

Records and events are named by their numbers (`twofa.testing.samples`), since two of them printed side by side look
alike for most of their length.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from twofa.stores.protocol import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twofa.events import Event

SHOWN = 5
"""How many of many equal mistakes are named."""
LONGEST = 60
"""Characters of a text that are shown."""


def check_record(wanted: Stored | None, store: Any, user_id: str, why: str) -> None:
    """Fail with a sentence unless `store` holds this record of a user; `why` says when and why it should."""
    __tracebackhide__ = True
    found = store.load(user_id)
    if found == wanted:
        return
    if isinstance(found, Stored) and wanted is not None and found.version == wanted.version:
        outcome = f"the right version with another document, {text_difference(wanted.document, found.document)}"
    else:
        outcome = f"{named(found)} instead of {named(wanted)}"
    raise AssertionError(f"load({shortened(user_id)}) returned {outcome}: {why}")


def check_events(wanted: Sequence[Event], found: Sequence[Event], where: str) -> None:
    """Fail with a sentence unless these are the events that were found; `where` says in what."""
    __tracebackhide__ = True
    if list(wanted) == list(found):
        return
    raise AssertionError(f"{where} is wrong: {'; '.join(differences(wanted, found))}")


def check_raises(why: str, method: Callable[..., object], *arguments: object) -> None:
    """Fail with a sentence unless a call raises, whatever it is that the driver raises."""
    __tracebackhide__ = True
    try:
        outcome = method(*arguments)
    except Exception:  # any exception is right: it tells the caller that the store does not know
        return
    raise AssertionError(f"{method_name(method)}() returned {named(outcome)} instead of raising: {why}")


def check_refused(word: str, method: Callable[..., object], argument: object) -> None:
    """Fail with a sentence unless a call raises `ValueError` with that word in its message."""
    __tracebackhide__ = True
    called = f"{method_name(method)}({shortened(argument)})"
    try:
        method(argument)
    except ValueError as refusal:
        if word in str(refusal):
            return
        raise AssertionError(
            f"{called} was refused with {shortened(str(refusal))}, which does not name the {word}"
        ) from refusal
    raise AssertionError(f"{called} must raise ValueError, and say in its message what is wrong with the {word}")


def check_winner(said: Sequence[object], what: str) -> int:
    """Fail with a sentence unless one of several racing swaps was told that it won; return which."""
    __tracebackhide__ = True
    won = [number for number, each in enumerate(said) if each]
    if len(won) != 1:
        raise AssertionError(
            f"of {len(said)} swaps that met to {what}, {len(won)} were told that they won instead of one"
        )
    return won[0]


def method_name(method: Callable[..., object]) -> str:
    """Return the name of a method, also if it is that of an asynchronous store called like a blocking one."""
    inner = method.args[0] if isinstance(method, partial) else method
    return getattr(inner, "__name__", "the call")


def named(outcome: object) -> str:
    """Return what a store returned, in words."""
    if outcome is None:
        return "None (no record)"
    if not isinstance(outcome, Stored):
        return f"{outcome!r:.{LONGEST}}"
    return f"the record with {shortened(outcome.document)}, version {outcome.version[:8]}\u2026"


def shortened(text: object) -> str:
    """Return a text as it is written in Python, cut where it gets long."""
    shown = repr(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}\u2026"


def text_difference(wanted: str, found: str) -> str:
    """Return where two texts begin to differ."""
    pairs = enumerate(zip(wanted, found, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(wanted), len(found)))
    lengths = f"of {len(found):,} characters instead of {len(wanted):,}"
    if place == min(len(wanted), len(found)):
        return lengths
    return f"{lengths}, with {found[place]!r} instead of {wanted[place]!r} at {place}"


def differences(wanted: Sequence[Event], found: Sequence[Event]) -> Iterator[str]:
    """Yield in what the events that were found differ from those that were wanted, each difference in words."""
    before, after = ({known(event): event for event in events} for events in (wanted, found))
    counts = Counter(map(known, found))
    changed = [name for name in before if name in after and before[name] != after[name]]
    yield from (f"{name} came back with {difference(before[name], after[name])}" for name in changed[:SHOWN])
    for names, what in (
        ([name for name in before if name not in after], "missing"),
        ([name for name in after if name not in before], "there that should not be"),
        ([name for name in before if counts[name] > 1], "there more than once"),
    ):
        if names:
            yield f"{some(names)} {'is' if len(names) == 1 else 'are'} {what}"
    if before == after and len(found) == len(wanted):
        yield f"the order is {some(list(after))} instead of {some(list(before))}"


def difference(before: Event, after: Event) -> str:
    """Return in which field two events differ."""
    field = next(name for name in ("kind", "user_id", "at", "source", "detail") if differ(before, after, name))
    was, now = (getattr(event, field) for event in (before, after))
    if field == "detail":
        was, now = dict(was), dict(now)
    return f"another {field}, {shortened(now)} instead of {shortened(was)}"


def differ(before: Event, after: Event, field: str) -> bool:
    """Return whether two events differ in a field."""
    return bool(getattr(before, field) != getattr(after, field))


def known(event: Event) -> str:
    """Return the name of an event among those of a test."""
    return f"event {event.detail.get('number')} of {shortened(event.user_id)}"


def some(names: Sequence[str]) -> str:
    """Return some names, the first of them if there are many."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
