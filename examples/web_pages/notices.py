"""What the owner of an account is told by mail, by a way that an intruder in the browser does not hold.

NIST SP 800-63B-4 §4.6 and §4.2.3, ASVS 5.0 6.3.5 and 6.3.7. An application with more than one address per user sends
to all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from twofa import EventKind
from web_pages import words

if TYPE_CHECKING:
    from twofa import Event

Send: TypeAlias = Callable[[str, str, str], object]
"""Takes the address, the subject and the text."""

_TEXT = """\
{what}, on {at:%Y-%m-%d at %H:%M:%S} UTC, from {source}.

If this was you, there is nothing to do. If not, change your password, reset your authenticator app under
Administration > Two-factor authentication, and tell security@example.com.
"""

_ALWAYS = {
    EventKind.AUTHENTICATOR_CONFIRMED,
    EventKind.AUTHENTICATOR_RESET,
    EventKind.AUTHENTICATOR_BLOCKED,
    EventKind.RECOVERY_CODES_ISSUED,
    EventKind.RECOVERY_CODE_USED,
    EventKind.RECOVERY_CODES_BLOCKED,
    EventKind.DISABLED,
    EventKind.ATTACK_SUSPECTED,
}


class Notice(NamedTuple):
    """One mail."""

    subject: str
    text: str


def notice_of(event: Event) -> Notice | None:
    """Return what to tell the owner about an event, including guesses that led to a wait; `None` if nothing."""
    guessing = event.kind is EventKind.CODE_REJECTED and event.detail.get("retry_at")
    if event.kind not in _ALWAYS and not guessing:
        return None
    what = words.EVENTS[event.kind]
    return Notice(what, _TEXT.format(what=what, at=event.at, source=event.source or "an unknown address"))


def log_mail(address: str, subject: str, text: str) -> None:
    """Stand in for a mail server: a real application hands this to one, outside of the request."""
    logging.getLogger("mail").info("mail to %r: %r %r", address, subject, text)
