"""The JSON API of the FastAPI example, over a real server; its pages are attacked together with the other examples'."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

import postgresql
import pytest
import schemathesis
from argon2 import PasswordHasher
from fastapi_app import models
from fastapi_app.sessions import ServerSessions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sites import DEMO, PASSWORD, FastAPIServer
from strength import rounds
from support import Phone

import twofa.qr
from twofa.errors import CodeRequired

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from sites import FastAPISite

PROOF = {"/second-factor/set-up", "/second-factor/recovery-codes", "/second-factor/reset", "/second-factor/turn-off"}
"""What takes a code."""


@pytest.fixture(scope="module")
def server() -> Iterator[FastAPIServer]:
    with FastAPIServer().serve() as server:
        yield server


@pytest.fixture
def site(server: FastAPIServer, tmp_path: Path) -> Iterator[FastAPISite]:
    site = server.new_site(tmp_path)
    yield site
    site.close()


class App:
    """A program on somebody's phone, which keeps what it is given."""

    def __init__(self, site: FastAPISite, token: str | None = None) -> None:
        self.site, self.token, self.device = site, token, None
        self.http = site.client()

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = self.http.request(method, f"/api{path}", json=body, token=self.token)
        if answer.is_success and answer.content:
            kept = answer.json() if isinstance(answer.json(), dict) else {}
            self.token, self.device = kept.get("token", self.token), kept.get("device") or self.device
        return answer

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.send("POST", path, body)

    def password(self, email: str = DEMO.email) -> httpx.Response:
        return self.post("/sign-in", email=email, password=PASSWORD, device=self.device)

    def sign_in(self, phone: Phone | None = None, email: str = DEMO.email) -> App:
        self.password(email)
        if phone is not None:
            self.site.clock.advance(phone.period)
            assert 200 == self.post("/sign-in/code", code=phone.code()).status_code
        return self

    def who(self) -> tuple[int, str]:
        """Return what the API says to this token."""
        answer = self.send("GET", "/account")
        return answer.status_code, answer.json().get("id") or answer.json()["code"]

    def confirm(self, setup: httpx.Response) -> tuple[Phone, list[str]]:
        phone = Phone(setup.json()["setup"]["uri"], self.site.clock)
        codes = self.post("/second-factor/set-up/confirm", code=phone.code()).json()["recovery_codes"]
        return phone, codes


