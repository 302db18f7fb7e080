"""What every page needs: the services behind it, CSRF protection, and the headers."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, NamedTuple, cast

from flask import Response, abort, current_app, request, session
from werkzeug.local import LocalProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_admin.accounts import Accounts
    from twofa import TwoFactor
    from twofa.stores import SQLiteStore


class SignedOut(Exception):  # it says what is the case
    """This page is for those who are signed in; `reason` is what to tell someone who was."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Services(NamedTuple):
    """What the application was put together from."""

    two_factor: TwoFactor
    store: SQLiteStore
    """Its trail of events is shown."""
    accounts: Accounts
    clock: Callable[[], float]

    def now(self) -> int:
        """Return Unix seconds."""
        return int(self.clock())


# Those of the application that answers the request.
services = cast("Services", LocalProxy(lambda: current_app.extensions["flask_admin"]))


def source() -> str:
    """Return where the request comes from, for the event trail.

    ASVS 5.0 15.3.4: behind a proxy this is the proxy's address until Werkzeug's `ProxyFix` is told how many to trust.
    """
    return request.remote_addr or ""


# --- CSRF ------------------------------------------------------------------------------------------------------------


def csrf_token() -> str:
    """Return the session's token, for a hidden field of every form."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(16)
    return cast("str", session["csrf"])


def refuse_forged() -> None:
    """Refuse a form that no page of this session has shown (ASVS 5.0 3.5.1).

    Only POST changes anything (3.5.3), which is why no view serves both: a HEAD would reach what GET does not.
    """
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        sent, held = request.form.get("csrf", ""), session.get("csrf")
        if held is None or not hmac.compare_digest(sent.encode(), held.encode()):
            abort(400)


# --- headers ---------------------------------------------------------------------------------------------------------

HEADERS = {
    # ASVS 5.0 3.4.3: nothing but our own files, no inline script or style. The QR code is inline SVG, which needs none.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",  # 3.4.1; browsers heed it over TLS only
    "X-Content-Type-Options": "nosniff",  # 3.4.4
    "Referrer-Policy": "same-origin",  # 3.4.5
    "Cross-Origin-Opener-Policy": "same-origin",  # 3.4.8
    "Cross-Origin-Resource-Policy": "same-origin",  # 3.5.8
}


def set_headers(response: Response) -> Response:
    """Put the headers on an answer. No page is cached: half of them show secrets (ASVS 5.0 14.3.2)."""
    response.headers.update(HEADERS)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
