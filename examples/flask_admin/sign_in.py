"""Sign in: the password, then the second step where the account has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request, session, url_for

from flask_admin import words
from flask_admin.sessions import start
from flask_admin.web import SignedOut, services, source
from twofa import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Response

    from flask_admin.accounts import User
    from twofa import Verification

    Page = str | Response | tuple[str, int] | tuple[str, int, dict[str, str]]

pages = Blueprint("sign_in", __name__)

PATIENCE = 600
"""Seconds between the password and the second step."""


@pages.get("/sign-in")
def password() -> str:
    """Ask for the password."""
    return render_template("sign_in.html", notice=session.pop("notice", ""))


@pages.post("/sign-in")
def check_password() -> Page:
    """Go on to the second step: the password alone opens only an account without a second factor."""
    user = services.accounts.check(request.form.get("email", ""), request.form.get("password", ""))
    if user is None:
        return render_template("sign_in.html", error=words.WRONG_PASSWORD), 422
    status = services.two_factor.status(user.id)
    if status.required:
        start(half={"user_id": user.id, "at": services.now()})
        return redirect(url_for("sign_in.recovery_code" if status.state == "reenrol" else "sign_in.code"))
    start(user_id=user.id, generation=status.generation)
    return redirect(url_for("administration.overview"))


@pages.get("/sign-in/code")
def code() -> str:
    """Ask for the app's code."""
    return show(half_signed_in(), recovery=False)


@pages.post("/sign-in/code")
def check_code() -> Page:
    """Take the app's code."""
    return second_step(services.two_factor.verify, recovery=False)


@pages.get("/sign-in/recovery-code")
def recovery_code() -> str:
    """Ask for a recovery code instead."""
    return show(half_signed_in(), recovery=True)


@pages.post("/sign-in/recovery-code")
def check_recovery_code() -> Page:
    """Take a recovery code, as good as the app and no weaker a way in (ASVS 5.0 6.3.4)."""
    return second_step(services.two_factor.redeem_recovery_code, recovery=True)


@pages.post("/sign-out")
def sign_out() -> Response:
    """End the session, here and on the server."""
    session.clear()
    return redirect(url_for("sign_in.password"))


def half_signed_in() -> User:
    """Return whose password was right a moment ago: nobody else can spend that user's attempts (ASVS 5.0 6.3.1)."""
    half = session.get("half")
    if half is None:
        raise SignedOut
    user = services.accounts.get(half["user_id"])
    if user is None or half["at"] + PATIENCE <= services.now():
        raise SignedOut(words.PASSWORD_AGAIN)
    return user


def second_step(check: Callable[..., Verification], *, recovery: bool) -> Page:
    """Pass on what was typed into the field."""
    user = half_signed_in()
    try:
        verification = check(user.id, request.form.get("code", ""), source=source())
    except errors.Throttled as wait:  # shown by the page, which asks the status
        seconds = int(wait.retry_at.timestamp()) - services.now()
        return show(user, recovery=recovery, problem=wait), 429, {"Retry-After": str(seconds)}
    except (errors.InvalidCode, errors.ReenrolmentRequired, errors.RecoveryCodesExhausted) as problem:
        return show(user, recovery=recovery, problem=problem), 422
    except errors.NotEnrolled:  # turned off in another browser meanwhile
        raise SignedOut(words.SIGNED_OUT_IDLE) from None
    return enter(user, verification)


def show(user: User, *, recovery: bool, problem: errors.TwoFactorError | None = None) -> str:
    """Render the second step, with the wait if there is one."""
    status = services.two_factor.status(user.id)
    return render_template(
        "second_step.html",
        recovery=recovery,
        status=status,
        error=problem and words.problem(problem, recovery=recovery),
        retry_at=status.recovery_retry_at if recovery else status.retry_at,
    )


def enter(user: User, verification: Verification) -> Response:
    """Open the account, under a new session id (ASVS 5.0 7.2.4)."""
    start(user_id=user.id, generation=verification.generation, verified=verification.token)
    if verification.failed_before:  # ASVS 5.0 6.3.5
        flash(f"Wrong codes since you last signed in: {verification.failed_before}. Was that you?", "warning")
    if verification.method == "recovery_code":
        left = words.codes_left(verification.recovery_codes_remaining)
        flash(f"You signed in with a recovery code, which is now used up. {left}. {words.LOST_PHONE}", "info")
    return redirect(url_for("administration.overview"))