def operations(site: FastAPISite) -> list[tuple[str, str]]:
    """Return the method and the address of everything that the API can do."""
    paths = site.client().get("/api/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def body_for(path: str, code: str) -> dict[str, Any] | None:
    """Return a body that is right."""
    return {"code": code} if path in PROOF or path.endswith("confirm") else None


# --- what it is for ---------------------------------------------------------------------------------------------------


def test_the_whole_way(site: FastAPISite) -> None:
    """Enrol, sign in with either kind of code, change everything, trust a device, turn it off."""
    app = App(site)
    assert not app.password().json()["code_required"]
    assert "none" == app.send("GET", "/account").json()["second_factor"]["state"]
    setup = app.post("/second-factor/set-up")
    assert setup.json()["setup"] == app.send("GET", "/second-factor/set-up").json()
    assert setup.json()["setup"]["qr_svg"].startswith("<svg")
    phone, codes = app.confirm(setup)
    assert 10 == len(codes)
    assert not app.send("GET", "/account").json()["second_factor"]["recovery_codes_acknowledged"]
    app.post("/second-factor/recovery-codes/saved")
    assert app.send("GET", "/account").json()["second_factor"]["recovery_codes_acknowledged"]
    assert ["Authenticator app added", "New recovery codes made"] == [subject for _, subject, _ in site.mails]

    app = App(site)
    assert app.password().json()["code_required"]
    assert (401, "code_required") == app.who()
    assert 422 == app.post("/sign-in/code", code=phone.wrong_code()).status_code
    verification = app.post("/sign-in/code", code=codes[0]).json()["verification"]
    assert ("recovery_code", 0, 9) == tuple(
        verification[name] for name in ("method", "failed_before", "recovery_codes_remaining")
    )
    codes = app.post("/second-factor/recovery-codes").json()["recovery_codes"]
    new, codes = app.confirm(app.post("/second-factor/set-up"))
    assert new.secret != phone.secret
    app.post("/second-factor/recovery-codes/saved")
    newest, codes = app.confirm(app.post("/second-factor/reset"))

    site.clock.advance(newest.period)
    app.password()
    assert 200 == app.post("/sign-in/code", code=newest.code(), trust=True).status_code
    app.token = None
    assert not app.password().json()["code_required"], "the device is trusted"
    assert 403 == app.post("/second-factor/turn-off").status_code
    assert 200 == app.post("/second-factor/turn-off", code=codes[0]).status_code
    assert "disabled" == app.send("GET", "/events").json()[0]["kind"]
    assert not site.two_factor.status(DEMO.id).required


def test_a_setup_can_be_cancelled(site: FastAPISite) -> None:
    """It is over then, for this client and for others, which never saw it."""
    app, other = App(site).sign_in(), App(site).sign_in()
    app.post("/second-factor/set-up")
    assert (True, False) == tuple(each.send("GET", "/account").json()["has_setup"] for each in (app, other))
    assert (410, "no_setup") == (other.send("GET", "/second-factor/set-up").status_code, "no_setup")
    assert 200 == app.send("DELETE", "/second-factor/set-up").status_code
    assert "none" == site.two_factor.status(DEMO.id).state


def test_the_models_name_what_the_library_says(site: FastAPISite) -> None:
    """Each field of `to_dict()` is described, and no other."""
    setup = site.two_factor.begin_setup(DEMO.id, account_name=DEMO.email)
    phone = Phone(setup.uri, site.clock)
    site.two_factor.confirm_setup(DEMO.id, phone.code(), handle=setup.handle)
    site.clock.advance(phone.period)
    verification = site.two_factor.verify(DEMO.id, phone.code())
    (event, *_) = site.two_factor.events(DEMO.id)
    assert {*setup.to_dict(), "qr_svg"} == set(models.ShownSetup.model_fields)
    assert set(verification.to_dict()) == set(models.Verified.model_fields)
    assert set(event.to_dict()) == set(models.Event.model_fields)
    assert set(CodeRequired().to_dict()) == set(models.Problem.model_fields)


# --- from the password to signed in, without a code -------------------------------------------------------------------


def test_the_password_opens_nothing_by_itself(site: FastAPISite) -> None:
    """No operation does anything for a token that owes a code, not even with codes of the owner's."""
    phone, codes = site.enrol()
    half = App(site)
    half.password()
    site.clock.advance(phone.period)
    before = site.sql("SELECT * FROM twofa_record")
    tried = [(method, path) for method, path in operations(site) if not path.startswith("/sign-in")]
    assert 12 == len(tried)
    for method, path in tried:
        for code in (phone.code(), codes[0]):
            answer = half.send(method, path, body_for(path, code))
            assert (401, "code_required") == (answer.status_code, answer.json()["code"]), path
    assert (401, "code_required") == half.who()
    assert before == site.sql("SELECT * FROM twofa_record")


def test_no_other_string_is_a_token(site: FastAPISite) -> None:
    """A ticket, a device's string, a page's session, a verification and junk are nobody, and so is an altered token."""
    phone, _ = site.enrol()
    app = App(site).sign_in(phone)
    page = site.client().sign_in(phone)
    ((held,),) = site.sql("SELECT data FROM session WHERE data LIKE '%twofa%'")
    altered = app.token[:-4] + ("AAAA" if app.token[-4:] != "AAAA" else "BBBB")
    strings = [
        *(site.two_factor.login_ticket(DEMO.id), app.device, held, page.cookie, altered),
        *("junk", "é", "bearer1.AAAAAAAA.AAAA", "x" * 5000),
    ]
    for string in strings:
        assert (401, "sign_in_required") == App(site, string).who(), string
    assert (200, DEMO.id) == app.who()
    for name in ("__Host-session", "session", "twofa"):
        page.cookies[name] = app.token
    assert 302 == page.get("/administration/account").status_code, "nor is a token a session's cookie"


def test_a_token_is_its_own_users(site: FastAPISite) -> None:
    """Another user's code is a wrong one, and another user's token leads to that user's account alone."""
    site.sql("INSERT INTO account SELECT 'mallory', 'mallory@example.com', 'Mallory', password FROM account")
    phone, codes = site.enrol()
    mallory = App(site).sign_in(email="mallory@example.com")
    evil, evil_codes = mallory.confirm(mallory.post("/second-factor/set-up"))
    site.clock.advance(evil.period)
    half = App(site, None)
    half.password()
    for code in (evil.code(), evil_codes[0]):
        assert 422 == half.post("/sign-in/code", code=code).status_code
    assert (200, "mallory") == mallory.who()
    assert 422 == mallory.post("/second-factor/turn-off", code=phone.code()).status_code
    assert 422 == mallory.post("/second-factor/turn-off", code=codes[0]).status_code
    assert {"mallory"} == {event["user_id"] for event in mallory.send("GET", "/events").json()}
    assert site.two_factor.status(DEMO.id).required


def test_a_token_of_before_a_change_is_worthless(site: FastAPISite) -> None:
    """Whole or half, it ends with the change, spends no code, and is not revived by signing in again."""
    phone, codes = site.enrol()
    half, whole, app = App(site), App(site).sign_in(phone), App(site).sign_in(phone)
    half.password()
    app.post("/second-factor/recovery-codes")
    before = site.sql("SELECT * FROM twofa_record")
    site.clock.advance(phone.period)
    assert (401, "sign_in_required") == whole.who()
    answer = half.post("/sign-in/code", code=phone.code())
    assert (401, "ended") == (answer.status_code, answer.json()["reason"])
    assert 401 == half.post("/sign-in/code", code=codes[0]).status_code
    assert before == site.sql("SELECT * FROM twofa_record")
    App(site).sign_in(phone)
    assert (401, "sign_in_required") == whole.who()


def test_a_replayed_token_takes_a_new_code(site: FastAPISite) -> None:
    """Half a sign-in can be played again for ten minutes, each time with a code of its own, and not after that."""
    phone, _ = site.enrol()
    half = App(site)
    half.password()
    token, code = half.token, phone.code(1)
    site.clock.advance(phone.period)
    assert 200 == half.post("/sign-in/code", code=code).status_code
    again = App(site, token)
    assert (422, "code_reused") == (again.post("/sign-in/code", code=code).status_code, "code_reused")
    assert (401, "code_required") == again.who()
    site.clock.advance(600)
    answer = again.post("/sign-in/code", code=phone.code())
    assert (401, "expired") == (answer.status_code, answer.json()["reason"])


def test_two_clicks_at_once(site: FastAPISite) -> None:
    """Of several requests with one token and one code, one signs in."""
    phone, _ = site.enrol()
    half = App(site)
    half.password()
    site.clock.advance(phone.period)
    code = phone.code()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: App(site, half.token).post("/sign-in/code", code=code), range(4)))
    assert [200, 422, 422, 422] == sorted(answer.status_code for answer in answers)
    assert {"code_reused"} == {answer.json()["code"] for answer in answers if answer.status_code == 422}


