"""Login tickets: from the password to the code, for hosts that issue tokens of their own. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twofa import _entropy
from twofa._engine.operations.sign_in import Authenticate
from twofa._record.tokens import NONCE_BYTES, Purpose
from twofa.errors import NotEnrolled, SignInRequired
from twofa.session.base import in_session
from twofa.session.state import SessionState, open_state, seal_state

if TYPE_CHECKING:
    from twofa._engine.operation import Operation
    from twofa._engine.settings import Settings
    from twofa._hidden import Hidden
    from twofa.results import Status, Verification

__all__ = ["TICKET_LIFETIME", "authenticate", "issue"]

TICKET_LIFETIME = 300
"""Seconds."""


def issue(settings: Settings, user_id: str, status: Status) -> str:
    """Return a ticket for a user whose password was right; raises `NotEnrolled` where the password is enough."""
    if not status.required:
        raise NotEnrolled
    state = SessionState(user_id=user_id, generation=status.generation, since=settings.now(), signed_in=False)
    nonce = _entropy.random_bytes(NONCE_BYTES)
    return seal_state(settings.keys, Purpose.TICKET, state, namespace=settings.namespace, nonce=nonce)


def authenticate(
    settings: Settings,
    ticket: Hidden[str],
    code: Hidden[str | None],
    browser: Hidden[str] | None,
    source: str | None,
) -> Operation[Verification]:
    """Return the call that checks a code of the user whom a ticket names.

    Like a session, it is bound to the ticket's generation. Raises `SignInRequired` for a ticket that is none or too
    old.
    """
    state = open_state(settings.keys, Purpose.TICKET, ticket.value, namespace=settings.namespace)
    if state is None:
        raise SignInRequired
    if not state.is_younger_than(TICKET_LIFETIME, settings.now()):
        raise SignInRequired("expired")
    return in_session(state, Authenticate.prepare(settings, state.user_id, code, browser, source))
