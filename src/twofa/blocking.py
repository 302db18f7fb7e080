"""`TwoFactor`: the blocking face of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from twofa._engine import arguments, parts
from twofa._engine.attempt import LOST_REPLIES, ROUNDS, said
from twofa._engine.listening import log_event, log_interruption, log_listener_failure, worth_telling
from twofa._engine.operations.changes import (
    AcknowledgeRecoveryCodes,
    Disable,
    EndSessions,
    Forget,
    PasswordChanged,
    ResetAuthenticator,
    ResetRecoveryCodes,
)
from twofa._engine.operations.moving import ExportAuthenticator, ImportAuthenticator
from twofa._engine.operations.setup import BeginSetup, CancelSetup, ConfirmSetup, ResumeSetup
from twofa._engine.operations.sign_in import Authenticate, RedeemRecoveryCode, Verify
from twofa._engine.operations.upkeep import GetStatus, Reseal
from twofa._engine.queue import CONFLICT_PATIENCE, SLOW_WORK_PATIENCE, Position, Queue
from twofa._engine.settings import Settings, system_clock
from twofa._hidden import Hidden, expected
from twofa.errors import OutcomeUnknown, StoreContention
from twofa.keys import KeyRing
from twofa.proofs import recognised
from twofa.session import tickets
from twofa.session.blocking import open_bearer, open_session
from twofa.session.identity import UNSAID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from twofa._engine.attempt import Attempt, Step
    from twofa._engine.operation import Operation
    from twofa.events import Event
    from twofa.otp import Algorithm
    from twofa.policy import Policy
    from twofa.proofs import Proof
    from twofa.results import ExportedAuthenticator, RecoveryCodes, Setup, Status, Verification
    from twofa.session.blocking import Bearer, Session
    from twofa.session.identity import HostUser
    from twofa.session.slot import HostSession, Rotation
    from twofa.stores.protocol import Change, Store, Stored

__all__ = ["TwoFactor"]

T = TypeVar("T")


class TwoFactor:
    """Set-up, login, recovery and reset of a second factor. Safe to share between threads; holds no user's state.

    Every method that takes a code raises `InvalidCode` (or one of its kinds) or `Throttled` where the code does not
    serve, and never returns a boolean that a caller could forget to look at. All of them raise `RecordError` where the
    stored record cannot be trusted, `StoreContention` or `OutcomeUnknown` where the store did not settle, `TypeError`
    and `ValueError` for unusable arguments before anything is read, and let the store's own exceptions through.

    `code` and `handle` may be `None`: a form field that is missing is a `MalformedCode`, a session without a set-up has
    `NoSetup`.
    `user_id`: 1 to 255 characters without NUL; never reuse or rename one (an e-mail address is a poor id).
    `browser`: a token of `browser_token` that this browser kept, or `None`. Wrong codes of strangers do not make a
    browser wait that the owner has used before.
    `source`: what the host knows of the request's origin, such as an address; only recorded, cut at 256 characters.
    """

    def __init__(
        self,
        store: Store,
        *,
        keys: KeyRing,
        issuer: str,
        policy: Policy | None = None,
        clock: Callable[[], float] = system_clock,
        on_event: Callable[[Event], object] | None = None,
        namespace: str = "",
    ) -> None:
        """Put the library together.

        `issuer` names the application in the user's app. `clock` returns Unix seconds, from a source that no client
        controls (ASVS 5.0 6.5.8). `on_event` is told of every event, after the record says so; its exceptions are
        logged. `namespace` keeps applications or tenants apart that share keys and user ids: it is bound into every
        seal.
        """
        self._store, self._issuer, self._on_event = store, issuer, on_event
        parts.check_parts(store, on_event, awaits=False)
        ring = expected(keys, KeyRing)
        del keys
        self._settings = Settings(ring, issuer, policy, clock, namespace)
        self._conflicts, self._slow_work = Queue(CONFLICT_PATIENCE), Queue(SLOW_WORK_PATIENCE)

    # --- adding and replacing an authenticator -----------------------------------------------------------------------

    def begin_setup(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof | None = None,
        browser: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """Begin to add an authenticator app, or to replace it: the old one works until the new one is confirmed.

        Makes a new secret; any earlier set-up dies. On a protected account that takes a `proof`. `account_name` is the
        label in the user's app; a set-up lives ten minutes.

        Raises `ProofRequired` on a protected account without a valid proof, `InvalidCode` and `Throttled` for a proof
        by code, `ReenrolmentRequired` for `ByCode` where there is no authenticator, `RecoveryCodesExhausted` where the
        owner would be left without a way back in, and `InvalidKeyUri` for a label that no app could show. NIST SP
        800-63B-4 §4.1.2.
        """
        known = None if proof is None else recognised(proof)
        token = None if browser is None else Hidden(browser)
        del proof, browser
        operation = BeginSetup.prepare(self._settings, user_id, account_name, issuer, known, token, source)
        return self._carry_out(operation)

    def resume_setup(
        self,
        user_id: str,
        *,
        handle: str | None,
        account_name: str,
        issuer: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """Return the same secret again to the holder of a set-up's `handle`; changes nothing.

        So the QR code stays valid after a reloaded page and after a wrong code.

        Raises `NoSetup` if no live set-up has this handle, and `SetupExpired`.
        """
        held = Hidden(handle)
        del handle
        return self._carry_out(ResumeSetup.prepare(self._settings, user_id, held, account_name, issuer, source))

    def confirm_setup(
        self, user_id: str, code: str | None, *, handle: str | None, source: str | None = None
    ) -> RecoveryCodes:
        """Activate the new authenticator, kill the old one and issue new recovery codes, in one step.

        `code` is what the new app shows, and is spent by this. Show the codes once: only hashes are kept. Call
        `acknowledge_recovery_codes` when the user says that they are saved.

        Raises `NoSetup` if no live set-up has this `handle`, `SetupExpired`, and `InvalidCode`; after ten wrong codes
        the set-up dies. NIST SP 800-63B-4 §4.1.2, RFC 6238 §5.2.
        """
        hidden, held = Hidden(code), Hidden(handle)
        del code, handle
        return self._carry_out(ConfirmSetup.prepare(self._settings, user_id, hidden, held, source))

    def cancel_setup(self, user_id: str, *, handle: str | None = None, source: str | None = None) -> None:
        """Forget a set-up that waits to be confirmed, and touch nothing else; with `handle`, only that one."""
        held = None if handle is None else Hidden(handle)
        del handle
        return self._carry_out(CancelSetup.prepare(self._settings, user_id, held, source))

    # --- the second step of a login ----------------------------------------------------------------------------------

    def verify(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """Check and spend a TOTP code, after the password.

        Raises `InvalidCode`, `MalformedCode`, `CodeReused`, `Throttled`, `NotEnrolled`, or `ReenrolmentRequired` while
        only a recovery code serves. RFC 6238 §4 and §5.2, NIST SP 800-63B-4 §3.1.4.2 and §3.2.2.
        """
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return self._carry_out(Verify.prepare(self._settings, user_id, hidden, token, source))

    def redeem_recovery_code(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """Check and spend a recovery code, after the password. Takes one slow hash, hit or miss.

        Raises `InvalidCode`, `MalformedCode`, `CodeReused`, `Throttled`, `NotEnrolled`, or `RecoveryCodesExhausted` if
        none is left or the set is blocked. NIST SP 800-63B-4 §3.1.2.2 and §4.2.1.1.
        """
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return self._carry_out(RedeemRecoveryCode.prepare(self._settings, user_id, hidden, token, source))

    def authenticate(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """Check and spend either kind of code, for the page with one field: a recovery code is always longer.

        Raises what `verify` or `redeem_recovery_code` raises.
        """
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return self._carry_out(Authenticate.prepare(self._settings, user_id, hidden, token, source))

    def browser_token(self, user_id: str, *, generation: str) -> str:
        """Return a token that makes a browser known to this user. Keep it in a cookie of that browser, for 400 days.

        `generation` is that of the `Verification` or `RecoveryCodes` that the browser has just received: with a new
        generation the token is worth nothing.
        """
        return self._settings.browser_token(user_id, generation)

    # --- changes -----------------------------------------------------------------------------------------------------

    def reset_recovery_codes(
        self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None
    ) -> RecoveryCodes:
        """Issue a new set of recovery codes; the old set is dead from this instant on.

        Raises what the proof can raise (see `begin_setup`), `NotEnrolled`, or `ReenrolmentRequired` where the old codes
        are the owner's only way in: there the next step is `begin_setup`. NIST SP 800-63B-4 §4.2.1.1.
        """
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return self._carry_out(ResetRecoveryCodes.prepare(self._settings, user_id, known, token, source))

    def reset_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof,
        browser: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """Kill the authenticator now, for a lost or stolen phone, and begin to set up a new one.

        The account stays protected: recovery codes work until the new app is confirmed, which issues a new set.

        Raises what the proof can raise (see `begin_setup`), `NotEnrolled`, or `RecoveryCodesExhausted` if the owner is
        not known to hold a recovery code that still works then (reset those first), since a closed tab would lock the
        owner out; `Vouched` overrides that. NIST SP 800-63B-4 §4.3 and §4.5.
        """
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        operation = ResetAuthenticator.prepare(self._settings, user_id, account_name, issuer, known, token, source)
        return self._carry_out(operation)

    def disable(
        self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None
    ) -> str | None:
        """Turn the second factor off: secret, codes and counters are erased. Returns the new generation.

        The new generation ends old sessions. Where there was no second factor, the old generation is returned, which is
        `None` for a user who never had one.

        Raises what the proof can raise (see `begin_setup`).
        """
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return self._carry_out(Disable.prepare(self._settings, user_id, known, token, source))

    def forget(self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None) -> None:
        """Erase the record and the audit trail of an account that is deleted.

        Raises what the proof can raise (see `begin_setup`).
        """
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return self._carry_out(Forget.prepare(self._settings, user_id, known, token, source))

    # --- what the host says ------------------------------------------------------------------------------------------

    def acknowledge_recovery_codes(
        self, user_id: str, *, generation: str | None = None, source: str | None = None
    ) -> None:
        """Remember that the user has saved the recovery codes; until then `Status` says that they have not.

        With the `generation` of the `RecoveryCodes` that the page showed, a set that was made meanwhile is not
        acknowledged by mistake.

        Raises `NotEnrolled`.
        """
        return self._carry_out(AcknowledgeRecoveryCodes.prepare(self._settings, user_id, generation, source))

    def password_changed(self, user_id: str, *, source: str | None = None) -> str:
        """Say that the user's password was changed or reset. Returns the new generation.

        Waits end, so that the owner gets in at once, and ten more codes of strangers are looked at. A third change
        within 30 days does neither, or whoever controls the mailbox could guess on. Browsers are not known any more,
        and the new generation ends old sessions: whoever knew the old password is out.
        """
        return self._carry_out(PasswordChanged.prepare(self._settings, user_id, source))

    def end_sessions(self, user_id: str, *, source: str | None = None) -> str:
        """End all sessions of a user, and make all browsers unknown. Returns the new generation. ASVS 5.0 7.4.3."""
        return self._carry_out(EndSessions.prepare(self._settings, user_id, source))

    # --- what changes nothing ----------------------------------------------------------------------------------------

    def status(self, user_id: str, *, browser: str | None = None) -> Status:
        """Return where the account stands, with the waits of this browser; changes nothing."""
        token = None if browser is None else Hidden(browser)
        del browser
        return self._carry_out(GetStatus.prepare(self._settings, user_id, token))

    def events(self, user_id: str, *, limit: int = 100) -> tuple[Event, ...]:
        """Return the user's latest events from the store's audit trail, the newest first.

        Raises `TypeError` where the store keeps no audit trail.
        """
        arguments.check_user_id(user_id)
        return parts.newest_first(parts.trail_of(self._store).events(user_id), limit)

    def reseal(self, user_id: str) -> bool:
        """Encrypt the record under the primary key; return whether that was necessary. ASVS 5.0 11.2.2."""
        return self._carry_out(Reseal.prepare(self._settings, user_id))

    # --- from another library, and to one ----------------------------------------------------------------------------

    def import_authenticator(
        self,
        user_id: str,
        secret: bytes | str,
        *,
        by: str,
        reason: str,
        algorithm: Algorithm = "SHA1",
        digits: int = 6,
        period: int = 30,
        confirmed_at: datetime | None = None,
        last_step: int | None = None,
        recovery_codes: Sequence[str] = (),
        source: str | None = None,
    ) -> str:
        """Enrol a user who is enrolled elsewhere: the same app and the same recovery codes work here from now on.

        `secret` is 10 to 128 bytes, or the same in base32; only here are less than 16 taken. `by` and `reason` say who
        moves the user and why; both are put on record. `confirmed_at` is when the app was set up: now, if nobody knows.
        `last_step` is the last time step whose code was accepted elsewhere, so that it is not accepted here again.
        `recovery_codes` are those that the user has not used: at most 32, each of 6 to 64 symbols of any alphabet.
        Spaces and hyphens in them do not matter, and case only if the set has both. They end with the next set.

        Returns the account's new generation. Takes one slow hash for each recovery code, unless they have 112 bits.

        Raises `AlreadyEnrolled` where there is a second factor already, `InvalidSecret` and `PolicyError` as `TOTP`
        does, and `TypeError` or `ValueError` for anything else that cannot be. NIST SP 800-63B-4 §4.1.2.
        """
        hidden, codes = Hidden(secret), arguments.hidden_codes(recovery_codes)
        del secret, recovery_codes
        operation = ImportAuthenticator.prepare(
            self._settings, user_id, hidden, codes, algorithm=algorithm, digits=digits, period=period,
            confirmed_at=confirmed_at, last_step=last_step, by=by, reason=reason, source=source,
        )  # fmt: skip
        return self._carry_out(operation)

    def export_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        by: str,
        reason: str,
        source: str | None = None,
    ) -> ExportedAuthenticator:
        """Show an authenticator's secret, for another library: nobody is locked in. Changes nothing else.

        `by` and `reason` say who asks and why; both are put on record before anything is shown. `account_name` and
        `issuer` are the label of the Key URI. Recovery codes cannot be exported: only their hashes exist.

        Raises `NotEnrolled`, `ReenrolmentRequired` where there is no authenticator, and `InvalidKeyUri` for a label
        that no app could show.
        """
        return self._carry_out(
            ExportAuthenticator.prepare(self._settings, user_id, account_name, issuer, by, reason, source)
        )

    # --- sessions ----------------------------------------------------------------------------------------------------

    def session(
        self,
        held: HostSession,
        *,
        rotate: Rotation = UNSAID,
        host_user: HostUser = UNSAID,
        source: str | None = None,
    ) -> Session:
        """Return who is signed in in a browser, and what they may do: one a request. `docs/session.md` explains it.

        `held` is what the host keeps for this browser: Flask's `session`, Django's or Starlette's `request.session`, or
        a `dict`. One key of it, `"twofa"`, is used. Reads the store once, and not at all for a browser that is nobody.

        `rotate` gives the session a new id. It is called at each sign-in, so that nobody can plant a session that they
        know. Pass `None` where the cookie itself is the session (Flask's and Starlette's own). Django's is found.

        `host_user` is for hosts with a login of their own, such as flask-login's or Django's: the id of the user whom
        that names, or `None`. Nobody is signed in whom the two do not agree on.

        Raises `TypeError` if `rotate` is left out where it cannot be found. A store that fails is raised by whatever is
        asked of the session, save by `sign_out`.
        """
        return open_session(self._carry_out, self._settings, held, rotate=rotate, host_user=host_user, source=source)

    def bearer(self, token: str | None, *, source: str | None = None) -> Bearer:
        """Return who an API's client is that carries its own session: `token` is what `Bearer.token` was last.

        `None`, or anything that is no such token, is nobody.
        """
        hidden = Hidden(token)
        del token
        return open_bearer(self._carry_out, self._settings, hidden, source=source)

    def login_ticket(self, user_id: str) -> str:
        """Return a ticket for a user whose password was right, for hosts that issue tokens of their own.

        `verify_ticket` takes it back with a code within five minutes. It is as secret as the password was.

        Raises `NotEnrolled` where no second factor protects the account: the password is enough.
        """
        return tickets.issue(self._settings, user_id, self.status(user_id))

    def verify_ticket(
        self, ticket: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """Check and spend a code, of the app or a recovery code, of the user whom a ticket names.

        Issue a token of your own for `Verification.user_id` then, and not before. Raises what `authenticate` does, and
        `SignInRequired` for a ticket that is none, is too old, or is from before the second factor was changed.
        """
        held, hidden = Hidden(ticket), Hidden(code)
        token = None if browser is None else Hidden(browser)
        del ticket, code, browser
        return self._carry_out(tickets.authenticate(self._settings, held, hidden, token, source))

    # --- the loop: asynchronous.py has the same one, line by line ----------------------------------------------------
    # A generator that both faces drive was tried. It took 42 lines more and hid the way of a call.

    def _carry_out(self, operation: Operation[T]) -> T:
        attempt = self._settings.attempt(operation)
        conflicts = Position(self._conflicts, attempt.user_id)
        slow_work = Position(self._slow_work, attempt.user_id)
        try:
            try:
                step = self._last_step(attempt, conflicts, slow_work)
            finally:
                # Before the listener is told: it may call for the same user.
                conflicts.leave()
                slow_work.leave()
        except Exception as problem:
            self._tell([*worth_telling(attempt.events), operation.failed(problem)])
            raise
        except BaseException:
            log_interruption(operation)
            raise
        self._tell(worth_telling(attempt.events))
        return step.result()

    def _last_step(self, attempt: Attempt[T], conflicts: Position, slow_work: Position) -> Step[T]:
        lost: Exception | None = None
        lost_replies = 0
        overtaken = self._conflicts.is_busy(attempt.user_id)
        for _ in range(ROUNDS):
            step = attempt.next(self._load(attempt.user_id, lost))
            if lost is not None and not step.confirms:
                raise OutcomeUnknown from lost
            if overtaken and not step.confirms and not conflicts.joined and conflicts.join():
                conflicts.wait()
                continue  # the record has changed meanwhile
            if step.decision.job is not None and not slow_work.joined:
                # Out of the one queue before waiting in the other: two calls must not wait for each other.
                conflicts.leave()
                if slow_work.join():
                    if not slow_work.wait():
                        raise StoreContention
                    continue
            if step.change is not None:
                outcome = self._swap(attempt.user_id, step.change)
                if isinstance(outcome, Exception):
                    lost, lost_replies = outcome, lost_replies + 1
                    if lost_replies == LOST_REPLIES:
                        raise OutcomeUnknown from lost
                    continue
                lost = None
                if not said(outcome):
                    overtaken = True
                    continue
            attempt.happened(step)
            if step.decision.job is None:
                return step
            conflicts.leave()
            attempt.resume(step.decision.job.run())
        raise StoreContention

    def _load(self, user_id: str, lost: Exception | None) -> Stored | None:
        try:
            return self._store.load(user_id)
        except Exception as problem:
            if lost is None:
                raise
            raise OutcomeUnknown from problem  # what became of the swap before cannot be told now

    def _swap(self, user_id: str, change: Change) -> object:
        try:
            return self._store.swap(user_id, change)
        except Exception as problem:  # whatever a driver raises when it cannot tell what became of a commit
            return problem

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            log_event(event)
            if self._on_event is None:
                continue
            try:
                parts.refuse_coroutine(self._on_event(event))
            except Exception:  # a listener is the host's code, and what it is told of has happened already
                log_listener_failure(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, issuer={self._issuer!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} carries keys and cannot be pickled: build one in each process")
