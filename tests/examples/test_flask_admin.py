"""The example under attack, over HTTP: what a browser would never send, and what it must never be sent."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import flask
import flask_admin.accounts
import pytest
from browser import DEMO, PASSWORD, Client, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAB = "/administration/two-factor"
CHANGES = [f"{TAB}/{action}" for action in ("replace", "reset-app", "reset-codes", "turn-off")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def sql(site: Site, statement: str, *values: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(site.database)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def record(site: Site) -> list[tuple[Any, ...]]:
    return sql(site, "SELECT * FROM twofa_record")


def is_in(client: Client) -> bool:
    return client.http.get(TAB, base_url="https://localhost").status_code == 200


def with_cookie(site: Site, cookie: str) -> Client:
    client = Client(site)
    client.http.set_cookie("__Host-session", cookie)
    return client


def routes(site: Site, method: str) -> list[str]:
    """Return every address of the application that takes this method."""
    found = [
        rule for rule in site.app.url_map.iter_rules() if method in (rule.methods or ()) and rule.endpoint != "static"
    ]
    return [path for rule in found for path in (CHANGES if "<" in rule.rule else [rule.rule])]


@pytest.mark.parametrize("state", ["pending", "active"])
def test_looking_changes_nothing(site: Site, state: str) -> None:
    """GET, HEAD and OPTIONS leave the record alone at every address, with a set-up or a fresh proof in the session."""
    alice = Client(site)
    if state == "active":
        alice.sign_in(site.enrol()[0])
    else:
        alice.sign_in().post(f"{TAB}/add")
    assert state == site.two_factor.status(DEMO.id).state
    before = record(site)
    paths = {*routes(site, "GET"), *routes(site, "POST")}
    assert 14 <= len(paths)
    for path in sorted(paths):
        for method in ("GET", "HEAD", "OPTIONS"):
            alice.http.open(path, method=method, base_url="https://localhost")
        assert before == record(site), path
    assert is_in(alice)


@pytest.mark.parametrize("token", [None, "guessed", "another session's"])
def test_a_forged_form_is_refused(site: Site, token: str | None) -> None:
    """Without the token of this very session, no POST does anything, and the session goes on."""
    phone, _ = site.enrol()
    alice, mallory = Client(site).sign_in(phone), Client(site)
    mallory.get("/sign-in")
    form = {} if token is None else {"csrf": mallory.token if token.startswith("another") else token}
    before = record(site)
    for path in routes(site, "POST"):
        answer = alice.http.post(path, base_url="https://localhost", data={"email": DEMO.email, "saved": "yes", **form})
        assert 400 == answer.status_code, path
    assert before == record(site)
    assert is_in(alice)


def test_a_form_of_another_site_signs_nobody_out(site: Site) -> None:
    """It comes without the cookie (SameSite); the answer must not set or delete one."""
    for path in routes(site, "POST"):
        answer = site.app.test_client().post(path, base_url="https://localhost", data={"csrf": "x"})
        assert (400, None) == (answer.status_code, answer.headers.get("Set-Cookie")), path


def test_an_id_that_was_planted_is_worthless(site: Site) -> None:
    """Whoever knows the session's id from before signing in is not in afterwards."""
    mallory = Client(site)
    mallory.get("/sign-in")
    planted = mallory.cookie
    alice = with_cookie(site, planted).sign_in()
    assert [True, False] == [is_in(alice), is_in(with_cookie(site, planted))]
    chosen = with_cookie(site, "chosen-by-mallory").sign_in()
    assert "chosen-by-mallory" != chosen.cookie


def test_the_session_has_a_new_id_at_each_step_up(site: Site) -> None:
    """Password, code, set-up, each reset, replacement and turning off: each id is new, and the one before is dead."""
    alice = Client(site)
    ids: list[str] = []

    def step(path: str, **form: str) -> None:
        answer = alice.post(path, **form)
        assert answer.status_code in {200, 302}, (path, answer.status_code)
        ids.append(alice.cookie)

    alice.get("/sign-in")
    ids.append(alice.cookie)
    step("/sign-in", email=DEMO.email, password=PASSWORD)
    alice.get(TAB)
    step(f"{TAB}/add")
    site.two_factor.cancel_setup(DEMO.id)
    phone, codes = site.enrol()
    alice.get(TAB)  # signed out: the generation is another one
    alice.get("/sign-in")
    step("/sign-in", email=DEMO.email, password=PASSWORD)
    site.clock.advance(30)
    alice.get("/sign-in/code")
    step("/sign-in/code", code=phone.code())
    alice.get(TAB)
    step(f"{TAB}/replace")
    site.clock.advance(30)
    step(f"{TAB}/reset-codes", code=phone.code())
    alice.get(TAB)
    step(f"{TAB}/codes-saved", saved="yes")
    site.clock.advance(30)
    step(f"{TAB}/reset-app", code=phone.code())
    alice.get(TAB)
    step(f"{TAB}/set-up/cancel")
    assert ids[-1] == ids[-2], "forgetting a set-up is no step up"
    ids.pop()
    assert len(ids) == len(set(ids))
    assert [False] * (len(ids) - 1) == [is_in(with_cookie(site, old)) for old in ids[:-1]]
    assert codes


