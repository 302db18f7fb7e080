"""`AsyncTwoFactor`: the face of `TwoFactor` for an event loop, which neither a slow hash nor the store ever blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from twofa._engine import arguments, hashing, parts
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
from twofa._engine.queue import CONFLICT_PATIENCE, SLOW_WORK_PATIENCE, AsyncPosition, Queue
from twofa._engine.settings import Settings, system_clock
from twofa._hidden import Hidden, expected
from twofa.errors import OutcomeUnknown, StoreContention
from twofa.keys import KeyRing
from twofa.proofs import recognised
from twofa.session import tickets
from twofa.session.asynchronous import open_bearer, open_session
from twofa.session.identity import UNSAID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from twofa._engine.attempt import Attempt, Step
    from twofa._engine.hashing import Done, Job
    from twofa._engine.operation import Operation
    from twofa.events import Event
    from twofa.otp import Algorithm
    from twofa.policy import Policy
    from twofa.proofs import Proof
    from twofa.results import ExportedAuthenticator, RecoveryCodes, Setup, Status, Verification
    from twofa.session.asynchronous import AsyncBearer, AsyncSession
    from twofa.session.identity import HostUser
    from twofa.session.slot import HostSession, Rotation
    from twofa.stores.protocol import AsyncStore, Change, Stored

__all__ = ["AsyncTwoFactor"]

T = TypeVar("T")


class AsyncTwoFactor:
    """The methods of `TwoFactor` as coroutines, over an `AsyncStore`, with the same arguments, values and errors.

    Safe to share between tasks. A call that is cancelled leaves the record as before it, as after it, or as before it
    with one attempt counted.
    """

    def __init__(
        self,
        store: AsyncStore,
        *,
        keys: KeyRing,
        issuer: str,
        policy: Policy | None = None,
        clock: Callable[[], float] = system_clock,
        on_event: Callable[[Event], object] | None = None,
        namespace: str = "",
        run_blocking: Callable[[Callable[[], Done]], Awaitable[Done]] | None = None,
    ) -> None:
        """Put the library together, as `TwoFactor` does.

        `on_event` may be a coroutine function. `run_blocking` runs the slow hashes in a thread: pass
        `trio.to_thread.run_sync` under trio. Under asyncio leave it out: the library's own threads do not keep those of
        `asyncio.to_thread` from a store.
        """
        self._store, self._issuer, self._on_event = store, issuer, on_event
        parts.check_parts(store, on_event, awaits=True)
        ring = expected(keys, KeyRing)
        del keys
        self._settings = Settings(ring, issuer, policy, clock, namespace)
        self._conflicts, self._slow_work = Queue(CONFLICT_PATIENCE), Queue(SLOW_WORK_PATIENCE)
        self._run_blocking = run_blocking

    # --- adding and replacing an authenticator -----------------------------------------------------------------------

    async def begin_setup(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof | None = None,
        browser: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """See `TwoFactor.begin_setup`."""
        known = None if proof is None else recognised(proof)
        token = None if browser is None else Hidden(browser)
        del proof, browser
        operation = BeginSetup.prepare(self._settings, user_id, account_name, issuer, known, token, source)
        return await self._carry_out(operation)

    async def resume_setup(
        self,
        user_id: str,
        *,
        handle: str | None,
        account_name: str,
        issuer: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """See `TwoFactor.resume_setup`."""
        held = Hidden(handle)
        del handle
        return await self._carry_out(ResumeSetup.prepare(self._settings, user_id, held, account_name, issuer, source))

    async def confirm_setup(
        self, user_id: str, code: str | None, *, handle: str | None, source: str | None = None
    ) -> RecoveryCodes:
        """See `TwoFactor.confirm_setup`."""
        hidden, held = Hidden(code), Hidden(handle)
        del code, handle
        return await self._carry_out(ConfirmSetup.prepare(self._settings, user_id, hidden, held, source))

    async def cancel_setup(self, user_id: str, *, handle: str | None = None, source: str | None = None) -> None:
        """See `TwoFactor.cancel_setup`."""
        held = None if handle is None else Hidden(handle)
        del handle
        return await self._carry_out(CancelSetup.prepare(self._settings, user_id, held, source))

    # --- the second step of a login ----------------------------------------------------------------------------------

    async def verify(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """See `TwoFactor.verify`."""
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return await self._carry_out(Verify.prepare(self._settings, user_id, hidden, token, source))

    async def redeem_recovery_code(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """See `TwoFactor.redeem_recovery_code`."""
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return await self._carry_out(RedeemRecoveryCode.prepare(self._settings, user_id, hidden, token, source))

    async def authenticate(
        self, user_id: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """See `TwoFactor.authenticate`."""
        hidden, token = Hidden(code), None if browser is None else Hidden(browser)
        del code, browser
        return await self._carry_out(Authenticate.prepare(self._settings, user_id, hidden, token, source))

    def browser_token(self, user_id: str, *, generation: str) -> str:
        """See `TwoFactor.browser_token`."""
        return self._settings.browser_token(user_id, generation)

    # --- changes -----------------------------------------------------------------------------------------------------

    async def reset_recovery_codes(
        self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None
    ) -> RecoveryCodes:
        """See `TwoFactor.reset_recovery_codes`."""
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return await self._carry_out(ResetRecoveryCodes.prepare(self._settings, user_id, known, token, source))

    async def reset_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof,
        browser: str | None = None,
        source: str | None = None,
    ) -> Setup:
        """See `TwoFactor.reset_authenticator`."""
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        operation = ResetAuthenticator.prepare(self._settings, user_id, account_name, issuer, known, token, source)
        return await self._carry_out(operation)

    async def disable(
        self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None
    ) -> str | None:
        """See `TwoFactor.disable`."""
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return await self._carry_out(Disable.prepare(self._settings, user_id, known, token, source))

    async def forget(
        self, user_id: str, *, proof: Proof, browser: str | None = None, source: str | None = None
    ) -> None:
        """See `TwoFactor.forget`."""
        known, token = recognised(proof), None if browser is None else Hidden(browser)
        del proof, browser
        return await self._carry_out(Forget.prepare(self._settings, user_id, known, token, source))

    # --- what the host says ------------------------------------------------------------------------------------------

    async def acknowledge_recovery_codes(
        self, user_id: str, *, generation: str | None = None, source: str | None = None
    ) -> None:
        """See `TwoFactor.acknowledge_recovery_codes`."""
        return await self._carry_out(AcknowledgeRecoveryCodes.prepare(self._settings, user_id, generation, source))

    async def password_changed(self, user_id: str, *, source: str | None = None) -> str:
        """See `TwoFactor.password_changed`."""
        return await self._carry_out(PasswordChanged.prepare(self._settings, user_id, source))

    async def end_sessions(self, user_id: str, *, source: str | None = None) -> str:
        """See `TwoFactor.end_sessions`."""
        return await self._carry_out(EndSessions.prepare(self._settings, user_id, source))

    # --- what changes nothing ----------------------------------------------------------------------------------------

    async def status(self, user_id: str, *, browser: str | None = None) -> Status:
        """See `TwoFactor.status`."""
        token = None if browser is None else Hidden(browser)
        del browser
        return await self._carry_out(GetStatus.prepare(self._settings, user_id, token))

    async def events(self, user_id: str, *, limit: int = 100) -> tuple[Event, ...]:
        """See `TwoFactor.events`."""
        arguments.check_user_id(user_id)
        return parts.newest_first(await parts.trail_of(self._store).events(user_id), limit)

    async def reseal(self, user_id: str) -> bool:
        """See `TwoFactor.reseal`."""
        return await self._carry_out(Reseal.prepare(self._settings, user_id))

    # --- from another library, and to one ----------------------------------------------------------------------------

    async def import_authenticator(
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
        """See `TwoFactor.import_authenticator`."""
        hidden, codes = Hidden(secret), arguments.hidden_codes(recovery_codes)
        del secret, recovery_codes
        operation = ImportAuthenticator.prepare(
            self._settings, user_id, hidden, codes, algorithm=algorithm, digits=digits, period=period,
            confirmed_at=confirmed_at, last_step=last_step, by=by, reason=reason, source=source,
        )  # fmt: skip
        return await self._carry_out(operation)

    async def export_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        by: str,
        reason: str,
        source: str | None = None,
    ) -> ExportedAuthenticator:
        """See `TwoFactor.export_authenticator`."""
        return await self._carry_out(
            ExportAuthenticator.prepare(self._settings, user_id, account_name, issuer, by, reason, source)
        )

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def session(
        self,
        held: HostSession,
        *,
        rotate: Rotation = UNSAID,
        host_user: HostUser = UNSAID,
        source: str | None = None,
    ) -> AsyncSession:
        """See `TwoFactor.session`."""
        return await open_session(
            self._carry_out, self._settings, held, rotate=rotate, host_user=host_user, source=source
        )

    async def bearer(self, token: str | None, *, source: str | None = None) -> AsyncBearer:
        """See `TwoFactor.bearer`."""
        hidden = Hidden(token)
        del token
        return await open_bearer(self._carry_out, self._settings, hidden, source=source)

    async def login_ticket(self, user_id: str) -> str:
        """See `TwoFactor.login_ticket`."""
        return tickets.issue(self._settings, user_id, await self.status(user_id))

    async def verify_ticket(
        self, ticket: str, code: str | None, *, browser: str | None = None, source: str | None = None
    ) -> Verification:
        """See `TwoFactor.verify_ticket`."""
        held, hidden = Hidden(ticket), Hidden(code)
        token = None if browser is None else Hidden(browser)
        del ticket, code, browser
        return await self._carry_out(tickets.authenticate(self._settings, held, hidden, token, source))

    # --- the loop: blocking.py has the same one, line by line --------------------------------------------------------

    async def _carry_out(self, operation: Operation[T]) -> T:
        attempt = self._settings.attempt(operation)
        conflicts = AsyncPosition(self._conflicts, attempt.user_id)
        slow_work = AsyncPosition(self._slow_work, attempt.user_id)
        try:
            try:
                step = await self._last_step(attempt, conflicts, slow_work)
            finally:
                # Before the listener is told: it may call for the same user.
                conflicts.leave()
                slow_work.leave()
        except Exception as problem:
            await self._tell([*worth_telling(attempt.events), operation.failed(problem)])
            raise
        except BaseException:
            log_interruption(operation)
            raise
        await self._tell(worth_telling(attempt.events))
        return step.result()

    async def _last_step(self, attempt: Attempt[T], conflicts: AsyncPosition, slow_work: AsyncPosition) -> Step[T]:
        lost: Exception | None = None
        lost_replies = 0
        overtaken = self._conflicts.is_busy(attempt.user_id)
        for _ in range(ROUNDS):
            step = attempt.next(await self._load(attempt.user_id, lost))
            if lost is not None and not step.confirms:
                raise OutcomeUnknown from lost
            if overtaken and not step.confirms and not conflicts.joined and conflicts.join():
                await conflicts.wait()
                continue  # the record has changed meanwhile
            if step.decision.job is not None and not slow_work.joined:
                # Out of the one queue before waiting in the other: two calls must not wait for each other.
                conflicts.leave()
                if slow_work.join():
                    if not await slow_work.wait():
                        raise StoreContention
                    continue
            if step.change is not None:
                outcome = await self._swap(attempt.user_id, step.change)
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
            attempt.resume(await self._run(step.decision.job))
        raise StoreContention

    async def _load(self, user_id: str, lost: Exception | None) -> Stored | None:
        try:
            return await self._store.load(user_id)
        except Exception as problem:
            if lost is None:
                raise
            raise OutcomeUnknown from problem  # what became of the swap before cannot be told now

    async def _swap(self, user_id: str, change: Change) -> object:
        try:
            return await self._store.swap(user_id, change)
        except Exception as problem:  # whatever a driver raises when it cannot tell what became of a commit
            return problem

    async def _run(self, job: Job) -> Done:
        if self._run_blocking is not None:
            return await self._run_blocking(job.run)
        import asyncio  # a blocking host does without

        return await asyncio.wrap_future(hashing.in_background(job))

    async def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            log_event(event)
            if self._on_event is None:
                continue
            try:
                told = self._on_event(event)
                if hasattr(told, "__await__"):
                    await cast("Awaitable[object]", told)
            except Exception:  # a listener is the host's code, and what it is told of has happened already
                log_listener_failure(event)
            except BaseException:
                if parts.is_being_cancelled():
                    raise
                log_listener_failure(event)  # the listener was cancelled, and not this call

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, issuer={self._issuer!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} carries keys and cannot be pickled: build one in each process")
