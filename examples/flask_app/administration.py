"""Administration → Two-factor authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, flash, g, make_response, redirect, render_template, request, url_for
from web_pages import about_codes, password_is_old, password_may_be_known, summarise, words

from flask_app.web import known, me, services, show_again, t, user
from twofa.errors import (
    InvalidCode,
    ProofRequired,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SignInRequired,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Response

    from twofa import RecoveryCodes

    Page = str | Response | tuple[str, int] | tuple[str, int, dict[str, str]]

pages = Blueprint("administration", __name__, url_prefix="/administration")

REFUSALS = (InvalidCode, ProofRequired, RecoveryCodesExhausted, ReenrolmentRequired, Throttled)
"""What a form shows beside its field; all else leads to another page."""


@pages.before_request
def require_sign_in() -> None:
    """Let nobody in who is not signed in, or whose account is gone."""
    g.user = services.accounts.get(me.require())
    if g.user is None:
        raise SignInRequired


@pages.get("/account")
def account() -> Page:
    """Show who is signed in."""
    return render_template("account.html")


@pages.get("/two-factor")
def overview() -> Page:
    """Show where the account stands, and what happened to it."""
    events = services.two_factor.events(me.require(), limit=300)
    return render_template("overview.html", activity=summarise(events), suspected=password_may_be_known(events))


@pages.post("/two-factor/add")
def add() -> Page:
    """Begin to add an app to an account that has none; a password of long ago is asked for again (ASVS 5.0 7.5.1)."""
    if me.status.required:  # an app was added in another tab meanwhile
        return redirect(url_for("administration.overview"))
    if password_is_old(me.signed_in_at, services.now()):
        return redirect(url_for("administration.password"))
    me.begin_setup(user.email)
    return redirect(url_for("administration.set_up"))


@pages.get("/two-factor/password")
def password() -> Page:
    """Ask for the password again."""
    return render_template("password.html")


@pages.post("/two-factor/password")
def check_password() -> Page:
    """Take it, and go on."""
    if services.accounts.check(user.email, request.form.get("password", "")) is None:
        return render_template("password.html", error=t(words.WRONG_PASSWORD)), 422
    me.password_accepted(me.require(), cookies=request.cookies)
    return add()


@pages.get("/two-factor/set-up")
def set_up() -> Page:
    """Show the QR code: the same one again after a reload."""
    return render_template("set_up.html", setup=me.setup())


@pages.post("/two-factor/set-up")
def confirm_set_up() -> Page:
    """Confirm the new app by its first code, and show the recovery codes."""
    try:
        return show_codes(me.confirm_setup(request.form.get("code")))
    except InvalidCode as problem:
        return show_again("set_up.html", problem, setup=me.setup())


@pages.post("/two-factor/set-up/cancel")
def cancel_set_up() -> Page:
    """Forget a set-up and touch nothing else."""
    me.cancel_setup()
    return redirect(url_for("administration.overview"))


# --- what changes a protected account ------------------------------------------------------------------------------


@pages.get("/two-factor/<any('replace', 'set-up-again', 'reset-app', 'reset-codes', 'turn-off'):action>")
def ask(action: str) -> Page:
    """Say what will stop working, and ask for a code if the last one is too long ago."""
    return render_template("change.html", name=action, action=words.ACTIONS[action])


@pages.post("/two-factor/<any('replace', 'set-up-again', 'reset-app', 'reset-codes', 'turn-off'):action>")
def change(action: str) -> Page:
    """Do it, if the code serves."""
    try:
        return CHANGES[action](request.form.get("code"))
    except REFUSALS as problem:
        return show_again("change.html", problem, name=action, action=words.ACTIONS[action])


def replace(code: str | None) -> Page:
    """Set up another app; the present one works until the new one is verified."""
    me.begin_setup(user.email, code)
    return redirect(url_for("administration.set_up"))


def reset_app(code: str | None) -> Page:
    """Kill the present app and set up a new one."""
    me.reset_authenticator(user.email, code)
    return redirect(url_for("administration.set_up"))


def reset_codes(code: str | None) -> Page:
    """Make new recovery codes."""
    return show_codes(me.reset_recovery_codes(code))


def turn_off(code: str | None) -> Page:
    """Turn the second factor off."""
    me.disable(code)
    return redirect(url_for("administration.overview"))


CHANGES: dict[str, Callable[[str | None], Page]] = {
    "replace": replace,
    "set-up-again": replace,
    "reset-app": reset_app,
    "reset-codes": reset_codes,
    "turn-off": turn_off,
}


# --- recovery codes, browsers, sessions ------------------------------------------------------------------------------


def show_codes(codes: RecoveryCodes) -> Response:
    """Show the codes, this once (NIST SP 800-63B-4 §3.1.2.1).

    The answer to the form itself shows them: a redirect would have to keep them somewhere readable.
    """
    return known(make_response(render_template("codes.html", **about_codes(t, codes, user.email, services.clock()))))


@pages.post("/two-factor/codes-saved")
def codes_saved() -> Page:
    """Take the user's word that the codes are in a safe place."""
    if request.form.get("saved"):
        me.acknowledge_recovery_codes()
        flash(t("Your recovery codes are saved."), "success")
    return redirect(url_for("administration.overview"))


@pages.post("/two-factor/sign-out-elsewhere")
def sign_out_elsewhere() -> Page:
    """End every other session, and the trust in every browser."""
    me.end_other_sessions()
    flash(t("You are signed out everywhere else, and no browser is trusted any more."), "success")
    return known(redirect(url_for("administration.overview")))


@pages.post("/two-factor/forget-browser")
def forget_browser() -> Page:
    """Ask for a code here at the next sign-in."""
    response = redirect(url_for("administration.overview"))
    response.set_cookie(**me.forget_browser())
    return response
