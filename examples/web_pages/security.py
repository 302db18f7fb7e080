"""What of the standards is the pages' own: the headers of every answer, and two spans of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

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

TRUST_DAYS = 30
"""For how long a browser is trusted, if the user asks for that."""

_FRESH_PASSWORD = 600
"""Seconds for which a password counts as just given."""


def password_is_old(given_at: datetime | None, now: float) -> bool:
    """Return whether to ask for the password again before a first app is added (ASVS 5.0 7.5.1).

    Nothing else stands between an open session and a first app.
    """
    return given_at is None or now >= given_at.timestamp() + _FRESH_PASSWORD
