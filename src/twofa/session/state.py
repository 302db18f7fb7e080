"""What is remembered of one browser between two requests, and how it is sealed into one string.

The string is all there is: the host keeps it in its session, or an API's client carries it. It is sealed under the key
ring, so that someone who learns the host's session secret still forges nothing, and a cookie that can be read shows
nothing. A string that does not open is nobody's.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from twofa._record.throttle import CLOCK_SKEW
from twofa._record.tokens import open_token, seal_token

if TYPE_CHECKING:
    from twofa._record.tokens import Purpose
    from twofa.keys import KeyRing

__all__ = ["CODE_WITHIN", "HeldSetup", "SessionState", "open_state", "seal_state"]

CODE_WITHIN = 600
"""Seconds between the password and the code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSetup:
    """A set-up that this browser began: nobody else can see its secret again or confirm it."""

    handle: str
    account_name: str
    issuer: str | None
    expires_at: int

    def __repr__(self) -> str:
        return "HeldSetup(<hidden>)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """One sign-in of one browser, done or half done. Times are Unix seconds."""

    user_id: str
    generation: str | None
    """The account's generation at the sign-in: under any other, this state is worth nothing."""
    since: int
    """When the password was accepted."""
    signed_in: bool
    """False while a code is still owed."""
    named_by_host: bool = False
    """Whether only the host's own login named the user, so that nothing is known of a password."""
    known_browser: bool = False
    """Whether the user has signed in here before."""
    trusted_until: int = 0
    """Until when the password is enough in this browser; 0 if it never is."""
    verified_at: int = 0
    """When a code was last accepted in this session; 0 if never."""
    verification: str | None = None
    """That verification's token, until it has served as a proof."""
    setup: HeldSetup | None = None

    def is_current(self, now: int, lifetime: int) -> bool:
        """Whether this state is young enough: it lives from the password on, and for ten minutes while half done."""
        return self.is_younger_than(lifetime if self.signed_in else CODE_WITHIN, now)

    def is_younger_than(self, seconds: int, now: int) -> bool:
        """Whether the password was accepted less than that long ago, and not in the future."""
        return self.since - CLOCK_SKEW <= now < self.since + seconds

    def is_same_sign_in(self, other: SessionState) -> bool:
        """Whether both are moments of one sign-in, at the same stage."""
        return _sign_in_key(self) == _sign_in_key(other)

    def __repr__(self) -> str:
        return f"SessionState({self.user_id!r}, signed_in={self.signed_in})"


def seal_state(keys: KeyRing, purpose: Purpose, state: SessionState, *, namespace: str, nonce: bytes) -> str:
    """Return the string that stands for `state`; `nonce` is `tokens.NONCE_BYTES` random bytes."""
    return seal_token(keys, purpose, _dump(state), namespace=namespace, nonce=nonce)


def open_state(keys: KeyRing, purpose: Purpose, text: object, *, namespace: str) -> SessionState | None:
    """Return the state that `text` stands for, or `None` if it was not sealed here for this purpose."""
    content = open_token(keys, purpose, text, namespace=namespace)
    return None if content is None else _load(content)


def _sign_in_key(state: SessionState) -> tuple[object, ...]:
    return state.user_id, state.generation, state.since, state.signed_in


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(SessionState)}


def _dump(state: SessionState) -> bytes:
    # What has its default is left out, so that a version that adds a field still reads the sessions of the last one.
    values = {name: getattr(state, name) for name, default in _DEFAULTS.items() if getattr(state, name) != default}
    if state.setup is not None:
        setup = state.setup
        values["setup"] = [setup.handle, setup.account_name, setup.issuer, setup.expires_at]
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()


def _load(content: bytes) -> SessionState | None:
    values: dict[str, Any] = json.loads(content)
    if not values.keys() <= _DEFAULTS.keys() or any(
        default is MISSING and name not in values for name, default in _DEFAULTS.items()
    ):
        return None  # sealed by another version of twofa, whose meaning could be anything
    if "setup" in values:
        handle, account_name, issuer, expires_at = values["setup"]
        values["setup"] = HeldSetup(handle=handle, account_name=account_name, issuer=issuer, expires_at=expires_at)
    return SessionState(**values)
