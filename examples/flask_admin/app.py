"""The application: put together once, then every request passes through here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flask import Flask, current_app, g, redirect, render_template, request, session, url_for
from werkzeug.exceptions import HTTPException

from flask_admin import administration, words
from flask_admin.accounts import Accounts
from flask_admin.mail import Notices, log_mail
from flask_admin.sessions import ServerSessions, start
from flask_admin.sign_in import pages as sign_in_pages
from flask_admin.web import Services, SignedOut, csrf_token, refuse_forged, services, set_headers
from twofa import KeyRing, TwoFactor
from twofa.errors import TwoFactorError
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from werkzeug.wrappers import Response

    from flask_admin.mail import Send

PRODUCT = "Meridian"


def create_app(
    database: str | os.PathLike[str],
    *,
    keys: KeyRing,
    clock: Callable[[], float] = time.time,
    send: Send = log_mail,
    https: bool = True,
) -> Flask:
    """Put the application together on the SQLite file `database`.

    `keys` seal the second factors and are kept apart from the file (ASVS 5.0 13.3.1). `clock` returns Unix seconds,
    `send` sends a mail. `https=False` is for a development server without TLS: the session's cookie is then not
    `Secure`.
    """
    app = Flask(__name__)
    accounts, store = Accounts(database), SQLiteStore(database)
    two_factor = TwoFactor(store, keys=keys, issuer=PRODUCT, clock=clock, on_event=Notices(accounts, send))
    app.extensions["flask_admin"] = Services(two_factor, store, accounts, clock)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 300  # for static files alone: see `set_headers`
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024  # ASVS 5.0 15.2.2: no form of ours is longer
    app.url_map.merge_slashes = False  # no redirect is made of what someone else has put into a link
    app.session_interface = ServerSessions(database, clock=clock, https=https)
    app.context_processor(names_in_templates)
    app.register_blueprint(sign_in_pages)
    app.register_blueprint(administration.pages)
    app.before_request(refuse_forged)
    app.before_request(recognise)
    app.after_request(set_headers)
    app.register_error_handler(SignedOut, ask_to_sign_in)
    app.register_error_handler(HTTPException, show_problem)
    app.register_error_handler(TwoFactorError, fail_closed)
    app.add_url_rule("/", "home", lambda: redirect(url_for("administration.overview")))
    return app


def names_in_templates() -> dict[str, object]:
    """Return what every template may use."""
    return {
        "csrf_token": csrf_token,
        "product": PRODUCT,
        "words": words,
        "tabs": administration.TABS,
        "now": services.now,
    }


def recognise() -> None:
    """Find out who is asking, and end a session that began before the second factor was changed (ASVS 5.0 7.4.3)."""
    g.user = g.status = None
    if request.endpoint == "static" or "user_id" not in session:
        return
    g.user = services.accounts.get(session["user_id"])
    if g.user is None:  # the account is gone: so are its sessions (ASVS 5.0 7.4.2)
        raise SignedOut(words.SIGNED_OUT_IDLE)
    g.status = services.two_factor.status(g.user.id)
    if session["generation"] != g.status.generation:
        g.user = None
        raise SignedOut(words.SIGNED_OUT_ELSEWHERE)


def ask_to_sign_in(problem: SignedOut) -> Response:
    """Send someone who is not signed in, or not any more, to the sign-in page. A mere link ends no session."""
    if problem.reason:
        start(notice=problem.reason)
    return redirect(url_for("sign_in.password"))


def show_problem(problem: HTTPException) -> tuple[str, int]:
    """Show a page for 404 and its like; says nothing of the inside (ASVS 5.0 16.5.1)."""
    code = problem.code or 500
    return render_template("problem.html", text=words.PAGES.get(code, words.PAGES[500])), code


def fail_closed(problem: TwoFactorError) -> tuple[str, int]:
    """Refuse what no page handles, such as a damaged record: it never reads as "no second factor"."""
    current_app.logger.error("refused: %s", problem.code)
    g.user = None
    return render_template("problem.html", text=words.PAGES[503]), 503
