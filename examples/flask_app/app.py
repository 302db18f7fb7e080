"""The application: put together once, then every request passes through here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import web_pages
from flask import (
    Flask,
    current_app,
    flash,
    g,
    get_flashed_messages,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from web_pages import HEADERS, PRODUCT, TRUST_DAYS, words
from web_pages.notices import log_mail
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from flask_app import administration, sign_in
from flask_app.accounts import Accounts
from flask_app.mail import Notices
from flask_app.sessions import ServerSessions
from flask_app.web import Services, me, services, t
from twofa import KeyRing, Policy, TwoFactor
from twofa.errors import CodeRequired, NoSetup, SetupExpired, SignInRequired, TwoFactorError
from twofa.session import refuse_cross_site
from twofa.stores import SQLiteStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from flask import Response as FlaskResponse
    from web_pages import Language
    from web_pages.notices import Send
    from werkzeug.wrappers import Response

    from flask_app.sessions import ServerSession


POLICY = Policy(session_lifetime=12 * 3600)
"""NIST SP 800-63B-4 §2.2.3: at AAL2 at most a day in all; `sessions.py` has the hour without activity."""


def create_app(
    database: str | os.PathLike[str],
    *,
    keys: KeyRing,
    policy: Policy = POLICY,
    clock: Callable[[], float] = time.time,
    send: Send = log_mail,
    https: bool = True,
    languages: Mapping[str, Language] | None = None,
) -> Flask:
    """Put the application together on the SQLite file `database`.

    `keys` seal the second factors and are kept apart from the file (ASVS 5.0 13.3.1). `clock` returns Unix seconds,
    `send` sends a mail. `https=False` is for a development server without TLS: the session's cookie is then not
    `Secure`.
    """
    app = Flask(__name__, template_folder=str(web_pages.TEMPLATES), static_folder=str(web_pages.STATIC))
    accounts, store = Accounts(database), SQLiteStore(database)
    two_factor = TwoFactor(
        store, keys=keys, issuer=PRODUCT, policy=policy, clock=clock, on_event=Notices(accounts, send)
    )
    app.extensions["store"] = store
    app.extensions["flask_app"] = Services(two_factor, accounts, languages or web_pages.load(), clock)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 300  # for static files alone: see `set_headers`
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024  # ASVS 5.0 15.2.2: no form of ours is longer
    app.url_map.merge_slashes = False  # no redirect is made of what someone else has put into a link
    app.session_interface = ServerSessions(database, clock=clock, https=https)
    app.context_processor(names_in_templates)
    app.register_blueprint(sign_in.pages)
    app.register_blueprint(administration.pages)
    app.before_request(recognise)
    app.after_request(set_headers)
    app.register_error_handler(CodeRequired, ask_for_code)
    app.register_error_handler(SignInRequired, ask_to_sign_in)
    app.register_error_handler(NoSetup, start_over)
    app.register_error_handler(SetupExpired, start_over)
    app.register_error_handler(HTTPException, show_problem)
    app.register_error_handler(TwoFactorError, refuse)
    app.add_url_rule("/", "home", lambda: redirect(url_for("administration.overview")))
    return app


def recognise() -> None:
    """Find out who is asking, and in which language; refuse what another site's page has sent (ASVS 5.0 3.5.1)."""
    g.language = web_pages.choose(list(request.accept_languages.values()), services.languages)
    refuse_cross_site(request.method, request.headers)
    if request.endpoint != "static":
        g.me = services.two_factor.session(
            session, rotate=cast("ServerSession", session).rotate, source=request.remote_addr
        )


def names_in_templates() -> dict[str, object]:
    """Return what every template may use."""
    return {
        "me": me,
        "user": g.get("user"),
        "t": t,
        "product": PRODUCT,
        "words": words,
        # Read when a page wants them: a form that is too long cannot be, and its error has a page, too.
        "form": LocalProxy(lambda: request.form),
        "kind": LocalProxy(lambda: request.values.get("kind", "app")),
        "messages": get_flashed_messages(with_categories=True),
        "now": services.now(),
        "trust_days": TRUST_DAYS,
        "url": address_of,
        "static": address_of_file,
    }


def address_of(name: str, **values: Any) -> str:
    """Return the address of one of the pages."""
    blueprint = "sign_in" if f"sign_in.{name}" in current_app.view_functions else "administration"
    return url_for(f"{blueprint}.{name}", **values)


def address_of_file(name: str) -> str:
    """Return the address of a style or a script."""
    return url_for("static", filename=name)


# --- what no page handles ------------------------------------------------------------------------------------------


def ask_for_code(_problem: CodeRequired) -> Response:
    """Lead to the second step, of which only the first was taken."""
    return redirect(url_for("sign_in.code"))


def ask_to_sign_in(problem: SignInRequired) -> Response:
    """Lead to the sign-in page. After a form, look first: the second click of two finds out what the first one did."""
    if request.method == "POST":
        return redirect(url_for("administration.overview"))
    return redirect(url_for("sign_in.sign_in", reason=problem.reason))


def start_over(problem: TwoFactorError) -> Response:
    """Lead from a set-up that is over to where the account says how it stands."""
    flash(t.problem(problem, services.now()), "warning")
    return redirect(url_for("administration.overview"))


def refuse(problem: TwoFactorError) -> tuple[str, int]:
    """Refuse what is left, such as a damaged record: it never reads as "no second factor"."""
    current_app.logger.error("refused: %s", problem.code)
    return problem_page(problem.http_status)


def show_problem(problem: HTTPException) -> tuple[str, int]:
    """Show a page for 404 and its like; says nothing of the inside (ASVS 5.0 16.5.1)."""
    return problem_page(problem.code or 500)


def problem_page(status: int) -> tuple[str, int]:
    """Show what a status means, and the way out that works even while nothing can be checked."""
    text = words.PAGES.get(status, words.PAGES[500])
    return render_template("problem.html", text=text, user=None, offer_sign_out=status >= 500), status


def set_headers(response: FlaskResponse) -> FlaskResponse:
    """Put the headers on an answer. No page is cached: half of them show secrets (ASVS 5.0 14.3.2)."""
    response.headers.update(HEADERS)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
