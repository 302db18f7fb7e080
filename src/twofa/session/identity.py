"""Who a browser is: what its state claims, held against the account's status. Pure functions.

Two steps, since the account is read in between. `claim_of` says whose status decides, if anybody's: a browser that is
nobody costs no read of the store. `judge` holds the claim against that status.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from twofa.errors import CodeRequired, SignInReason, SignInRequired
from twofa.results import Status
from twofa.session.state import SessionState

__all__ = ["UNSAID", "HostUser", "Identity", "Unsaid", "checked", "claim_of", "judge"]


class Unsaid(Enum):
    """The type of `UNSAID`."""

    UNSAID = "unsaid"

    def __repr__(self) -> str:
        return "UNSAID"


UNSAID: Final = Unsaid.UNSAID
"""In place of an argument that was left out, where `None` has a meaning of its own."""

HostUser: TypeAlias = "str | Literal[Unsaid.UNSAID] | None"
"""Whom the host's own login names: a user's id, nobody (`None`), or left out where this layer is the only login."""


def checked(host_user: HostUser) -> HostUser:
    """Return whom the host names; raises `TypeError` for an id that is not text."""
    if host_user is not UNSAID and host_user is not None and type(host_user) is not str:
        raise TypeError(
            f"host_user must be the user's id as str, or None, not {type(host_user).__name__}: str(user.id)"
        )
    return host_user


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a browser is, or why it is nobody."""

    state: SessionState | None = None
    """The sign-in that counts, done or half done; `None` for nobody."""
    status: Status | None = None
    """Where that user's account stands."""
    reason: SignInReason = "signed_out"
    """Why nobody is signed in."""
    failure: Exception | None = None
    """What kept the account from being read: then nothing is known, and every question raises it."""

    def sign_in_or_none(self) -> SessionState | None:
        """Return the sign-in, done or half done, if there is one."""
        if self.failure is not None:
            raise self.failure
        return self.state

    def sign_in(self) -> SessionState:
        """Return the sign-in, done or half done; raises `SignInRequired`."""
        state = self.sign_in_or_none()
        if state is None:
            raise SignInRequired(self.reason)
        return state

    def finished_sign_in(self) -> SessionState:
        """Return the sign-in that is done; raises `SignInRequired`, or `CodeRequired` while a code is owed."""
        state = self.sign_in()
        if not state.signed_in:
            raise CodeRequired(recovery_only=self.account_status().state == "reenrol")
        return state

    def account_status(self) -> Status:
        """Return where that user's account stands; raises `SignInRequired`."""
        if self.failure is not None:
            raise self.failure
        if self.status is None:
            raise SignInRequired(self.reason)
        return self.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who a browser says that it is, before the account was asked."""

    user_id: str | None
    """Whose status decides; `None` if there is nothing to look up."""
    state: SessionState | None
    reason: SignInReason = "signed_out"


def claim_of(state: SessionState | None, host_user: HostUser, *, now: int, lifetime: int) -> Claim:
    """Return what a browser claims. `lifetime` is how many seconds a sign-in lasts."""
    reason: SignInReason = "signed_out"
    if state is not None and not state.is_current(now, lifetime):
        state, reason = None, "expired"
    if state is not None and not _is_named(state, host_user):
        state = None
    if state is not None:
        return Claim(user_id=state.user_id, state=state)
    return Claim(user_id=None if host_user is UNSAID else host_user, state=None, reason=reason)


def judge(claim: Claim, status: Status, *, now: int) -> Identity:
    """Hold a claim against the status of the user that it names.

    A state counts only under the generation that it was made in. Somebody whom the host names without a state of ours
    may have come in by any door, so that counts only while no second factor was ever set up.
    """
    if claim.state is not None:
        if claim.state.generation != status.generation:
            return Identity(reason="ended")
        return Identity(state=claim.state, status=status)
    if claim.user_id is not None and status.generation is None and not status.required:
        named = SessionState(user_id=claim.user_id, generation=None, since=now, signed_in=True, named_by_host=True)
        return Identity(state=named, status=status)
    return Identity(reason=claim.reason)


def _is_named(state: SessionState, host_user: HostUser) -> bool:
    """Whether the host's own login agrees with the state. It names nobody yet while a code is owed."""
    if host_user is None:
        return not state.signed_in
    return host_user is UNSAID or host_user == state.user_id