def test_signing_out_ends_the_session_for_good(site: Site) -> None:
    """A copy of the cookie opens nothing, and neither does a request that was under way at that moment."""
    alice = Client(site).sign_in()
    copy = alice.cookie
    sessions = site.app.session_interface
    with site.app.test_request_context("/", base_url="https://localhost", headers={"Cookie": f"__Host-session={copy}"}):
        late = sessions.open_session(site.app, flask.request)
        assert late
        alice.post("/sign-out")
        late["more"] = True
        late.renewed = True
        answer = site.app.response_class()
        sessions.save_session(site.app, late, answer)
    revived = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    assert [False] * 3 == [is_in(with_cookie(site, cookie)) for cookie in (copy, revived, alice.cookie)]


@pytest.mark.parametrize(("pause", "times"), [(3600, 1), (3000, 15)], ids=["idle", "in all"])
def test_a_session_ends_by_itself(site: Site, pause: int, times: int) -> None:
    """After an hour without a request, and after half a day of them, whatever new ids it got meanwhile."""
    alice = Client(site).sign_in()
    for _ in range(times):
        site.clock.advance(pause)
        alice.post(f"{TAB}/codes-saved", saved="yes")
    assert not is_in(alice)


def test_the_password_opens_nothing_by_itself(site: Site) -> None:
    """Between the two steps no page opens, and ten minutes later the password is asked for again."""
    phone, _ = site.enrol()
    half = Client(site).sign_in()
    for path in ("/administration/account", TAB, f"{TAB}/set-up", *CHANGES):
        assert "/sign-in" == half.get(path).headers["Location"], path
    half = Client(site)
    half.get("/sign-in")
    half.post("/sign-in", email=DEMO.email, password=PASSWORD)
    half.get("/sign-in/code")
    site.clock.advance(600)
    assert "/sign-in" == half.post("/sign-in/code", code=phone.code()).headers["Location"]
    assert not is_in(half)


@pytest.mark.parametrize("path", CHANGES)
def test_no_change_without_a_proof(site: Site, path: str) -> None:
    """An empty, a spent or a wrong code is refused, and so is a sign-in that has served, or is ten minutes old."""
    phone, codes = site.enrol()
    alice = Client(site).sign_in(phone)
    site.clock.advance(600)
    generation = site.two_factor.status(DEMO.id).generation
    for form in (
        {},
        {"code": ""},
        {"code": phone.wrong_code()},
        {"code": phone.code(-20)},
        {"recovery_code": codes[0][::-1]},
    ):
        assert 422 == alice.post(path, **form).status_code, form
    assert generation == site.two_factor.status(DEMO.id).generation
    assert site.two_factor.status(DEMO.id).setup_expires_at is None


def test_a_sign_in_serves_as_proof_once(site: Site) -> None:
    """The second change takes a code again."""
    phone, _ = site.enrol()
    alice = Client(site).sign_in(phone)
    assert [200, 422] == [alice.post(f"{TAB}/reset-codes").status_code for _ in range(2)]


@pytest.mark.parametrize("path", CHANGES[1:])
def test_a_change_ends_every_other_session(site: Site, path: str) -> None:
    """Whoever else is signed in is out with the next request; the one who made the change stays."""
    phone, _ = site.enrol()
    other, alice = (Client(site).sign_in(phone) for _ in range(2))
    alice.post(path)
    assert [True, False] == [is_in(alice), is_in(other)]


def test_a_setup_belongs_to_the_session_that_began_it(site: Site) -> None:
    """Another session of the same user neither sees its secret nor confirms it, though it knows the code."""
    alice, other = Client(site).sign_in(), Client(site).sign_in()
    alice.post(f"{TAB}/add")
    secret = alice.get(f"{TAB}/set-up").text.partition('id="manual-key"')[2].partition("</p>")[0]
    assert "<span>" in secret
    seen = [other.get(path) for path in (TAB, f"{TAB}/set-up")]
    assert "in another browser" in seen[0].text
    assert secret not in "".join(answer.text for answer in seen)
    assert TAB == other.post(f"{TAB}/set-up", code="123456").headers["Location"]
    assert "pending" == site.two_factor.status(DEMO.id).state


def test_what_the_session_holds_stays_on_the_server(site: Site) -> None:
    """Neither the verification's token nor a set-up's handle is in any answer, and no session's id is in the file."""
    phone, _ = site.enrol()
    alice = Client(site).sign_in(phone)
    alice.post(f"{TAB}/replace")
    (held,) = [
        data for data in (json.loads(row[0]) for row in sql(site, "SELECT data FROM session")) if "setup" in data
    ]
    answers = [alice.get(path) for path in ("/administration/account", TAB, f"{TAB}/set-up", *CHANGES)]
    sent = "".join(f"{answer.headers}{answer.text}" for answer in answers)
    assert held["setup"]["handle"] not in sent
    files = list(site.database.parent.iterdir())  # with the write-ahead log
    assert [False] * len(files) == [alice.cookie.encode() in file.read_bytes() for file in files]

    fresh = Client(site).sign_in(phone)
    tokens = [json.loads(row[0]).get("verified") for row in sql(site, "SELECT data FROM session")]
    sent = "".join(f"{answer.headers}{answer.text}" for answer in (fresh.get(TAB), fresh.get(CHANGES[0])))
    assert [False] == [token in sent for token in tokens if token]


