"""Whether a request that changes something comes from one of the site's own pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from twofa.errors import CrossSiteRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["Headers", "refuse_cross_site"]


class Headers(Protocol):
    """A request's headers, of any framework."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names and values."""
        ...


_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def refuse_cross_site(method: str, headers: Headers, *, trusted_origins: Collection[str] = ()) -> None:
    """Refuse a request that another site made a browser send (ASVS 5.0 3.5.1). No token in a form is needed.

    Call it at the start of every request. `headers` are the request's, in any spelling. `trusted_origins` are other
    sites whose pages may send forms here, such as `https://www.example.com`.

    GET, HEAD and OPTIONS pass, so they must change nothing (ASVS 5.0 3.5.3). Otherwise `Sec-Fetch-Site` decides, which
    all browsers send over HTTPS and to localhost, and no page can forge. Without it, as in browsers before 2023, the
    host in `Origin` has to be the one that was asked. A request without either comes from no browser, so it carries
    no cookies that someone else may ride on.

    Raises `CrossSiteRequest`.
    """
    if method.upper() in _SAFE_METHODS:
        return
    sent = {name.lower(): value for name, value in headers.items()}
    origin = sent.get("origin")
    if origin is not None and origin in trusted_origins:
        return
    site = sent.get("sec-fetch-site")
    own = _is_from_host(origin, sent.get("host")) if site is None else site in {"same-origin", "none"}
    if not own:
        raise CrossSiteRequest


def _is_from_host(origin: str | None, host: str | None) -> bool:
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == (host or "").lower() != ""
    except ValueError:
        return False
