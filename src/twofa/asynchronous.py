"""`AsyncTwoFactor`: the face of `TwoFactor` for an event loop, which neither a slow hash nor the store ever blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from twofa._engine.attempt import ROUNDS, said
from twofa._engine.core import Core, check_parts, system_clock
from twofa._engine.queue import AsyncPlace, Turns
from twofa._hidden import Hidden, expected
from twofa.errors import OutcomeUnknown, StoreContention
from twofa.events import log_event, log_listener_failure
from twofa.keys import KeyRing
from twofa.policy import Policy
from twofa.proofs import recognised

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twofa._engine.attempt import Run
    from twofa._engine.jobs import Done
    from twofa.events import Event
    from twofa.proofs import Proof
    from twofa.results import RecoveryCodes, Setup, Status, Verification
    from twofa.stores.protocol import AsyncStore, Change

__all__ = ["AsyncTwoFactor"]

T = TypeVar("T")


async def in_a_thread(function: Callable[[], T]) -> T:
    """Run `function` in a thread of the library's own: the default `run_blocking`.

    Not in asyncio's: there a crowd that waits for its hashes would keep a store from its threads.
    """
    import asyncio  # most hosts are synchronous, and this would double the time that `import twofa` takes

    from twofa._engine import hashing

    return await asyncio.wrap_future(hashing.in_background(function))


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
        run_blocking: Callable[[Callable[[], Done]], Awaitable[Done]] = in_a_thread,
    ) -> None:
        """Put the library together, as `TwoFactor` does.

        `on_event` may be a coroutine function. `run_blocking` runs the slow hashes in a thread: pass
        `trio.to_thread.run_sync` under trio.
        """
        self._store, self._issuer = store, issuer
        check_parts(store, on_event, awaits=True)
        ring = expected(keys, KeyRing)
        del keys
        self._core = Core(ring, issuer, Policy() if policy is None else policy, clock, namespace)
        self._on_event = on_event
        self._turns = Turns()
        self._run_blocking = run_blocking

    async def begin_setup(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        handle: str | None = None,
        proof: Proof | None = None,
        source: str | None = None,
    ) -> Setup:
        """See `TwoFactor.begin_setup`."""
        hidden = None if handle is None else Hidden(handle)
        known = None if proof is None else recognised(proof)
        del handle, proof
        return await self._carry_out(self._core.begin_setup(user_id, account_name, issuer, hidden, known, source))

    async def confirm_setup(self, user_id: str, code: str, *, handle: str, source: str | None = None) -> RecoveryCodes:
        """See `TwoFactor.confirm_setup`."""
        hidden, held = Hidden(code), Hidden(handle)
        del code, handle
        return await self._carry_out(self._core.confirm_setup(user_id, hidden, held, source))

    async def cancel_setup(self, user_id: str, *, source: str | None = None) -> None:
        """See `TwoFactor.cancel_setup`."""
        return await self._carry_out(self._core.cancel_setup(user_id, source))

    async def verify(self, user_id: str, code: str, *, source: str | None = None) -> Verification:
        """See `TwoFactor.verify`."""
        hidden = Hidden(code)
        del code
        return await self._carry_out(self._core.verify(user_id, hidden, source))

    async def redeem_recovery_code(self, user_id: str, code: str, *, source: str | None = None) -> Verification:
        """See `TwoFactor.redeem_recovery_code`."""
        hidden = Hidden(code)
        del code
        return await self._carry_out(self._core.redeem_recovery_code(user_id, hidden, source))

    async def reset_recovery_codes(self, user_id: str, *, proof: Proof, source: str | None = None) -> RecoveryCodes:
        """See `TwoFactor.reset_recovery_codes`."""
        known = recognised(proof)
        del proof
        return await self._carry_out(self._core.reset_recovery_codes(user_id, known, source))

    async def reset_authenticator(
        self,
        user_id: str,
        *,
        account_name: str,
        issuer: str | None = None,
        proof: Proof,
        source: str | None = None,
    ) -> Setup:
        """See `TwoFactor.reset_authenticator`."""
        known = recognised(proof)
        del proof
        return await self._carry_out(self._core.reset_authenticator(user_id, account_name, issuer, known, source))

    async def disable(self, user_id: str, *, proof: Proof, source: str | None = None) -> None:
        """See `TwoFactor.disable`."""
        known = recognised(proof)
        del proof
        return await self._carry_out(self._core.disable(user_id, known, source))

    async def forget(self, user_id: str, *, proof: Proof, source: str | None = None) -> None:
        """See `TwoFactor.forget`."""
        known = recognised(proof)
        del proof
        return await self._carry_out(self._core.forget(user_id, known, source))

    async def status(self, user_id: str) -> Status:
        """See `TwoFactor.status`."""
        return await self._carry_out(self._core.status(user_id))

    async def reseal(self, user_id: str) -> bool:
        """See `TwoFactor.reseal`."""
        return await self._carry_out(self._core.reseal(user_id))

    async def _carry_out(self, run: Run[T]) -> T:
        place = AsyncPlace(self._turns, run.user_id)
        try:
            if self._turns.contended(run.user_id) and place.join():
                await place.wait()
            for _ in range(ROUNDS):
                turn = run.next(await self._store.load(run.user_id))
                if turn.change is not None and not await self._swap(run, turn.change):
                    if place.join() and not await self._landed(run):
                        await place.wait()
                    continue
                place.leave()
                for event in turn.events:
                    await self._tell(event)
                if turn.job is None:
                    return turn.result()
                run.resume(await self._run_blocking(turn.job.run))
        finally:
            place.leave()
        raise StoreContention

    async def _swap(self, run: Run[T], change: Change) -> bool:
        try:
            outcome = await self._store.swap(run.user_id, change)
        except Exception as problem:  # whatever a driver raises when it cannot tell what became of a commit
            lost = problem
        else:
            return said(outcome)
        if await self._landed(run):
            return True
        raise OutcomeUnknown from lost

    async def _landed(self, run: Run[T]) -> bool:
        try:
            return run.landed(await self._store.load(run.user_id))
        except Exception:  # the store is still down: what is shown is the failure that came first
            return False

    async def _tell(self, event: Event) -> None:
        log_event(event)
        if self._on_event is None:
            return
        try:
            told = self._on_event(event)
            if hasattr(told, "__await__"):
                await cast("Awaitable[object]", told)
        except Exception:  # a listener is the host's code, and what it is told of has happened already
            log_listener_failure(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r}, issuer={self._issuer!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} carries keys and cannot be pickled: build one in each process")