def test_hostile_text_is_only_text(site: Site) -> None:
    """A name, an address or a source that is markup is shown as it was written, on every page."""
    hostile = "<script>alert(1)</script>'\"><img src=x>"
    sql(site, "UPDATE account SET name = ?, email = ?", hostile, hostile)
    setup = site.two_factor.begin_setup(DEMO.id, account_name="a", source=hostile)
    alice = Client(site)
    alice.get("/sign-in")
    alice.post("/sign-in", email=hostile, password=PASSWORD)
    pages = [alice.get(path).text for path in (TAB, "/administration/account")]
    alice.post(f"{TAB}/add")
    pages += [alice.get(f"{TAB}/set-up").text, alice.post("/sign-in", email=hostile, password="wrong").text]
    assert [False] * 4 == ["<script>alert" in page or "<img src=x" in page for page in pages]
    assert 2 <= pages[0].count("&lt;script&gt;"), "the address above and the source below"
    assert setup


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "/administration//account", "/sign-in?next=https://evil.example"]
)
def test_no_link_leads_elsewhere(site: Site, path: str) -> None:
    """No answer to an address that someone else made up sends the browser to another site."""
    for host in ("localhost", "evil.example"):
        answer = site.app.test_client().get("/", environ_overrides={"PATH_INFO": path, "HTTP_HOST": host})
        assert "evil" not in answer.headers.get("Location", ""), path


def test_every_answer_has_the_headers_and_none_is_cached(site: Site) -> None:
    """Pages, redirects and errors alike; files that are everyone's may be cached."""
    phone, _ = site.enrol()
    alice = Client(site).sign_in(phone)
    for path in (*routes(site, "GET"), "/nowhere", f"{TAB}/set-up/cancel"):
        headers = alice.get(path).headers
        assert "no-store" == headers["Cache-Control"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert ("nosniff", "same-origin") == (
            headers["X-Content-Type-Options"],
            headers["Cross-Origin-Resource-Policy"],
        )
    with alice.http.get("/static/style.css", base_url="https://localhost") as style:
        assert "max-age=300" in style.headers["Cache-Control"]


def test_an_unknown_address_costs_as_much_as_a_wrong_password(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take one hash, and read the same."""
    hashed: list[str] = []
    check = flask_admin.accounts.check_password_hash
    monkeypatch.setattr(
        "flask_admin.accounts.check_password_hash", lambda kept, typed: hashed.append(kept) or check(kept, typed)
    )
    answers = []
    for email in (DEMO.email, "nobody@example.com"):
        client = Client(site)
        client.get("/sign-in")
        answer = client.post("/sign-in", email=email, password="wrong")
        answers.append((answer.status_code, "do not match" in answer.text, len(hashed)))
    assert [(422, True, 1), (422, True, 2)] == answers


def test_a_wait_tells_programs_when(site: Site) -> None:
    """Too many wrong codes answer 429, with the seconds to wait."""
    phone, _ = site.enrol()
    site.guess(phone, 5)
    client = Client(site).sign_in()
    client.get("/sign-in/code")
    answer = client.post("/sign-in/code", code=phone.code(1))
    assert (429, "30") == (answer.status_code, answer.headers["Retry-After"])


def test_what_is_broken_lets_nobody_in(site: Site) -> None:
    """A record that does not open never reads as an account without a second factor; nothing of the inside is told."""
    phone, _ = site.enrol()
    alice = Client(site).sign_in(phone)
    sql(site, "UPDATE twofa_record SET document = substr(document, 1, length(document) - 9) || 'AAAAAAAAA'")
    client = Client(site)
    client.get("/sign-in")
    answers = [client.post("/sign-in", email=DEMO.email, password=PASSWORD), alice.get(TAB)]
    assert [(503, True)] * 2 == [(a.status_code, "Your second factor cannot be checked" in a.text) for a in answers]
    assert not is_in(client)
    sql(site, "DROP TABLE account")
    answer = alice.get(TAB)
    assert (500, True, False) == (answer.status_code, "Something went wrong" in answer.text, "sqlite" in answer.text)


def test_an_account_that_is_gone_has_no_session(site: Site) -> None:
    """Deleting the user ends what is open."""
    alice = Client(site).sign_in()
    sql(site, "DELETE FROM account")
    assert "/sign-in" == alice.get(TAB).headers["Location"]


def test_a_form_that_is_too_long_is_refused(site: Site) -> None:
    """No form of the pages comes near 16 kB."""
    client = Client(site)
    client.get("/sign-in")
    assert 413 == client.post("/sign-in", email=DEMO.email, password="x" * 20_000).status_code
