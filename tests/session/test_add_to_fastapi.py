"""The service of `docs/add-to-fastapi.md`, as a reader builds it, does what the page says and lets nobody past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from pages import ROOT, run_page
from support import Phone

from twofa.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMAIL, PASSWORD = "alice@example.com", "correct horse battery staple"
CHANGES = ("set-up", "recovery-codes", "lost-phone", "turn-off")


class Reader:
    """The service, and a client that keeps what it is given."""

    def __init__(self, names: dict[str, Any], client: TestClient) -> None:
        self.users, self.app, self.site, self.client = names["USERS"], names["app"], names["site"], client
        self.clock = Clock()
        names["two_factor"]._settings._clock = self.clock
        self.token = self.device = None

    def send(self, method: str, path: str, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self.client.request(method, path, json=body, headers=headers)
        if answer.is_success and isinstance(answer.json(), dict):
            self.token = answer.json().get("token", self.token)
            self.device = answer.json().get("device") or self.device
        return answer

    def post(self, path: str, **body: Any) -> Any:
        return self.send("POST", path, **body)

    def password(self) -> Any:
        return self.post("/sign-in", email=EMAIL, password=PASSWORD, device=self.device)

    def confirm(self, setup: Any) -> tuple[Phone, list[str]]:
        phone = Phone(setup.json()["uri"], self.clock)
        codes = self.post("/second-factor/confirm", code=phone.code()).json()["recovery_codes"]
        self.clock.advance(30)
        return phone, codes

    def enrol(self) -> tuple[Phone, list[str]]:
        self.password()
        return self.confirm(self.post("/second-factor/set-up"))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    names = run_page(ROOT / "docs" / "add-to-fastapi.md", tmp_path, monkeypatch)
    with TestClient(names["app"]) as client:
        yield Reader(names, client)


def test_the_whole_way(reader: Reader) -> None:
    """Enrol, sign in with either kind of code, change everything, trust the device, turn it off."""
    phone, codes = reader.enrol()
    assert 10 == len(codes)
    reader.post("/second-factor/recovery-codes/saved")
    assert reader.send("GET", "/second-factor").json()["recovery_codes_acknowledged"]

    reader.token = None
    assert reader.password().json()["code_required"]
    wrong = reader.post("/sign-in/code", code=phone.wrong_code())
    assert (422, "invalid_code") == (wrong.status_code, wrong.json()["code"])
    assert 200 == reader.post("/sign-in/code", code=codes[0]).status_code
    assert 200 == reader.post("/second-factor/recovery-codes").status_code
    reader.post("/second-factor/recovery-codes/saved")
    new, codes = reader.confirm(reader.post("/second-factor/set-up"))
    assert new.secret != phone.secret
    reader.post("/second-factor/recovery-codes/saved")
    newest, codes = reader.confirm(reader.post("/second-factor/lost-phone"))

    reader.password()
    reader.post("/sign-in/code", code=newest.code(), trust=True)
    assert not reader.password().json()["code_required"], "the device is trusted"
    assert 403 == reader.post("/second-factor/turn-off").status_code
    assert 200 == reader.post("/second-factor/turn-off", code=codes[0]).status_code
    assert not reader.send("GET", "/second-factor").json()["required"]
    reader.post("/sign-out-everywhere")
    assert 401 == reader.send("GET", "/invoices").status_code


def test_the_app_shows_the_users_own_name(reader: Reader) -> None:
    """Each set-up has the name of who is signed in, and nobody else's."""
    reader.users["bob@example.com"] = ("user-43", PASSWORD)
    reader.post("/sign-in", email="bob@example.com", password=PASSWORD)
    assert "Example:bob@example.com?" in reader.post("/second-factor/set-up").json()["uri"]


def test_the_password_leads_nowhere_without_a_code(reader: Reader) -> None:
    """No endpoint answers a token that owes a code, not even with a code of the owner's."""
    phone, codes = reader.enrol()
    reader.token = None
    reader.password()
    tried = [
        (method.upper(), path)
        for path, methods in reader.app.openapi()["paths"].items()
        for method in methods
        if not path.startswith("/sign-in")
    ]
    assert 9 == len(tried)
    for method, path in tried:
        for body in ({}, {"code": codes[0]}):
            answer = reader.send(method, path, **body)
            assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"]), path
            assert "code_required" == answer.json()["code"]
    assert 200 == reader.post("/sign-in/code", code=phone.code()).status_code


def test_a_wait_says_when(reader: Reader) -> None:
    """The fifth wrong code of a stranger starts one; on the device that signed in before, the owner goes in."""
    phone, _ = reader.enrol()
    device, reader.device, reader.token = reader.device, None, None
    reader.password()
    for _ in range(6):
        refused = reader.post("/sign-in/code", code=phone.wrong_code())
    assert (429, "throttled") == (refused.status_code, refused.json()["code"])
    assert refused.headers["Retry-After"].endswith("GMT")
    reader.device = device
    reader.password()
    assert 200 == reader.post("/sign-in/code", code=phone.code()).status_code


def test_the_pages(reader: Reader) -> None:
    """The forms of section 7 ask for the code too, refuse those of other sites, and trust the browser."""
    phone, _ = reader.enrol()
    browser = TestClient(reader.site, base_url="https://testserver", follow_redirects=False)

    def post(path: str, **form: str) -> Any:
        return browser.post(path, data=form)

    assert "/sign-in?reason=signed_out" == browser.get("/").headers["Location"]
    assert "/sign-in?reason=wrong" == post("/sign-in", email=EMAIL, password="wrong").headers["Location"]
    assert "/sign-in/code" == post("/sign-in", email=EMAIL, password=PASSWORD).headers["Location"]
    assert "/sign-in/code" == browser.get("/").headers["Location"]
    assert 422 == post("/sign-in/code", code=phone.wrong_code()).status_code
    assert 422 == post("/sign-in/code").status_code
    other_site = {"Sec-Fetch-Site": "cross-site"}
    assert 403 == browser.post("/sign-in/code", data={"code": phone.code()}, headers=other_site).status_code
    assert "/" == post("/sign-in/code", code=phone.code(), trust="on").headers["Location"]
    assert "Signed in as user-42" == browser.get("/").text
    assert "/" == post("/sign-in", email=EMAIL, password=PASSWORD).headers["Location"], "the browser is trusted"
