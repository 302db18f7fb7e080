"""Telling the host what happened. Nothing that its listener or its logging does changes the outcome of a call."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from twofa.events import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twofa._engine.operation import Operation
    from twofa.events import Event

_logger = logging.getLogger("twofa")
_logger.addHandler(logging.NullHandler())

_WARNINGS = frozenset(
    {
        EventKind.ATTACK_SUSPECTED,
        EventKind.AUTHENTICATOR_BLOCKED,
        EventKind.CODE_REJECTED,
        EventKind.CODE_REUSED,
        EventKind.OUTCOME_UNKNOWN,
        EventKind.RECORD_REFUSED,
        EventKind.RECOVERY_CODES_BLOCKED,
        EventKind.STORE_CONTENTION,
        EventKind.STORE_FAILED,
        EventKind.THROTTLED,
    }
)


def log_event(event: Event) -> None:
    """Log an event to the logger `twofa`: as a warning where someone may be guessing or was vouched for."""
    alarming = event.kind in _WARNINGS or event.detail.get("proof") == "vouched"
    _log(
        logging.WARNING if alarming else logging.INFO,
        # %r keeps line breaks in hostile text from forging a line (ASVS 5.0 16.4.1).
        "%s user=%r source=%r %r",
        (event.kind.value, event.user_id, event.source, dict(event.detail)),
        event,
    )


def log_listener_failure(event: Event) -> None:
    """Log the exception of a listener: it never changes the outcome of what it was told."""
    _log(logging.ERROR, "the listener failed on %s of user %r", (event.kind.value, event.user_id), None, trace=True)


def log_interruption(operation: Operation[Any]) -> None:
    """Log that a call was cut short, by a cancelled task or a signal: nobody is left to be told its outcome."""
    call = operation.call
    _log(
        logging.WARNING,
        "%s of user=%r source=%r was interrupted: it is done, or not done, or not done and one attempt counted",
        (call.operation, call.user_id, call.source),
        None,
    )


def worth_telling(events: Iterable[Event]) -> list[Event]:
    """Return what a listener is told. That an attempt was counted is for the audit trail: its outcome follows."""
    return [event for event in events if event.kind is not EventKind.ATTEMPT_COUNTED]


def is_asynchronous(function: object) -> bool:
    """Whether calling it gives something to await, also through a `partial` or a `__call__` of its own."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _log(level: int, message: str, arguments: tuple[object, ...], event: Event | None, *, trace: bool = False) -> None:
    try:
        if _logger.isEnabledFor(level):
            _logger.log(level, message, *arguments, exc_info=trace, extra={"twofa_event": event} if event else None)
    except Exception:  # noqa: S110  # a handler or filter is the host's code; there is nowhere left to report to
        pass
