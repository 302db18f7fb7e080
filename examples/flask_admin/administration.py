"""Administration → Two-factor authentication."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for

from flask_admin import words
from flask_admin.sessions import renew
from flask_admin.web import SignedOut, services, source
from twofa import ByCode, ByRecoveryCode, ByVerification, errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from werkzeug.wrappers import Response

    from flask_admin.accounts import User
    from twofa import RecoveryCodes, Setup, Status
    from twofa.proofs import Proof

    Page = str | Response | tuple[str, int]

pages = Blueprint("administration", __name__, url_prefix="/administration")

TABS = {"administration.account": "Account", "administration.overview": "Two-factor authentication"}
RECENT = 8
"""Events that the page shows."""


@pages.before_request
def require_user() -> None:
    """Let nobody in who is not signed in."""
    if g.user is None:
        raise SignedOut


@pages.get("/account")
def account() -> str:
    """Show who is signed in."""
    return render_template("account.html")


@pages.get("/two-factor")
def overview() -> str:
    """Show where the account stands, and what happened to it."""
    events = [event for event in services.store.events(g.user.id) if event.kind in words.EVENTS]
    return render_template(
        "overview.html", status=g.status, events=events[: -RECENT - 1 : -1], continuing=holds_setup(g.status)
    )


# --- what changes a protected account ------------------------------------------------------------------------------


CHANGE = f"/two-factor/<any({', '.join(map(repr, words.ACTIONS))}):action>"


@pages.get(CHANGE)
def ask(action: str) -> Page:
    """Say what will stop working, and ask for a proof."""
    return ask_for_proof(action) if g.status.required else redirect(url_for("administration.overview"))


@pages.post(CHANGE)
def change(action: str) -> Page:
    """Do it, if the proof serves (NIST SP 800-63B-4 §4.1.2.1, ASVS 5.0 7.5.1)."""
    if not g.status.required:
        return redirect(url_for("administration.overview"))
    try:
        return CHANGES[action](g.user, offered_proof())
    except errors.ProofRequired as problem:  # the sign-in is too long ago, or has served already
        session.pop("verified", None)
        return ask_for_proof(action, problem), 422
    except errors.Throttled as problem:
        return ask_for_proof(action, problem), 429
    except (errors.InvalidCode, errors.ReenrolmentRequired, errors.RecoveryCodesExhausted) as problem:
        return ask_for_proof(action, problem), 422


def ask_for_proof(action: str, problem: errors.TwoFactorError | None = None) -> str:
    """Render the page of a change. The field is left out while a sign-in may still serve: the library will say."""
    status = services.two_factor.status(g.user.id) if problem else g.status  # a refused code may have changed it
    recovery = request.values.get("with") == "recovery-code" or status.state == "reenrol"
    again = action == "replace" and status.state == "reenrol"
    return render_template(
        "change.html",
        name=action,
        action=words.SET_UP_AGAIN if again else words.ACTIONS[action],
        recovery=recovery,
        status=status,
        ask="verified" not in session,
        error=problem and words.problem(problem, recovery=recovery and not isinstance(problem, errors.ProofRequired)),
        retry_at=status.recovery_retry_at if recovery else status.retry_at,
    )


def offered_proof() -> Proof | None:
    """Return what the form or the session offers to show that the owner is asking."""
    if request.form.get("code"):
        return ByCode(request.form["code"])
    if request.form.get("recovery_code"):
        return ByRecoveryCode(request.form["recovery_code"])
    return ByVerification(session["verified"]) if "verified" in session else None


def required(proof: Proof | None) -> Proof:
    """Refuse to go on without any."""
    if proof is None:
        raise errors.ProofRequired
    return proof


def replace(user: User, proof: Proof | None) -> Response:
    """Set up another app; the present one works until the new one is verified."""
    return keep(services.two_factor.begin_setup(user.id, account_name=user.email, proof=proof, source=source()))


def reset_app(user: User, proof: Proof | None) -> Response:
    """Kill the present app and set up a new one."""
    setup = services.two_factor.reset_authenticator(
        user.id, account_name=user.email, proof=required(proof), source=source()
    )
    return keep(setup)


def reset_codes(user: User, proof: Proof | None) -> str:
    """Make new recovery codes."""
    return show_codes(services.two_factor.reset_recovery_codes(user.id, proof=required(proof), source=source()))


def turn_off(user: User, proof: Proof | None) -> Response:
    """Turn the second factor off."""
    services.two_factor.disable(user.id, proof=required(proof), source=source())
    step_up(services.two_factor.status(user.id).generation)
    flash("Two-factor authentication is off. Your password alone opens your account.", "info")
    return redirect(url_for("administration.overview"))


CHANGES: dict[str, Callable[[User, Proof | None], Response | str]] = {
    "replace": replace,
    "reset-app": reset_app,
    "reset-codes": reset_codes,
    "turn-off": turn_off,
}


def step_up(generation: str | None) -> None:
    """Stay signed in after a change that ends all other sessions, under a new id (ASVS 5.0 7.2.4, 7.4.3)."""
    renew()
    session.pop("verified", None)
    session["generation"] = generation


# --- set-up ----------------------------------------------------------------------------------------------------------


@pages.post("/two-factor/add")
def add() -> Response:
    """Begin to add an app. Nothing protects the account yet, so there is nothing to prove."""
    try:
        return keep(services.two_factor.begin_setup(g.user.id, account_name=g.user.email, source=source()))
    except errors.ProofRequired:  # one was added meanwhile, in another tab
        return redirect(url_for("administration.overview"))


def keep(setup: Setup) -> Response:
    """Keep the handle in this session: it alone shows the QR code again, or confirms it."""
    step_up(setup.generation)
    remember(setup)
    return redirect(url_for("administration.set_up"))


def remember(setup: Setup) -> None:
    """Write down which set-up is this session's."""
    session["setup"] = {"handle": setup.handle, "expires_at": int(setup.expires_at.timestamp())}


