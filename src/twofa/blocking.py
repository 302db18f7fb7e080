"""`TwoFactor`: the whole of a second factor behind one object, for blocking code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar

from twofa._engine.attempt import ROUNDS, said
from twofa._engine.core import Core, check_parts, system_clock
from twofa._engine.queue import Place, Turns
from twofa._hidden import Hidden, expected
from twofa.errors import OutcomeUnknown, StoreContention
from twofa.events import log_event, log_listener_failure
from twofa.keys import KeyRing
from twofa.policy import Policy
from twofa.proofs import recognised

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa._engine.attempt import Run
    from twofa.events import Event
    from twofa.proofs import Proof
    from twofa.results import RecoveryCodes, Setup, Status, Verification
    from twofa.stores.protocol import Change, Store

__all__ = ["TwoFactor"]

T = TypeVar("T")


class TwoFactor:
    """Set-up, login, recovery and reset of a second factor. Safe to share between threads; holds no user's state.

    Every method that takes a code raises `InvalidCode` (or one of its kinds) or `Throttled` where the code does not
    serve, and never returns a boolean that a caller could forget to look at. All of them raise `RecordError` where the
    stored record cannot be trusted, `StoreContention` or `OutcomeUnknown` where the store did not settle, `TypeError`
    and `ValueError` for unusable arguments before anything is read, and let the store's own exceptions through.

    `user_id`: 1 to 255 characters without NUL; never reuse or rename one (an e-mail address is a poor id).
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
        self._store, self._issuer = store, issuer
        check_parts(store, on_event, awaits=False)
        ring = expected(keys, KeyRing)
        del keys
        self._core = Core(ring, issuer, Policy() if policy is None else policy, clock, namespace)
        self._on_event = on_event
        self._turns = Turns()

    def begin_setup(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        handle: str | None = None,
        proof: Proof | None = None,
        source: str | None = None,
    ) -> Setup:
        """Begin to add an authenticator app, or to replace it: the old one works until the new one is confirmed.

        With the `handle` of a live set-up: the same secret again, so that a reloaded page and a wrong code keep the QR
        code valid. Otherwise a new secret, and any earlier set-up dies; on a protected account that takes a `proof`.
        `account_name` is the label in the user's app; a set-up lives ten minutes.

        Raises `ProofRequired` on a protected account without a valid proof, `InvalidCode` and `Throttled` for a proof
        by code, `ReenrolmentRequired` for `ByCode` where there is no authenticator, `RecoveryCodesExhausted`, and
        `InvalidKeyUri` for a label that no app could show. NIST SP 800-63B-4 §4.1.2.
        """
        hidden = None if handle is None else Hidden(handle)
        known = None if proof is None else recognised(proof)
        del handle, proof
        return self._carry_out(self._core.begin_setup(user_id, account_name, issuer, hidden, known, source))

    def confirm_setup(self, user_id: str, code: str, *, handle: str, source: str | None = None) -> RecoveryCodes:
        """Activate the new authenticator, kill the old one and issue new recovery codes, in one step.

        `code` is what the new app shows, and is spent by this. Show the codes once: only hashes are kept.

        Raises `NoSetup` if no live set-up has this `handle`, `SetupExpired`, and `InvalidCode`; after ten wrong codes
        the set-up dies. NIST SP 800-63B-4 §4.1.2, RFC 6238 §5.2.
        """
        hidden, held = Hidden(code), Hidden(handle)
        del code, handle
        return self._carry_out(self._core.confirm_setup(user_id, hidden, held, source))

    def cancel_setup(self, user_id: str, *, source: str | None = None) -> None:
        """Forget a set-up that waits to be confirmed, and touch nothing else."""
        return self._carry_out(self._core.cancel_setup(user_id, source))

    def verify(self, user_id: str, code: str, *, source: str | None = None) -> Verification:
        """Check and spend a TOTP code, after the password.

        Raises `InvalidCode`, `MalformedCode`, `CodeReused`, `Throttled`, `NotEnrolled`, or `ReenrolmentRequired` while
        only a recovery code serves. RFC 6238 §4 and §5.2, NIST SP 800-63B-4 §3.1.4.2 and §3.2.2.
        """
        hidden = Hidden(code)
        del code
        return self._carry_out(self._core.verify(user_id, hidden, source))

    def redeem_recovery_code(self, user_id: str, code: str, *, source: str | None = None) -> Verification:
        """Check and spend a recovery code, after the password. Takes one slow hash, hit or miss.

        Raises `InvalidCode`, `MalformedCode`, `CodeReused`, `Throttled`, `NotEnrolled`, or `RecoveryCodesExhausted` if
        none is left or the set is blocked. NIST SP 800-63B-4 §3.1.2.2 and §4.2.1.1.
        """
        hidden = Hidden(code)
        del code
        return self._carry_out(self._core.redeem_recovery_code(user_id, hidden, source))

    def reset_recovery_codes(self, user_id: str, *, proof: Proof, source: str | None = None) -> RecoveryCodes:
        """Issue a new set of recovery codes; the old set is dead from this instant on.

        Raises what the proof can raise (see `begin_setup`), or `NotEnrolled`. NIST SP 800-63B-4 §4.2.1.1.
        """
        known = recognised(proof)
        del proof
        return self._carry_out(self._core.reset_recovery_codes(user_id, known, source))

    def reset_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof,
        source: str | None = None,
    ) -> Setup:
        """Kill the authenticator now, for a lost or stolen phone, and begin to set up a new one.

        The account stays protected: recovery codes work until the new app is confirmed, which issues a new set.

        Raises what the proof can raise (see `begin_setup`), `NotEnrolled`, or `RecoveryCodesExhausted` if no recovery
        code would be left (reset those first), since a closed tab would then lock the user out; `Vouched` overrides
        that. NIST SP 800-63B-4 §4.3 and §4.5.
        """
        known = recognised(proof)
        del proof
        return self._carry_out(self._core.reset_authenticator(user_id, account_name, issuer, known, source))

    def disable(self, user_id: str, *, proof: Proof, source: str | None = None) -> None:
        """Turn the second factor off: secret, codes and counters are erased; a new generation ends old sessions.

        Raises what the proof can raise (see `begin_setup`).
        """
        known = recognised(proof)
        del proof
        return self._carry_out(self._core.disable(user_id, known, source))

    def forget(self, user_id: str, *, proof: Proof, source: str | None = None) -> None:
        """Erase the record and the trail of an account that is deleted.

        Raises what the proof can raise (see `begin_setup`).
        """
        known = recognised(proof)
        del proof
        return self._carry_out(self._core.forget(user_id, known, source))

    def status(self, user_id: str) -> Status:
        """Return where the account stands; changes nothing."""
        return self._carry_out(self._core.status(user_id))

    def reseal(self, user_id: str) -> bool:
        """Encrypt the record under the primary key; return whether that was necessary. ASVS 5.0 11.2.2."""
        return self._carry_out(self._core.reseal(user_id))

    def _carry_out(self, run: Run[T]) -> T:
        place = Place(self._turns, run.user_id)
        try:
            if self._turns.contended(run.user_id) and place.join():
                place.wait()
            for _ in range(ROUNDS):
                turn = run.next(self._store.load(run.user_id))
                if turn.change is not None and not self._swap(run, turn.change):
                    # The "no" may be a lost reply: of that a record tells for as long as few others have written.
                    if place.join() and not self._landed(run):
                        place.wait()
                    continue
                place.leave()
                for event in turn.events:
                    self._tell(event)
                if turn.job is None:
                    return turn.result()
                run.resume(turn.job.run())
        finally:
            place.leave()
        raise StoreContention

    def _swap(self, run: Run[T], change: Change) -> bool:
        try:
            outcome = self._store.swap(run.user_id, change)
        except Exception as problem:  # whatever a driver raises when it cannot tell what became of a commit
            lost = problem
        else:
            return said(outcome)
        if self._landed(run):
            return True
        raise OutcomeUnknown from lost

    def _landed(self, run: Run[T]) -> bool:
        try:
            return run.landed(self._store.load(run.user_id))
        except Exception:  # the store is still down: what is shown is the failure that came first
            return False

    def _tell(self, event: Event) -> None:
        log_event(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # a listener is the host's code, and what it is told of has happened already
            log_listener_failure(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, issuer={self._issuer!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} carries keys and cannot be pickled: build one in each process")