def test_sign_out_everywhere_ends_every_token(site: FastAPISite) -> None:
    """Tokens live on the client, so only this ends the copies."""
    phone, _ = site.enrol()
    app, other, page = App(site).sign_in(phone), App(site).sign_in(phone), site.client().sign_in(phone)
    assert 204 == app.post("/sign-out-everywhere").status_code
    assert [(401, "sign_in_required")] * 2 == [app.who(), other.who()]
    assert "ended" in page.get("/administration/account").headers["Location"]


def test_a_password_of_long_ago_begins_no_first_setup(site: FastAPISite) -> None:
    """Nothing else stands between a token that was stolen and a first app."""
    app = App(site).sign_in()
    site.clock.advance(600)
    answer = app.post("/second-factor/set-up")
    assert (401, "expired") == (answer.status_code, answer.json()["reason"])
    assert "none" == site.two_factor.status(DEMO.id).state


def test_nobody_can_be_kept_out_of_a_device_that_is_known(site: FastAPISite) -> None:
    """Someone with the password makes strangers wait, and not the owner on a device that signed in before."""
    phone, _ = site.enrol()
    owner = App(site).sign_in(phone)
    mallory = App(site)
    mallory.password()
    for _ in range(6):
        answer = mallory.post("/sign-in/code", code=phone.wrong_code())
    assert (429, "throttled") == (answer.status_code, answer.json()["code"])
    assert "Fri, 15 Jan 2027 08:01:00 GMT" == answer.headers["Retry-After"]
    assert "2027-01-15T08:01:00Z" == answer.json()["retry_at"]
    owner.sign_in(phone)
    assert (200, DEMO.id) == owner.who()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_every_refusal_has_one_shape(site: FastAPISite) -> None:
    """Whoever refuses, the library or the framework: `code` and `message`, the right headers, and nothing of the inside."""
    app = App(site)
    wrong = app.post("/sign-in", email=DEMO.email, password="not this one")
    for answer, status, code in (
        (wrong, 401, "wrong_password"),
        (app.send("GET", "/account"), 401, "sign_in_required"),
        (app.post("/sign-in", email=DEMO.email, password=["secret"]), 422, "invalid_request"),
        (app.post("/sign-in", email=DEMO.email, password="secret" * 60), 422, "invalid_request"),
        (app.post("/sign-in", email=DEMO.email), 422, "invalid_request"),
        (app.send("GET", "/nowhere"), 404, "not_found"),
        (app.send("PUT", "/account"), 405, "method_not_allowed"),
    ):
        assert (status, code) == (answer.status_code, answer.json()["code"])
        assert ("Bearer" if status == 401 else None) == answer.headers.get("WWW-Authenticate")
        assert "no-store" == answer.headers["Cache-Control"]
        assert "secret" not in answer.text
    unknown = app.post("/sign-in", email="nobody\0@example.com", password=PASSWORD)
    assert wrong.json() == unknown.json()


