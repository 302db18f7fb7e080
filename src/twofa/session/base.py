"""Everything about a browser's session that needs no store: what both faces share.

`SessionBase` knows who the browser is, prepares each call on the account, and takes in what came of it. Carrying the
calls out, and reading the account between them, is left to the faces: `blocking.py` and `asynchronous.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from twofa import _entropy
from twofa._engine.arguments import checked_code
from twofa._engine.decision import SessionGeneration
from twofa._engine.operations.changes import (
    AcknowledgeRecoveryCodes,
    Disable,
    EndSessions,
    ResetAuthenticator,
    ResetRecoveryCodes,
)
from twofa._engine.operations.setup import BeginSetup, CancelSetup, ConfirmSetup, ResumeSetup
from twofa._engine.operations.sign_in import Authenticate
from twofa._engine.operations.upkeep import GetStatus
from twofa._hidden import Hidden
from twofa._record import browsers
from twofa._record.browsers import LONGEST_TRUST, KnownBrowser
from twofa._record.recovery import is_longer_than_any_totp_code
from twofa._record.state import VERIFICATION_LIFETIME
from twofa._record.tokens import NONCE_BYTES
from twofa._time import utc
from twofa.errors import NoSetup, ProofRequired, SignInRequired
from twofa.proofs import ByCode, ByRecoveryCode, ByVerification
from twofa.session import cookies
from twofa.session.identity import Claim, Identity, claim_of, judge
from twofa.session.state import HeldSetup, SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from twofa._engine.operation import Operation
    from twofa._engine.settings import Settings
    from twofa.errors import SignInReason
    from twofa.proofs import Proof
    from twofa.results import RecoveryCodes, Setup, Status, Verification
    from twofa.session.cookies import BrowserCookie
    from twofa.session.identity import HostUser
    from twofa.session.slot import Slot

__all__ = ["SessionBase", "in_session"]

T = TypeVar("T")

_DAY = 86_400


class SessionBase:
    """Who a browser is: signed in, owing a code, or nobody. Attributes read nothing and change nothing.

    They speak of the account as the last call of this request found it. Where the store or the record could not be
    read, each of them raises that failure, so that nobody takes it for "signed out"; `sign_out` and
    `password_accepted` still work.
    """

    def __init__(self, slot: Slot, settings: Settings, host_user: HostUser, source: str | None) -> None:
        self._slot, self._settings, self._source = slot, settings, source
        self._claim = claim_of(slot.read(), host_user, now=settings.now(), lifetime=settings.policy.session_lifetime)
        self._identity = Identity(reason=self._claim.reason)

    # --- who it is -------------------------------------------------------------------------------------------------

    @property
    def user_id(self) -> str | None:
        """The id of the user who is signed in, or `None`."""
        state = self._identity.sign_in_or_none()
        return state.user_id if state is not None and state.signed_in else None

    @property
    def awaiting(self) -> str | None:
        """The id of the user whose password was accepted and who still owes a code, or `None`."""
        state = self._identity.sign_in_or_none()
        return None if state is None or state.signed_in else state.user_id

    @property
    def status(self) -> Status:
        """Where the account of that user stands, signed in or not yet; raises `SignInRequired` for nobody."""
        return self._identity.account_status()

    @property
    def needs_code(self) -> bool:
        """Whether the form of a change must ask for a code; raises `SignInRequired` unless signed in.

        It need not where no second factor protects the account yet, or where a code was given in this session in the
        last ten minutes and has not served as a proof since.
        """
        state, required = self._identity.finished_sign_in(), self._identity.account_status().required
        fresh = state.verification is not None and self._now() < state.verified_at + VERIFICATION_LIFETIME
        return required and not fresh

    @property
    def has_setup(self) -> bool:
        """Whether the set-up that waits to be confirmed is this session's: a page can offer to go on with it."""
        state, waiting = self._identity.finished_sign_in(), self._identity.account_status().setup_expires_at
        return state.setup is not None and waiting is not None and state.setup.expires_at == int(waiting.timestamp())

    @property
    def signed_in_at(self) -> datetime | None:
        """When the password was accepted (aware UTC); `None` if nobody is signed in, or only the host says so.

        Ask for the password again before a first set-up if that was long ago (ASVS 5.0 7.5.1).
        """
        state = self._identity.sign_in_or_none()
        return None if state is None or not state.signed_in or state.named_by_host else utc(state.since)

    @property
    def trusted_until(self) -> datetime | None:
        """Until when the password is enough in this browser (aware UTC); `None` if a code is asked for each time."""
        state = self._identity.sign_in_or_none()
        return utc(state.trusted_until) if state is not None and self._now() < state.trusted_until else None

    def require(self) -> str:
        """Return the id of the user who is signed in: the first line of every page that is not for everybody.

        Raises `CodeRequired` if a code is still owed, `SignInRequired` if nobody is signed in, and what the store
        raised, or the `RecordError`, where the account could not be read.
        """
        return self._identity.finished_sign_in().user_id

    def browser_cookie(self, *, trust_days: int = 0) -> BrowserCookie:
        """Return the arguments of a framework's `set_cookie`. Call it after every sign-in.

        From then on this browser is *known*: whoever has only the password cannot make the user wait in it. With
        `trust_days`, 1 to 90, it is also *trusted*: that long the password is enough here, until the second factor is
        changed. Trust that was there stays as it was.

        Raises `ProofRequired` for `trust_days` in a session in which no code was given, and `SignInRequired`.
        """
        state, now = self._identity.finished_sign_in(), self._now()
        trusted_until = state.trusted_until
        if trust_days:
            _check_trust(trust_days)
            if not state.verified_at:
                raise ProofRequired
            trusted_until = now + trust_days * _DAY
            self._update(lambda state: replace(state, trusted_until=trusted_until))
        known = KnownBrowser(generation=state.generation, issued_at=now, trusted_until=trusted_until)
        nonce = _entropy.random_bytes(NONCE_BYTES)
        settings = self._settings
        return cookies.cookie(
            browsers.issue(settings.keys, known, user_id=state.user_id, namespace=settings.namespace, nonce=nonce)
        )

    def forget_browser(self) -> BrowserCookie:
        """Return the arguments of `set_cookie` that make this browser neither known nor trusted any more."""
        self._identity.finished_sign_in()
        self._update(lambda state: replace(state, trusted_until=0))
        return cookies.expired_cookie()

    # --- the calls on the account ----------------------------------------------------------------------------------

    def _get_status(self) -> Operation[Status] | None:
        """Return the call that reads the account, or `None` if this browser cannot be anybody."""
        claim = self._claim
        if claim.user_id is None:
            return None
        operation = GetStatus.prepare(self._settings, claim.user_id, None)
        return operation if claim.state is None else in_session(claim.state, operation)

    def _authenticate(self, code: Hidden[str]) -> Operation[Verification]:
        user_id = self._identity.sign_in().user_id
        return self._in_session(Authenticate.prepare(self._settings, user_id, code, None, self._source))

    def _begin_setup(self, account_name: str, issuer: str | None, code: Hidden[str]) -> Operation[Setup]:
        user_id, proof = self.require(), self._proof(code)
        return self._in_session(
            BeginSetup.prepare(self._settings, user_id, account_name, issuer, proof, None, self._source)
        )

    def _resume_setup(self) -> Operation[Setup]:
        user_id, held = self.require(), self._held_setup()
        return self._in_session(
            ResumeSetup.prepare(
                self._settings, user_id, Hidden(held.handle), held.account_name, held.issuer, self._source
            )
        )

    def _confirm_setup(self, code: Hidden[str]) -> Operation[RecoveryCodes]:
        user_id, handle = self.require(), Hidden(self._held_setup().handle)
        return self._in_session(ConfirmSetup.prepare(self._settings, user_id, code, handle, self._source))

    def _cancel_setup(self) -> Operation[None] | None:
        """Return the call that cancels this session's set-up, or `None` if there is nothing to cancel."""
        held, user_id = self._identity.finished_sign_in().setup, self.require()
        if held is None:
            return None
        return self._in_session(CancelSetup.prepare(self._settings, user_id, Hidden(held.handle), self._source))

    def _reset_recovery_codes(self, code: Hidden[str]) -> Operation[RecoveryCodes]:
        user_id, proof = self.require(), self._proof(code)
        return self._in_session(ResetRecoveryCodes.prepare(self._settings, user_id, proof, None, self._source))

    def _reset_authenticator(self, account_name: str, issuer: str | None, code: Hidden[str]) -> Operation[Setup]:
        user_id, proof = self.require(), self._proof(code)
        return self._in_session(
            ResetAuthenticator.prepare(self._settings, user_id, account_name, issuer, proof, None, self._source)
        )

    def _disable(self, code: Hidden[str]) -> Operation[str | None]:
        user_id, proof = self.require(), self._proof(code)
        return self._in_session(Disable.prepare(self._settings, user_id, proof, None, self._source))

    def _acknowledge(self) -> Operation[None]:
        user_id = self.require()
        return self._in_session(AcknowledgeRecoveryCodes.prepare(self._settings, user_id, None, self._source))

    def _end_sessions(self, state: SessionState) -> Operation[str]:
        return in_session(state, EndSessions.prepare(self._settings, state.user_id, self._source))

    def _in_session(self, operation: Operation[T]) -> Operation[T]:
        return in_session(self._identity.sign_in(), operation)

    def _proof(self, code: Hidden[str]) -> Proof | None:
        """Return what shows that the owner is asking: the code if one was given, else the session's verification."""
        verification = self._identity.finished_sign_in().verification
        given = checked_code(code)
        if given.value.strip():
            return ByRecoveryCode(given.value) if is_longer_than_any_totp_code(given) else ByCode(given.value)
        return None if verification is None else ByVerification(verification)

    def _held_setup(self) -> HeldSetup:
        """Return the set-up that this session began."""
        setup = self._identity.finished_sign_in().setup
        if setup is None:
            raise NoSetup
        return setup

    # --- what came of them -----------------------------------------------------------------------------------------

    def _saw(self, status: Status) -> None:
        """Take in where the account stands now."""
        self._identity = judge(self._claim, status, now=self._now())

    def _failed(self, problem: Exception) -> None:
        """Take in that the account could not be read: nothing is known until it can be."""
        self._identity = Identity(failure=problem)

    def _refused(self, problem: Exception, operation: Operation[Any]) -> None:
        """Drop a verification that does not serve any more, so that the next form asks for a code."""
        if isinstance(problem, ProofRequired):
            self._update(lambda state: _without(operation.get_proof(), state))

    def _leave(self) -> None:
        """Be nobody from here on, whatever fails afterwards."""
        self._become_nobody("signed_out")
        self._slot.blank()

    def _enter(self, user_id: str, status: Status, browser_token: Hidden[str]) -> None:
        """Sign in where the password is enough; otherwise remember that a code is owed, and raise `CodeRequired`."""
        now = self._now()
        browser = browsers.open_for(
            self._settings.keys,
            browser_token.value,
            user_id=user_id,
            namespace=self._settings.namespace,
            generation=status.generation,
            now=now,
        )
        trusted_until = browser.trusted_until if browser is not None and browser.is_trusted(now) else 0
        if self._slot.read() is not None:  # somebody has signed in here while the account was read
            raise SignInRequired
        self._keep(
            SessionState(
                user_id=user_id,
                generation=status.generation,
                since=now,
                signed_in=not status.required or bool(trusted_until),
                known_browser=browser is not None,
                trusted_until=trusted_until,
            )
        )
        self._saw(status)
        self.require()

    def _verified(self, verification: Verification) -> None:
        """Be signed in, with a fresh verification."""
        now = self._now()
        if not self._update(
            lambda state: replace(state, signed_in=True, verification=verification.token, verified_at=now)
        ):
            self._become_nobody("signed_out")
            raise SignInRequired

    def _began(self, setup: Setup, operation: Operation[Setup], account_name: str, issuer: str | None) -> None:
        """Keep the handle of a set-up. A verification that served as the proof is spent."""
        held = _held(setup, account_name, issuer)
        self._update(lambda state: replace(_without(operation.get_proof(), state), setup=held))

    def _cancelled(self) -> None:
        """Drop the handle of a set-up that is no more."""
        self._update(lambda state: replace(state, setup=None))

    def _issued(self, codes: RecoveryCodes) -> None:
        """Go on after new recovery codes, with a verification that can replace them if their page is lost."""
        now = self._now()
        self._adopt(codes.generation, lambda state: replace(state, verification=codes.token, verified_at=now))

    def _was_reset(self, setup: Setup, account_name: str, issuer: str | None) -> None:
        """Go on after a reset, with the set-up that it has begun."""
        held = _held(setup, account_name, issuer)
        self._adopt(setup.generation, lambda state: replace(state, setup=held))

    def _adopt(
        self, generation: str | None, and_also: Callable[[SessionState], SessionState] = lambda state: state
    ) -> None:
        """Go on under the generation that this call has made. It ends every other session, every trust and set-up.

        Where this browser has signed out meanwhile it stays signed out, and what the call returned is still its own.
        """
        self._update(
            lambda state: and_also(
                replace(state, generation=generation, trusted_until=0, verification=None, setup=None)
            )
        )

    # --- what is kept ----------------------------------------------------------------------------------------------

    def _update(self, change: Callable[[SessionState], SessionState]) -> bool:
        """Change what is kept of this sign-in; return whether it was still there.

        Another request on the same session may have changed it since this one began: that change stays. If it has
        signed out, or somebody else has signed in, nothing is written.
        """
        mine, kept = self._identity.state, self._slot.read()
        if mine is None:
            return False
        if kept is None or not kept.is_same_sign_in(mine):
            if not mine.named_by_host:
                return False
            kept = mine  # nothing was kept so far: the host's word was enough
        self._keep(change(kept))
        return True

    def _keep(self, state: SessionState) -> None:
        self._slot.write(state)
        self._claim = Claim(user_id=state.user_id, state=state)
        self._identity = replace(self._identity, state=state)

    def _become_nobody(self, reason: SignInReason) -> None:
        self._claim, self._identity = Claim(user_id=None, state=None), Identity(reason=reason)

    def _now(self) -> int:
        return self._settings.now()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._identity.state or 'nobody'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} belongs to one request and cannot be pickled")


def in_session(state: SessionState, operation: Operation[T]) -> Operation[T]:
    """Bind a call to a session: where that was ended meanwhile, nothing is spent or counted.

    Attempts of someone who is signed in here, or was before, are counted apart from strangers'.
    """
    known = state.generation if state.signed_in or state.known_browser else operation.call.browser
    return replace(operation, call=replace(operation.call, session=SessionGeneration(state.generation), browser=known))


def _without(proof: Proof | None, state: SessionState) -> SessionState:
    """Drop a verification that has served, or does not. One that another request has brought meanwhile stays."""
    tried = isinstance(proof, ByVerification) and proof.token == state.verification
    return replace(state, verification=None) if tried else state


def _held(setup: Setup, account_name: str, issuer: str | None) -> HeldSetup:
    expires_at = int(setup.expires_at.timestamp())
    return HeldSetup(handle=setup.handle, account_name=account_name, issuer=issuer, expires_at=expires_at)


def _check_trust(days: int) -> None:
    most = LONGEST_TRUST // _DAY
    if type(days) is not int or not 1 <= days <= most:
        raise ValueError(f"trust_days must be a whole number from 1 to {most}, or 0 for a browser that is only known")
