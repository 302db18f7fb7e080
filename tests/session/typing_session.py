"""The session layer as type checkers see it: run by mypy and pyright with `make lint`, never executed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, assert_type

from twofa import AsyncTwoFactor, RecoveryCodes, Setup, Status, TwoFactor, Verification
from twofa.session import (
    BROWSER_COOKIE,
    AsyncBearer,
    AsyncSession,
    Bearer,
    BrowserCookie,
    HostSession,
    Session,
    refuse_cross_site,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flask import Response
    from flask.sessions import SessionMixin
    from starlette.requests import Request

    from twofa.errors import CodeRequired, SignInRequired

Reason = Literal["signed_out", "expired", "ended", "code_owed"]


class DjangoSession:
    """What Django's session is: no mapping, but it has these three, and `cycle_key`."""

    def get(self, key: str, default: Any = None) -> Any:
        return (key, default)

    def __setitem__(self, key: str, value: Any) -> None: ...

    def clear(self) -> None: ...

    def cycle_key(self) -> None: ...


def hosts(two_factor: TwoFactor, flask_session: SessionMixin, request: Request) -> None:
    """Every framework's session is one, and so is a dict."""
    held: list[HostSession] = [{}, flask_session, request.session, DjangoSession()]
    for each in held:
        assert_type(two_factor.session(each, rotate=None), Session)
    assert_type(two_factor.session(DjangoSession(), host_user="42", source="192.0.2.7"), Session)
    assert_type(two_factor.session({}, rotate=lambda: None, host_user=None), Session)
    assert_type(two_factor.bearer(request.headers.get("authorization")), Bearer)
    assert_type(two_factor.bearer(None).token, str | None)
    assert_type(two_factor.login_ticket("user-42"), str)
    assert_type(two_factor.verify_ticket("ticket", "123456", browser=None, source=None), Verification)


def attributes(me: Session, awaiting: AsyncSession) -> None:
    """They are plain on both faces: an un-awaited coroutine would be true, and let everyone in."""
    for each in (me, awaiting):
        assert_type(each.user_id, str | None)
        assert_type(each.awaiting, str | None)
        assert_type(each.status, Status)
        assert_type(each.needs_code, bool)
        assert_type(each.has_setup, bool)
        assert_type(each.signed_in_at, datetime | None)
        assert_type(each.trusted_until, datetime | None)
        assert_type(each.require(), str)
        assert_type(each.browser_cookie(trust_days=30), BrowserCookie)
        assert_type(each.forget_browser(), BrowserCookie)


def methods(me: Session, cookies: dict[str, str]) -> None:
    """What each method takes and returns."""
    me.password_accepted("user-42", cookies=cookies)
    assert_type(me.verify(None), Verification)
    assert_type(me.begin_setup("alice@example.com", None, issuer="Example"), Setup)
    assert_type(me.setup(), Setup)
    assert_type(me.confirm_setup("123456"), RecoveryCodes)
    me.cancel_setup()
    assert_type(me.reset_recovery_codes(), RecoveryCodes)
    assert_type(me.reset_authenticator("alice@example.com", "123456"), Setup)
    me.disable("123456")
    me.acknowledge_recovery_codes()
    me.end_other_sessions()
    me.sign_out(everywhere=True)
    me.refresh()


async def coroutines(two_factor: AsyncTwoFactor, request: Request) -> None:
    """The same on the other face, awaited."""
    me = await two_factor.session(request.session, rotate=None)
    assert_type(me, AsyncSession)
    assert_type(await two_factor.bearer("token"), AsyncBearer)
    await me.password_accepted("user-42", cookies=request.cookies)
    pending: Awaitable[Verification] = me.verify("123456")
    assert_type(await pending, Verification)
    assert_type(await me.confirm_setup("123456"), RecoveryCodes)
    assert_type(await me.setup(), Setup)
    assert_type(await two_factor.login_ticket("user-42"), str)
    refuse_cross_site(request.method, request.headers, trusted_origins=["https://www.example.com"])


def cookies_and_errors(me: Session, response: Response, problem: SignInRequired, owing: CodeRequired) -> None:
    """A framework takes the cookie as it is, and the handler of an error finds what it needs."""
    response.set_cookie(**me.browser_cookie())
    response.delete_cookie(BROWSER_COOKIE)
    reason: Reason = problem.reason
    assert_type(owing.recovery_only, bool)
    assert_type(reason, Reason)


def mistakes(two_factor: TwoFactor, me: Session) -> None:
    """What a type checker refuses before anyone runs it."""
    two_factor.session("a string", rotate=None)  # type: ignore[arg-type]  # a session is something to keep things in
    two_factor.session({}, rotate=None, host_user=42)  # type: ignore[arg-type]  # ids are text
    me.password_accepted(42)  # type: ignore[arg-type]  # here too
    me.browser_cookie(30)  # type: ignore[call-arg]  # days are named
    me.sign_out(True)  # type: ignore[call-arg]  # so is everywhere
    if me.password_accepted("user-42"):  # type: ignore[func-returns-value]  # it returns nothing to forget to look at
        me.disable()