def test_what_is_broken_lets_nobody_in(site: FastAPISite) -> None:
    """A record that does not open is no account without a second factor."""
    phone, _ = site.enrol()
    app = App(site).sign_in(phone)
    site.sql("UPDATE twofa_record SET document = substr(document, 1, length(document) - 9) || 'AAAAAAAAA'")
    for answer in (App(site).password(), app.send("GET", "/account")):
        assert (503, "record_damaged") == (answer.status_code, answer.json()["code"])
        assert "token" not in answer.json()
    site.sql("DROP TABLE account")
    answer = App(site).password()
    assert (500, "internal_error") == (answer.status_code, answer.json()["code"])


# --- the event loop ---------------------------------------------------------------------------------------------------


def test_slow_work_keeps_nobody_waiting(site: FastAPISite, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a password is checked, and while a QR code is drawn, others are answered."""
    app, other = App(site).sign_in(), App(site).sign_in()
    begun, answered = threading.Event(), threading.Event()

    def slowly(work: Any) -> Any:
        def waits(*arguments: Any, **named: Any) -> Any:
            begun.set()
            assert answered.wait(10), "nobody else was answered meanwhile"
            return work(*arguments, **named)

        return waits

    monkeypatch.setattr(PasswordHasher, "verify", slowly(PasswordHasher.verify))
    monkeypatch.setattr("twofa.qr.svg", slowly(twofa.qr.svg))
    page = site.client(site.client().cookie)
    with ThreadPoolExecutor(1) as threads:
        for work in (
            lambda: App(site).password(),
            lambda: app.post("/second-factor/set-up"),
            page.sign_in,
        ):
            begun.clear()
            answered.clear()
            slow = threads.submit(work)
            assert begun.wait(10)
            assert (200, DEMO.id) == other.who()
            answered.set()
            slow.result()


def test_a_request_under_way_does_not_revive_a_session(site: FastAPISite, server: FastAPIServer) -> None:
    """What it writes when the session was signed out meanwhile is written nowhere."""
    alice = site.client().sign_in()
    sessions = ServerSessions(site.app, engine=site.app.state.services.accounts._engine, clock=site.clock, https=True)
    late = server.run(sessions._open(alice.cookie))
    assert late
    alice.post("/sign-out")
    late["more"] = True
    late.rotate()
    revived = server.run(sessions._save(late))
    assert 302 == site.client(revived).get("/administration/account").status_code
    assert [] == site.sql("SELECT * FROM session")


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@postgresql.on_postgresql
@pytest.mark.heavy
def test_on_postgresql(server: FastAPIServer, tmp_path: Path) -> None:
    """Both faces on the database that a service has, where text with a NUL is refused."""
    database = postgresql.server()
    site = server.new_site(tmp_path, url=database.url(database.new_database(), driver="asyncpg"))
    try:
        test_the_whole_way(site)
        phone, _ = site.enrol()
        site.clock.advance(phone.period)
        page = site.client().sign_in(phone)
        assert 200 == page.get("/administration/two-factor").status_code
        page.post("/sign-out")
        assert 302 == page.get("/administration/two-factor").status_code
        for answer in (page.post("/sign-in", email="\0", password="\0"), App(site).password("\0" + DEMO.email)):
            assert answer.status_code in {200, 422}
    finally:
        site.close()


# --- whatever a client sends -------------------------------------------------------------------------------------------

load_all_checks()


@pytest.mark.heavy
def test_whatever_a_client_sends(site: FastAPISite) -> None:
    """Every answer is one that the OpenAPI description names, in the shape that it says; none is a server's failure."""
    phone, _ = site.enrol()
    whole, owing, bob = App(site).sign_in(phone), App(site), App(site)
    owing.password()
    site.sql("INSERT INTO account SELECT 'bob', 'bob@example.com', 'Bob', password FROM account")
    bob.sign_in(email="bob@example.com")
    ((user_id, *rest),) = site.sql("SELECT * FROM twofa_record")
    api = schemathesis.openapi.from_url(f"{site.address}/api/openapi.json")
    api.config.checks.negative_data_rejection.expected_statuses += ["413"]  # what is too long is refused, too
    operations = [found.ok() for found in api.get_all_operations()]
    assert 14 == len(operations)
    for operation, mode in product(operations, GenerationMode):

        @settings(max_examples=rounds(2, 60), suppress_health_check=list(HealthCheck))
        @given(
            operation.as_strategy(generation_mode=mode), st.sampled_from([whole.token, owing.token, bob.token, None])
        )
        def send(case: Any, token: str | None) -> None:
            # The account stands as it did, whatever the last example has changed.
            site.sql("DELETE FROM twofa_record")
            site.sql(f"INSERT INTO twofa_record VALUES (?{', ?' * len(rest)})", user_id, *rest)
            case.call_and_validate(
                headers={} if token is None else {"Authorization": f"Bearer {token}"},
                excluded_checks=[positive_data_acceptance],  # a body of the right shape may hold a wrong code
            )

        send()
