"""Tell the owner what happened to the account, by a way that an intruder in the browser does not hold.

NIST SP 800-63B-4 §4.6 and §4.2.3, ASVS 5.0 6.3.5 and 6.3.7. An application with more than one address per user sends
to all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from web_pages import words

from twofa import EventKind

if TYPE_CHECKING:
    from flask_app.accounts import Accounts
    from twofa import Event

Send: TypeAlias = Callable[[str, str, str], object]
"""Takes the address, the subject and the text."""

NOTICE = """\
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


class Notices:
    """The listener of the library's events. It runs after the record says so, and its failure changes nothing."""

    def __init__(self, accounts: Accounts, send: Send) -> None:
        self._accounts, self._send = accounts, send

    def __call__(self, event: Event) -> None:
        """Send a mail about what its owner should know, including guesses that led to a wait."""
        guessing = event.kind is EventKind.CODE_REJECTED and event.detail.get("retry_at")
        user = self._accounts.get(event.user_id)
        if user is not None and (event.kind in _ALWAYS or guessing):
            what = words.EVENTS[event.kind]
            text = NOTICE.format(what=what, at=event.at, source=event.source or "an unknown address")
            self._send(user.email, what, text)


def log_mail(address: str, subject: str, text: str) -> None:
    """Stand in for a mail server: a real application hands this to one, outside of the request."""
    logging.getLogger("flask_app.mail").info("mail to %r: %r %r", address, subject, text)
