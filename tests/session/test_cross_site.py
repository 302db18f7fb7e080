"""Whose page sent a form: what browsers say of themselves decides, and no token is needed."""

from __future__ import annotations

import pytest

from twofa.errors import CrossSiteRequest
from twofa.session.cross_site import refuse_cross_site

OWN = {"Host": "example.com", "Origin": "https://example.com"}
OTHER = {"Host": "example.com", "Origin": "https://evil.example"}

TAKEN = {
    "our own page": OWN | {"Sec-Fetch-Site": "same-origin"},
    "the address bar or a bookmark": {"Host": "example.com", "Sec-Fetch-Site": "none"},
    "our own page in a browser of 2022": OWN,
    "our own page behind a proxy that ends TLS": {"Host": "example.com", "Origin": "http://example.com"},
    "our own page on a port": {"Host": "localhost:8000", "Origin": "http://localhost:8000"},
    "a host in capitals": {"Host": "EXAMPLE.com", "Origin": "https://example.COM"},
    "a program that is no browser": {"Host": "example.com", "User-Agent": "curl/8"},
    "headers in small letters, as ASGI has them": {"host": "example.com", "sec-fetch-site": "same-origin"},
}
REFUSED = {
    "another site's page": OTHER | {"Sec-Fetch-Site": "cross-site"},
    "a page of a neighbouring subdomain": {
        "Host": "example.com",
        "Origin": "https://blog.example.com",
        "Sec-Fetch-Site": "same-site",
    },
    "another site's page that claims our origin": OWN | {"Sec-Fetch-Site": "cross-site"},
    "another site's page in a browser of 2022": OTHER,
    "a sandboxed frame": {"Host": "example.com", "Origin": "null"},
    "another port of this machine": {"Host": "localhost:8000", "Origin": "http://localhost:9000"},
    "a word that no browser says": OWN | {"Sec-Fetch-Site": "surely-yours"},
    "an empty word": OWN | {"Sec-Fetch-Site": ""},
    "an empty origin and host": {"Host": "", "Origin": ""},
    "an origin without a host that was asked": {"Origin": "https://example.com"},
    "an origin that is no address": {"Host": "example.com", "Origin": "https://[example.com"},
    "headers in small letters, as ASGI has them": {"host": "example.com", "sec-fetch-site": "cross-site"},
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_a_form_of_our_own_is_taken(name: str, method: str) -> None:
    """A request that one of our own pages sent, or no page at all, passes."""
    refuse_cross_site(method, TAKEN[name])


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_a_form_of_another_site_is_refused(name: str, method: str) -> None:
    """A request that another site's page sent raises, and `Sec-Fetch-Site` has the last word where it is there."""
    with pytest.raises(CrossSiteRequest, match="a page of another site"):
        refuse_cross_site(method, REFUSED[name])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "get"])
def test_a_link_from_another_site_works(method: str) -> None:
    """What changes nothing is not refused: a link in a mail leads to the page."""
    for headers in (*TAKEN.values(), *REFUSED.values()):
        refuse_cross_site(method, headers)


def test_a_trusted_origin_may_send_forms() -> None:
    """Only the very origin that the host names may, scheme and port included."""
    trusted = {"https://www.example.com"}
    sent = {"Host": "example.com", "Sec-Fetch-Site": "same-site"}

    refuse_cross_site("POST", sent | {"Origin": "https://www.example.com"}, trusted_origins=trusted)
    for other in ("http://www.example.com", "https://www.example.com:8443", "https://www.example.com.evil.example"):
        with pytest.raises(CrossSiteRequest):
            refuse_cross_site("POST", sent | {"Origin": other}, trusted_origins=trusted)
