"""A browser's session on the async face: the loops of `blocking.py`, awaited."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Protocol, TypeVar

from twofa._engine.operations.upkeep import GetStatus
from twofa._hidden import Hidden
from twofa._record.tokens import Purpose
from twofa.session.base import SessionBase
from twofa.session.cookies import token_in
from twofa.session.identity import UNSAID, checked
from twofa.session.slot import KEY, Slot, find_rotation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twofa._engine.operation import Operation
    from twofa._engine.settings import Settings
    from twofa.results import RecoveryCodes, Setup, Verification
    from twofa.session.identity import HostUser
    from twofa.session.slot import HostSession, Rotation

__all__ = ["AsyncBearer", "AsyncCarryOut", "AsyncSession", "open_bearer", "open_session"]

T = TypeVar("T")


class AsyncCarryOut(Protocol):
    """What a face does with a call: load, decide, swap, and again until there is an answer."""

    async def __call__(self, operation: Operation[T], /) -> T:
        """Return the call's value, or raise its error."""
        ...


class AsyncSession(SessionBase):
    """A `Session` whose methods are coroutines. Its attributes are plain. `AsyncTwoFactor.session` makes it."""

    def __init__(
        self,
        carry_out: AsyncCarryOut,
        settings: Settings,
        slot: Slot,
        *,
        rotate: Callable[[], object] | None = None,
        host_user: HostUser = UNSAID,
        source: str | None = None,
    ) -> None:
        super().__init__(slot, settings, host_user, source)
        self._carry_out, self._rotate = carry_out, rotate

    async def password_accepted(self, user_id: str, *, cookies: Mapping[str, str] | None = None) -> None:
        """See `Session.password_accepted`."""
        browser = Hidden(token_in(cookies) or "")
        del cookies
        await self._start_over()
        status = await self._carry_out(GetStatus.prepare(self._settings, user_id, browser))
        self._enter(user_id, status, browser)

    async def verify(self, code: str | None) -> Verification:
        """See `Session.verify`."""
        hidden = Hidden(code or "")
        del code
        verification = await self._ask(self._authenticate(hidden))
        await self._change_id()
        self._verified(verification)
        await self.refresh()
        return verification

    async def begin_setup(self, account_name: str, code: str | None = None, *, issuer: str | None = None) -> Setup:
        """See `Session.begin_setup`."""
        hidden = Hidden(code or "")
        del code
        operation = self._begin_setup(account_name, issuer, hidden)
        setup = await self._ask(operation)
        self._began(setup, operation, account_name, issuer)
        await self.refresh()
        return setup

    async def setup(self) -> Setup:
        """See `Session.setup`."""
        return await self._ask(self._resume_setup())

    async def confirm_setup(self, code: str | None) -> RecoveryCodes:
        """See `Session.confirm_setup`."""
        hidden = Hidden(code or "")
        del code
        codes = await self._ask(self._confirm_setup(hidden))
        self._issued(codes)
        await self.refresh()
        return codes

    async def cancel_setup(self) -> None:
        """See `Session.cancel_setup`."""
        operation = self._cancel_setup()
        if operation is not None:
            await self._ask(operation)
            self._cancelled()
            await self.refresh()

    async def reset_recovery_codes(self, code: str | None = None) -> RecoveryCodes:
        """See `Session.reset_recovery_codes`."""
        hidden = Hidden(code or "")
        del code
        codes = await self._ask(self._reset_recovery_codes(hidden))
        self._issued(codes)
        await self.refresh()
        return codes

    async def reset_authenticator(
        self, account_name: str, code: str | None = None, *, issuer: str | None = None
    ) -> Setup:
        """See `Session.reset_authenticator`."""
        hidden = Hidden(code or "")
        del code
        setup = await self._ask(self._reset_authenticator(account_name, issuer, hidden))
        self._was_reset(setup, account_name, issuer)
        await self.refresh()
        return setup

    async def disable(self, code: str | None = None) -> None:
        """See `Session.disable`."""
        hidden = Hidden(code or "")
        del code
        generation = await self._ask(self._disable(hidden))
        self._adopt(generation)
        await self.refresh()

    async def acknowledge_recovery_codes(self) -> None:
        """See `Session.acknowledge_recovery_codes`."""
        await self._ask(self._acknowledge())
        await self.refresh()

    async def end_other_sessions(self) -> None:
        """See `Session.end_other_sessions`."""
        generation = await self._ask(self._end_sessions(self._identity.finished_sign_in()))
        self._adopt(generation)
        await self.refresh()

    async def sign_out(self, *, everywhere: bool = False) -> None:
        """See `Session.sign_out`."""
        identity = self._identity
        await self._start_over()
        if everywhere:
            await self._carry_out(self._end_sessions(identity.finished_sign_in()))

    async def refresh(self) -> None:
        """See `Session.refresh`."""
        operation = self._get_status()
        if operation is None:
            return
        try:
            status = await self._carry_out(operation)
        except Exception as problem:  # raised by whatever is asked next, save by what signs out
            self._failed(problem)
        else:
            self._saw(status)

    async def _ask(self, operation: Operation[T]) -> T:
        """Carry out a call. After a refusal the account may stand elsewhere than before, so it is read again."""
        try:
            return await self._carry_out(operation)
        except Exception as problem:
            self._refused(problem, operation)
            await self.refresh()
            raise

    async def _start_over(self) -> None:
        """Be nobody, under a new id, with nothing left of what was kept for this browser."""
        self._leave()
        await self._change_id()
        self._slot.clear()

    async def _change_id(self) -> None:
        if self._rotate is not None:
            changed = self._rotate()
            if isawaitable(changed):
                await changed


class AsyncBearer(AsyncSession):
    """A `Bearer` whose methods are coroutines. `AsyncTwoFactor.bearer` makes it."""

    @property
    def token(self) -> str | None:
        """See `Bearer.token`."""
        return self._slot.text


async def open_session(
    carry_out: AsyncCarryOut,
    settings: Settings,
    held: HostSession,
    *,
    rotate: Rotation,
    host_user: HostUser,
    source: str | None,
) -> AsyncSession:
    """See `blocking.open_session`."""
    session = AsyncSession(
        carry_out,
        settings,
        Slot(held, Purpose.SESSION, settings),
        rotate=find_rotation(held, rotate, "acycle_key", "cycle_key"),
        host_user=checked(host_user),
        source=source,
    )
    await session.refresh()
    return session


async def open_bearer(
    carry_out: AsyncCarryOut, settings: Settings, token: Hidden[str | None], *, source: str | None
) -> AsyncBearer:
    """See `blocking.open_bearer`."""
    slot = Slot({} if token.value is None else {KEY: token.value}, Purpose.BEARER, settings)
    session = AsyncBearer(carry_out, settings, slot, source=source)
    await session.refresh()
    return session