def holds_setup(status: Status) -> bool:
    """Return whether the set-up that waits is this session's.

    A page that is only looked at must change nothing.
    """
    waiting = status.setup_expires_at
    return waiting is not None and session.get("setup", {}).get("expires_at") == int(waiting.timestamp())


@pages.get("/two-factor/set-up")
def set_up() -> Page:
    """Show the QR code: the same one again after a reload."""
    if "setup" not in session:
        return redirect(url_for("administration.overview"))
    return show_setup()


@pages.post("/two-factor/set-up")
def verify_set_up() -> Page:
    """Confirm the new app by its first code, and show the recovery codes."""
    if "setup" not in session:
        return redirect(url_for("administration.overview"))
    try:
        codes = services.two_factor.confirm_setup(
            g.user.id, request.form.get("code", ""), handle=session["setup"]["handle"], source=source()
        )
    except errors.InvalidCode as problem:
        return show_setup(problem), 422
    except (errors.NoSetup, errors.SetupExpired) as problem:
        return show_setup(problem), 410
    session.pop("setup")
    return show_codes(codes)


def show_setup(problem: errors.TwoFactorError | None = None) -> str:
    """Render the QR code, or why there is none any more."""
    # Asked anew: the wrong code may have been the last one that the set-up bore, or another tab has just cancelled it.
    if not holds_setup(services.two_factor.status(g.user.id)):
        expired = session["setup"]["expires_at"] <= services.now()
        over: errors.TwoFactorError = errors.SetupExpired() if expired else errors.NoSetup()
        return render_template("set_up_over.html", error=words.problem(over), status=g.status)
    setup = services.two_factor.resume_setup(
        g.user.id, account_name=g.user.email, handle=session["setup"]["handle"], source=source()
    )
    remember(setup)  # another one only if another browser began one within the same second
    return render_template(
        "set_up.html", setup=setup, status=g.status, error=problem and words.problem(problem, recovery=False)
    )


@pages.post("/two-factor/set-up/cancel")
def cancel_set_up() -> Response:
    """Forget a set-up and touch nothing else."""
    services.two_factor.cancel_setup(g.user.id, source=source())
    session.pop("setup", None)
    flash("The set-up was cancelled. Nothing else has changed.", "info")
    return redirect(url_for("administration.overview"))


# --- recovery codes --------------------------------------------------------------------------------------------------


def show_codes(codes: RecoveryCodes) -> str:
    """Show the codes, this once (NIST SP 800-63B-4 §3.1.2.1).

    The answer to the form itself shows them: a redirect would have to keep them somewhere readable.
    """
    step_up(codes.generation)
    session["unsaved"] = True
    text = codes.text()
    # A link that works without JavaScript, and a file that is never on the server.
    download = "data:text/plain;charset=utf-8;base64," + b64encode(text.encode()).decode()
    return render_template("codes.html", codes=list(codes), download=download)


@pages.post("/two-factor/codes-saved")
def codes_saved() -> Response:
    """Go on once the user says that the codes are in a safe place."""
    if request.form.get("saved"):
        session.pop("unsaved", None)
        services.two_factor.acknowledge_recovery_codes(g.user.id, source=source())
        renew()  # a changed cookie also makes a browser drop the page that it may keep for its back button
        flash("Two-factor authentication is on, and your recovery codes are saved.", "success")
    return redirect(url_for("administration.overview"))
