"""A browser's session on the blocking face: the loops around the calls on the account."""

from __future__ import annotations

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

__all__ = ["Bearer", "CarryOut", "Session", "open_bearer", "open_session"]

T = TypeVar("T")


class CarryOut(Protocol):
    """What a face does with a call: load, decide, swap, and again until there is an answer."""

    def __call__(self, operation: Operation[T], /) -> T:
        """Return the call's value, or raise its error."""
        ...


class Session(SessionBase):
    """One browser's sign-in and its second factor, for the length of one request. `TwoFactor.session` makes it.

    Every method raises `SignInRequired` if nobody is signed in and `CodeRequired` if a code is still owed, save those
    that lead out of that: `password_accepted`, `verify` and `sign_out`. Each also raises what the method of `TwoFactor`
    of the same name does. A refusal changes nothing.

    A change to a protected account takes a proof. If `code` is given, a code of the app or a recovery code, that is the
    only proof that is tried. Without one, or with an empty one, the session's last verification serves: once, and for
    ten minutes. `needs_code` tells whether there is one.
    """

    def __init__(
        self,
        carry_out: CarryOut,
        settings: Settings,
        slot: Slot,
        *,
        rotate: Callable[[], object] | None = None,
        host_user: HostUser = UNSAID,
        source: str | None = None,
    ) -> None:
        super().__init__(slot, settings, host_user, source)
        self._carry_out, self._rotate = carry_out, rotate

    def password_accepted(self, user_id: str, *, cookies: Mapping[str, str] | None = None) -> None:
        """Sign a user in whose password was right, if that is enough. `cookies` are the request's.

        First the session is emptied and gets a new id, whoever was signed in before. The password is enough where no
        second factor protects the account, and in a browser that the user trusts.

        Raises `CodeRequired` otherwise: then `verify` has ten minutes. Whatever is raised, nobody is signed in.
        """
        browser = Hidden(token_in(cookies) or "")
        del cookies
        self._start_over()
        status = self._carry_out(GetStatus.prepare(self._settings, user_id, browser))
        self._enter(user_id, status, browser)

    def verify(self, code: str | None) -> Verification:
        """Take a code of the app, or a recovery code.

        Who owed one is signed in by it. Who was signed in may change things for ten minutes, without another code. The
        session gets a new id (ASVS 5.0 7.2.4).
        """
        hidden = Hidden(code or "")
        del code
        verification = self._ask(self._authenticate(hidden))
        self._change_id()
        self._verified(verification)
        self.refresh()
        return verification

    def begin_setup(self, account_name: str, code: str | None = None, *, issuer: str | None = None) -> Setup:
        """Begin to add an authenticator app, or to replace it: the present one works until the new one is confirmed.

        `account_name` is the label in the user's app, and `issuer` the application's name there.
        """
        hidden = Hidden(code or "")
        del code
        operation = self._begin_setup(account_name, issuer, hidden)
        setup = self._ask(operation)
        self._began(setup, operation, account_name, issuer)
        self.refresh()
        return setup

    def setup(self) -> Setup:
        """Return the set-up that this session began, to show its QR code again. Changes nothing.

        Raises `NoSetup` if there is none, or if it was cancelled or replaced, and `SetupExpired`.
        """
        return self._ask(self._resume_setup())

    def confirm_setup(self, code: str | None) -> RecoveryCodes:
        """Activate the new app by its first code, and return new recovery codes. Other sessions end.

        Show the codes once: only hashes are kept. The session has a fresh verification afterwards, so that new codes
        can be made at once if the page with these is lost.
        """
        hidden = Hidden(code or "")
        del code
        codes = self._ask(self._confirm_setup(hidden))
        self._issued(codes)
        self.refresh()
        return codes

    def cancel_setup(self) -> None:
        """Forget the set-up that this session began, if it still waits, and touch nothing else."""
        operation = self._cancel_setup()
        if operation is not None:
            self._ask(operation)
            self._cancelled()
            self.refresh()

    def reset_recovery_codes(self, code: str | None = None) -> RecoveryCodes:
        """Make new recovery codes; the old ones are dead from this instant on. Other sessions end."""
        hidden = Hidden(code or "")
        del code
        codes = self._ask(self._reset_recovery_codes(hidden))
        self._issued(codes)
        self.refresh()
        return codes

    def reset_authenticator(self, account_name: str, code: str | None = None, *, issuer: str | None = None) -> Setup:
        """Kill the app now, for a lost or stolen phone, and begin to set up a new one. Other sessions end."""
        hidden = Hidden(code or "")
        del code
        setup = self._ask(self._reset_authenticator(account_name, issuer, hidden))
        self._was_reset(setup, account_name, issuer)
        self.refresh()
        return setup

    def disable(self, code: str | None = None) -> None:
        """Turn the second factor off. Other sessions end."""
        hidden = Hidden(code or "")
        del code
        generation = self._ask(self._disable(hidden))
        self._adopt(generation)
        self.refresh()

    def acknowledge_recovery_codes(self) -> None:
        """Take the user's word that the recovery codes are saved."""
        self._ask(self._acknowledge())
        self.refresh()

    def end_other_sessions(self) -> None:
        """Sign the user out everywhere else, and make every browser neither known nor trusted."""
        generation = self._ask(self._end_sessions(self._identity.finished_sign_in()))
        self._adopt(generation)
        self.refresh()

    def sign_out(self, *, everywhere: bool = False) -> None:
        """Empty the session and give it a new id. Works while the store is down.

        `everywhere` also ends the user's other sessions, and copies of this one's cookie. If that fails, it is raised,
        and this browser is signed out all the same.
        """
        identity = self._identity
        self._start_over()
        if everywhere:
            self._carry_out(self._end_sessions(identity.finished_sign_in()))

    def refresh(self) -> None:
        """Read again where the account stands. Every other method does so by itself."""
        operation = self._get_status()
        if operation is None:
            return
        try:
            status = self._carry_out(operation)
        except Exception as problem:  # raised by whatever is asked next, save by what signs out
            self._failed(problem)
        else:
            self._saw(status)

    def _ask(self, operation: Operation[T]) -> T:
        """Carry out a call. After a refusal the account may stand elsewhere than before, so it is read again."""
        try:
            return self._carry_out(operation)
        except Exception as problem:
            self._refused(problem, operation)
            self.refresh()
            raise

    def _start_over(self) -> None:
        """Be nobody, under a new id, with nothing left of what was kept for this browser."""
        self._leave()
        self._change_id()
        self._slot.clear()

    def _change_id(self) -> None:
        if self._rotate is not None:
            self._rotate()


class Bearer(Session):
    """The session of an API's client, which carries the state itself. `TwoFactor.bearer` makes it.

    Give the client `token` after every call that may have changed it, and take it from each request's `Authorization`
    header.
    """

    @property
    def token(self) -> str | None:
        """What the client carries from now on, as secret as a password; `None` for nobody."""
        return self._slot.text


def open_session(
    carry_out: CarryOut,
    settings: Settings,
    held: HostSession,
    *,
    rotate: Rotation,
    host_user: HostUser,
    source: str | None,
) -> Session:
    """Return the session that a host keeps for a browser, as `TwoFactor.session` does."""
    session = Session(
        carry_out,
        settings,
        Slot(held, Purpose.SESSION, settings),
        rotate=find_rotation(held, rotate, "cycle_key"),
        host_user=checked(host_user),
        source=source,
    )
    session.refresh()
    return session


def open_bearer(carry_out: CarryOut, settings: Settings, token: Hidden[str | None], *, source: str | None) -> Bearer:
    """Return the session that an API's client carries, as `TwoFactor.bearer` does."""
    slot = Slot({} if token.value is None else {KEY: token.value}, Purpose.BEARER, settings)
    session = Bearer(carry_out, settings, slot, source=source)
    session.refresh()
    return session
