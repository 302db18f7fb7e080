"""The WSGI application of `docs/add-to-anything-else.md` does what the page says and lets nobody past."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pages import ROOT, run_page
from support import Phone

from twofa.testing import Clock

if TYPE_CHECKING:
    from pathlib import Path

EMAIL, PASSWORD = "alice@example.com", "correct horse battery staple"


class Reader:
    """The application, and browsers in front of it."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.clock = names, Clock()
        names["two_factor"]._settings._clock = self.clock

    def browser(self, **cookies: str) -> httpx.Client:
        transport = httpx.WSGITransport(app=self.names["application"])
        return httpx.Client(transport=transport, base_url="https://example.com", cookies=cookies)

    def enrol(self, browser: httpx.Client) -> tuple[Phone, list[str]]:
        browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        key = re.search(r"</svg> ([A-Z2-7 ]+) <", browser.post("/set-up").text)
        assert key
        phone = Phone(f"otpauth://totp/E?secret={html.unescape(key[1]).replace(' ', '')}", self.clock)
        codes = browser.post("/confirm", data={"code": phone.code()}).text
        self.clock.advance(30)
        return phone, re.findall(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}", codes)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(run_page(ROOT / "docs" / "add-to-anything-else.md", tmp_path, monkeypatch))


def sign_in(browser: httpx.Client) -> str:
    return browser.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}).headers["Location"]


def test_the_whole_way(reader: Reader) -> None:
    """Enrol, sign out, and sign in with either kind of code."""
    browser = reader.browser()
    phone, codes = reader.enrol(browser)
    assert 10 == len(codes)
    for code in (phone.code(), codes[0]):
        assert "/sign-in" == browser.post("/sign-out").headers["Location"]
        assert "/code" == sign_in(browser)
        assert 422 == browser.post("/code", data={"code": phone.wrong_code()}).status_code
        assert "/" == browser.post("/code", data={"code": code}).headers["Location"]
        assert "two-factor authentication: active" in browser.get("/").text


def test_the_password_leads_nowhere_without_a_code(reader: Reader) -> None:
    """No page in between does anything, and a form of another site does nothing at any time."""
    phone, codes = reader.enrol(reader.browser())
    half = reader.browser()
    sign_in(half)
    tried = [address for address in reader.names["PAGES"] if address[1] not in {"/sign-in", "/code", "/sign-out"}]
    assert 3 == len(tried)
    for method, path in tried:
        data = {"code": codes[0]} if method == "POST" else None
        assert "/code" == half.request(method, path, data=data).headers["Location"]
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert 403 == half.post("/code", data={"code": phone.code()}, headers=other_site).status_code
    assert "/" == half.post("/code", data={"code": phone.code()}).headers["Location"]


def test_an_id_that_was_planted_is_worthless(reader: Reader) -> None:
    """One that exists is left behind at each step, and one that does not is never taken over."""
    phone, _ = reader.enrol(reader.browser())
    mallory = reader.browser()
    sign_in(mallory)
    planted = mallory.cookies["__Host-session"]
    for name in (planted, "made-up"):
        owner = reader.browser(**{"__Host-session": name})
        owner.cookies.clear()
        owner.post(
            "/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers={"Cookie": f"__Host-session={name}"}
        )
        half = owner.cookies["__Host-session"]
        reader.clock.advance(30)
        owner.post("/code", data={"code": phone.code()})
        assert 200 == owner.get("/").status_code
        for left in (name, half):
            assert 303 == reader.browser().get("/", headers={"Cookie": f"__Host-session={left}"}).status_code
