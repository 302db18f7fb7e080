"""The cookie by which a browser is known, and perhaps trusted, at the next sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

from twofa._record.browsers import KNOWN_FOR

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BROWSER_COOKIE", "BrowserCookie", "cookie", "expired_cookie", "token_in"]

BROWSER_COOKIE = "__Host-twofa-browser"
"""The cookie's name. With its prefix, browsers take it only over HTTPS, from this very host (RFC 6265bis §4.1.3.2)."""


class BrowserCookie(TypedDict):
    """The arguments of `set_cookie`, as Flask, Django and Starlette all name them."""

    key: str
    value: str
    max_age: int
    """Seconds."""
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["lax"]


def cookie(token: str) -> BrowserCookie:
    """Return the cookie that carries a known browser's token."""
    return _cookie(token, KNOWN_FOR)


def expired_cookie() -> BrowserCookie:
    """Return the cookie that makes a browser forget its token."""
    return _cookie("", 0)


def token_in(cookies: Mapping[str, str] | None) -> str | None:
    """Return the token among a request's cookies."""
    return None if cookies is None else cookies.get(BROWSER_COOKIE)


def _cookie(value: str, max_age: int) -> BrowserCookie:
    return BrowserCookie(
        key=BROWSER_COOKIE, value=value, max_age=max_age, path="/", secure=True, httponly=True, samesite="lax"
    )
