"""Signing in and out: the password, then a code where the account has a second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, redirect, render_template, request, url_for
from web_pages import TRUST_DAYS, words

from flask_app.web import known, me, services, show_again, t
from twofa.errors import CodeReused, InvalidCode, RecoveryCodesExhausted, ReenrolmentRequired, Throttled

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    Page = str | Response | tuple[str, int] | tuple[str, int, dict[str, str]]

pages = Blueprint("sign_in", __name__)


@pages.get("/sign-in")
def sign_in() -> Page:
    """Ask for the password."""
    return render_template("sign_in.html", notice=t(words.SIGN_IN.get(request.args.get("reason", ""), "")))


@pages.post("/sign-in")
def check_password() -> Page:
    """Take the password, which is enough only where nothing else protects the account."""
    user = services.accounts.check(request.form.get("email", ""), request.form.get("password", ""))
    if user is None:
        return render_template("sign_in.html", error=t(words.WRONG_PASSWORD)), 422
    me.password_accepted(user.id, cookies=request.cookies)
    return enter()


@pages.get("/sign-in/code")
def code() -> Page:
    """Ask for a code, unless a first click on the button has signed in already."""
    if me.user_id:
        return enter()
    problem, kind = request.args.get("problem"), request.args.get("kind", "app")
    return render_template("code.html", error=problem and t(words.problem(problem, kind)))


@pages.post("/sign-in/code")
def check_code() -> Page:
    """Take a code of the app or a recovery code."""
    code = request.form.get("code", "")
    try:
        verification = me.verify(code)
    except CodeReused as problem:  # perhaps by a double click
        return redirect(url_for("sign_in.code", problem=problem.code, kind=words.kind_of(code)))
    except (InvalidCode, Throttled, ReenrolmentRequired, RecoveryCodesExhausted) as problem:
        return show_again("code.html", problem)
    for text in words.about_sign_in(t, verification):
        flash(text, "warning")
    return enter(trust_days=TRUST_DAYS if request.form.get("trust") else 0)


@pages.post("/sign-out")
def sign_out() -> Page:
    """End the session."""
    me.sign_out()
    return redirect(url_for("sign_in.sign_in"))


def enter(trust_days: int = 0) -> Response:
    """Go in."""
    return known(redirect(url_for("administration.overview")), trust_days)
