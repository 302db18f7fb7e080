"""Who a browser is: every state that it can hold, against every account and every word of the host's own login."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, cast

import pytest
from support import KEY

from twofa import KeyRing, Status
from twofa._record.tokens import NONCE_BYTES, Purpose, seal_token
from twofa.errors import CodeRequired, SignInRequired
from twofa.session.identity import UNSAID, Claim, Identity, checked, claim_of, judge
from twofa.session.state import CODE_WITHIN, HeldSetup, SessionState, open_state, seal_state

NOW = 1_800_000_000
LIFETIME = 86_400
SIGNED_IN = SessionState(user_id="alice", generation="g1", since=NOW, signed_in=True)
HALF = replace(SIGNED_IN, signed_in=False)
FULL = SessionState(
    user_id="ålice",
    generation="g1",
    since=NOW,
    signed_in=True,
    named_by_host=True,
    known_browser=True,
    trusted_until=NOW + 1,
    verified_at=NOW,
    verification="token",
    setup=HeldSetup(handle="handle", account_name="alice@example.com", issuer=None, expires_at=NOW),
)
NONCE = bytes(NONCE_BYTES)
RING = KeyRing(KEY)


def _account(generation: str | None = "g1", *, required: bool = True, state: str = "active") -> Status:
    named = {"generation": generation, "required": required, "state": state}
    return cast("Status", type("Account", (), named))  # of a status only these three are looked at


def _judge(state: SessionState | None, account: Status, *, host_user: Any = UNSAID, now: int = NOW) -> Identity:
    claim = claim_of(state, host_user, now=now, lifetime=LIFETIME)
    return judge(claim, account, now=now) if claim.user_id is not None else Identity(reason=claim.reason)


# --- how it is kept ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [SIGNED_IN, HALF, FULL, replace(FULL, generation=None)])
def test_a_state_opens_as_it_was_sealed(state: SessionState) -> None:
    """Every field comes back, and only for the purpose that it was sealed for."""
    text = seal_state(RING, Purpose.SESSION, state, namespace="", nonce=NONCE)

    assert state == open_state(RING, Purpose.SESSION, text, namespace="")
    assert open_state(RING, Purpose.BEARER, text, namespace="") is None
    assert open_state(RING, Purpose.SESSION, text, namespace="shop") is None


@pytest.mark.parametrize(
    "content",
    [b"{}", b'{"user_id":"alice"}', b'{"user_id":"a","generation":null,"since":1,"signed_in":true,"admin":1}'],
)
def test_a_state_of_another_version_is_nobody(content: bytes) -> None:
    """A field that is missing or unknown could mean anything, so the whole state counts for nothing."""
    text = seal_token(RING, Purpose.SESSION, content, namespace="", nonce=NONCE)

    assert open_state(RING, Purpose.SESSION, text, namespace="") is None


def test_a_state_shows_no_secret() -> None:
    """Neither the handle nor the token is in what a log would show."""
    assert "SessionState('ålice', signed_in=True)" == repr(FULL)
    assert "HeldSetup(<hidden>)" == repr(FULL.setup)


# --- who it is -----------------------------------------------------------------------------------------------------


def test_a_browser_that_cannot_be_anybody_is_not_looked_up() -> None:
    """Without a state, or with one that is too old, there is no account to read, unless the host names a user."""
    old = replace(SIGNED_IN, since=NOW - LIFETIME)

    assert Claim(user_id=None, state=None) == claim_of(None, UNSAID, now=NOW, lifetime=LIFETIME)
    assert Claim(user_id=None, state=None) == claim_of(None, None, now=NOW, lifetime=LIFETIME)
    assert Claim(user_id=None, state=None, reason="expired") == claim_of(old, UNSAID, now=NOW, lifetime=LIFETIME)
    assert Claim(user_id="bob", state=None) == claim_of(None, "bob", now=NOW, lifetime=LIFETIME)


def test_all_states_against_all_accounts_and_hosts() -> None:
    """A model of a few lines, written from the laws, says the same of every combination."""
    states = [
        None,
        *(
            SessionState(user_id=user, generation=generation, since=NOW - age, signed_in=signed_in)
            for user, generation, age, signed_in in product(
                ["alice", "bob"],
                [None, "g1", "g2"],
                [-61, -60, 0, CODE_WITHIN - 1, CODE_WITHIN, LIFETIME - 1, LIFETIME],
                [True, False],
            )
        ),
    ]
    accounts = [
        _account(None, required=False, state="none"),
        _account("g1"),
        _account("g1", required=False),
        _account("g2"),
    ]
    for state, account, host_user in product(states, accounts, [UNSAID, None, "alice", "bob"]):
        identity = _judge(state, account, host_user=host_user)
        user = identity.state and (identity.state.user_id, identity.state.signed_in)
        assert _expected(state, account, host_user) == user, (state, account, host_user)


def _expected(state: SessionState | None, account: Any, host_user: Any) -> tuple[str, bool] | None:
    if state and not -60 <= NOW - state.since < (LIFETIME if state.signed_in else CODE_WITHIN):
        state = None
    if state and host_user not in {UNSAID, state.user_id, None if not state.signed_in else UNSAID}:
        state = None
    if state:
        return (state.user_id, state.signed_in) if state.generation == account.generation else None
    if host_user in {UNSAID, None} or account.generation is not None:
        return None
    return host_user, True


@pytest.mark.parametrize(
    ("state", "account", "reason"),
    [
        (None, _account(), "signed_out"),
        (replace(SIGNED_IN, since=NOW - LIFETIME), _account(), "expired"),
        (replace(HALF, since=NOW - CODE_WITHIN), _account(), "expired"),
        (SIGNED_IN, _account("g2"), "ended"),
        (HALF, _account("g2"), "ended"),
    ],
)
def test_the_refusal_says_why(state: SessionState | None, account: Status, reason: str) -> None:
    """Signed out, too long ago, or ended from elsewhere: the page can say which."""
    with pytest.raises(SignInRequired) as refusal:
        _judge(state, account).finished_sign_in()
    assert reason == refusal.value.reason


@pytest.mark.parametrize(("state", "recovery_only"), [("active", False), ("reenrol", True)])
def test_who_owes_a_code_is_told_which(state: str, recovery_only: bool) -> None:
    """Half signed in is not signed in, and the refusal says whether only a recovery code serves."""
    identity = _judge(HALF, _account(state=state))
    with pytest.raises(CodeRequired) as refusal:
        identity.finished_sign_in()

    assert HALF == identity.sign_in()
    assert ("code_owed", recovery_only) == (refusal.value.reason, refusal.value.recovery_only)


def test_a_failure_is_never_read_as_signed_out() -> None:
    """Where the account could not be read, every question raises what went wrong."""
    failure = OSError("the database is down")
    identity = Identity(failure=failure)
    for question in (identity.sign_in_or_none, identity.sign_in, identity.finished_sign_in, identity.account_status):
        with pytest.raises(OSError, match="the database is down"):
            question()


def test_the_host_names_users_by_text() -> None:
    """A number would never equal a user's id: it is refused with what to write instead."""
    assert [UNSAID, None, "42"] == [checked(host_user) for host_user in (UNSAID, None, "42")]
    for wrong in (42, b"42", True):
        with pytest.raises(TypeError, match=r"str\(user\.id\)"):
            checked(cast("str", wrong))
