"""The examples under attack, over HTTP: what a browser would never send, and what it must never be sent."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import sites
from sites import DEMO, EXAMPLES, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sites import Client, Server, Site

TAB = "/administration/two-factor"
CHANGES = [f"{TAB}/{action}" for action in sites.CHANGES]


@pytest.fixture(scope="module", params=EXAMPLES)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with EXAMPLES[request.param]().serve() as server:
        yield server


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    site = server.new_site(tmp_path)
    yield site
    site.close()


def record(site: Site) -> list[tuple[Any, ...]]:
    return site.sql("SELECT * FROM twofa_record")


def is_in(client: Client) -> bool:
    return client.get(TAB).status_code == 200


# --- what is not asked for changes nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "active"])
def test_looking_changes_nothing(site: Site, state: str) -> None:
    """GET, HEAD and OPTIONS leave the record alone at every address, with a set-up or a fresh proof in the session."""
    alice = site.client()
    if state == "active":
        alice.sign_in(site.enrol()[0])
    else:
        alice.sign_in().post(f"{TAB}/add")
    assert state == site.two_factor.status(DEMO.id).state
    before = record(site)
    paths = {*site.routes("GET"), *site.routes("POST")}
    assert 18 <= len(paths)
    for path in sorted(paths):
        for method in ("GET", "HEAD", "OPTIONS"):
            alice.send(method, path)
        assert before == record(site), path
    assert is_in(alice)


def test_a_form_of_another_site_does_nothing(site: Site) -> None:
    """Whether or not the cookie comes along, no POST does anything, no cookie is set, and the session goes on."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    before = record(site)
    for path in site.routes("POST"):
        for client in (alice, site.client()):
            answer = client.send(
                "POST",
                path,
                {"email": DEMO.email, "password": PASSWORD, "saved": "yes"},
                {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
            )
            assert (403, None) == (answer.status_code, answer.headers.get("Set-Cookie")), path
            assert "This came from another site" in answer.text
    assert before == record(site)
    assert is_in(alice)


def test_a_visitor_without_a_cookie_leaves_no_trace(site: Site) -> None:
    """No page that anybody may look at makes a session, so that robots do not fill the table."""
    for path in (*site.routes("GET"), "/nowhere"):
        answer = site.client().get(path)
        assert answer.headers.get("Set-Cookie") is None, path
    assert [(0,)] == site.sql("SELECT count(*) FROM session")


# --- sessions -------------------------------------------------------------------------------------------------------


def test_an_id_that_was_planted_is_worthless(site: Site) -> None:
    """Whoever knows the session's id from before signing in is not in afterwards."""
    site.sql("INSERT INTO account SELECT 'mallory', 'mallory@example.com', 'Mallory', password FROM account")
    mallory = site.client()
    mallory.post("/sign-in", email="mallory@example.com", password=PASSWORD)
    planted = mallory.cookie
    alice = site.client(planted).sign_in()
    assert [True, False] == [is_in(alice), is_in(site.client(planted))]
    chosen = site.client("chosen-by-mallory").sign_in()
    assert "chosen-by-mallory" != chosen.cookie


def test_the_session_has_a_new_id_at_each_step(site: Site) -> None:
    """The password, the code, and a code given later: each id is new, and the one before is dead."""
    phone, _ = site.enrol()
    alice = site.client()
    ids: list[str] = []
    for path, form in (
        ("/sign-in", {"email": DEMO.email, "password": PASSWORD}),
        ("/sign-in/code", {"code": ""}),
        ("/sign-in/code", {"code": ""}),
    ):
        if "code" in form:
            site.clock.advance(phone.period)
            form = {"code": phone.code()}  # noqa: PLW2901
        assert 302 == alice.post(path, **form).status_code
        ids.append(alice.cookie)
    assert 3 == len(set(ids))
    assert [False, False, True] == [is_in(site.client(cookie)) for cookie in ids]


def test_signing_out_ends_the_session_for_good(site: Site) -> None:
    """A copy of the cookie opens nothing."""
    alice = site.client().sign_in()
    copy = alice.cookie
    alice.post("/sign-out")
    assert [False] * 2 == [is_in(client) for client in (site.client(copy), alice)]


@pytest.mark.parametrize(("pause", "times"), [(3600, 1), (3000, 29)], ids=["idle", "in all"])
def test_a_session_ends_by_itself(site: Site, pause: int, times: int) -> None:
    """After an hour without a request, and after a day of them."""
    alice = site.client().sign_in()
    for _ in range(times):
        site.clock.advance(pause)
        answer = alice.get(TAB)
    assert answer.headers["Location"].startswith("/sign-in?reason=")


def test_a_second_click_at_the_same_instant(site: Site) -> None:
    """Of several clicks on Continue one signs in, and each of the answers leads to where the owner is in."""
    phone, _ = site.enrol()
    alice = site.client()
    alice.post("/sign-in", email=DEMO.email, password=PASSWORD)
    site.clock.advance(phone.period)
    code, cookie = phone.code(), alice.cookie

    def click(_: int) -> Client:
        client = site.client(cookie)
        assert 302 == client.post("/sign-in/code", code=code).status_code
        return client

    with ThreadPoolExecutor(4) as threads:
        clients = list(threads.map(click, range(4)))
    signed_in = [client for client in clients if client.cookie != cookie and is_in(client)]
    assert 1 == len(signed_in)
    assert not any(is_in(client) for client in clients if client not in signed_in)


def test_a_second_click_on_verify_locks_nobody_out(site: Site) -> None:
    """The answer with the codes was not seen: the page says that new ones are due, and makes them without a code."""
    alice = site.client().sign_in()
    alice.post(f"{TAB}/add")
    setup = alice.get(f"{TAB}/set-up").text
    phone = site.phone(setup)
    alice.post(f"{TAB}/set-up", code=phone.code())  # not seen
    answer = alice.post(f"{TAB}/set-up", code=phone.code())
    assert (302, TAB) == (answer.status_code, answer.headers["Location"])
    page = alice.get(TAB).text
    assert "Have you saved your recovery codes?" in page
    assert "This set-up is over" in page
    codes = alice.post(f"{TAB}/reset-codes")
    assert 200 == codes.status_code
    assert 10 == codes.text.count("<li data-line>")


# --- the two steps --------------------------------------------------------------------------------------------------


def test_the_password_opens_nothing_by_itself(site: Site) -> None:
    """Between the two steps no page opens, and ten minutes later the password is asked for again."""
    phone, _ = site.enrol()
    half = site.client().sign_in()
    for path in ("/administration/account", TAB, f"{TAB}/set-up", f"{TAB}/password", *CHANGES):
        assert "/sign-in/code" == half.get(path).headers["Location"], path
    for path in set(site.routes("POST")) - {"/sign-in", "/sign-in/code", "/sign-out"}:
        assert "/sign-in/code" == half.post(path, saved="yes", password=PASSWORD).headers["Location"], path
    site.clock.advance(600)
    assert TAB == half.post("/sign-in/code", code=phone.code()).headers["Location"]
    assert "/sign-in?reason=expired" == half.get(TAB).headers["Location"]
    assert "it has been a while" in half.get("/sign-in?reason=expired").text


@pytest.mark.parametrize("path", CHANGES)
def test_no_change_without_a_proof(site: Site, path: str) -> None:
    """An empty, a spent or a wrong code is refused, and so is a sign-in that has served, or is ten minutes old."""
    phone, codes = site.enrol()
    alice = site.client().sign_in(phone)
    site.clock.advance(600)
    generation = site.two_factor.status(DEMO.id).generation
    for form, status in (
        ({}, 403),
        ({"code": ""}, 403),
        ({"code": phone.wrong_code()}, 422),
        ({"code": phone.code(-20)}, 422),
        ({"code": codes[0][::-1]}, 422),
    ):
        assert status == alice.post(path, **form).status_code, form
    assert generation == site.two_factor.status(DEMO.id).generation
    assert site.two_factor.status(DEMO.id).setup_expires_at is None


def test_a_sign_in_serves_as_proof_once(site: Site) -> None:
    """The second change takes a code again; new recovery codes can be made again at once, should their page be lost."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    assert [302, 403] == [alice.post(f"{TAB}/replace").status_code for _ in range(2)]
    alice = site.client().sign_in(phone)
    assert [200, 200] == [alice.post(f"{TAB}/reset-codes").status_code for _ in range(2)]


@pytest.mark.parametrize("path", [*CHANGES[1:4], f"{TAB}/sign-out-elsewhere"])
def test_a_change_ends_every_other_session(site: Site, path: str) -> None:
    """Whoever else is signed in is out with the next request; the one who made the change stays."""
    phone, _ = site.enrol()
    other, alice = (site.client().sign_in(phone) for _ in range(2))
    alice.post(path)
    assert [True, False] == [is_in(alice), is_in(other)]
    assert "reason=ended" in other.get(TAB).headers["Location"]


def test_a_setup_belongs_to_the_session_that_began_it(site: Site) -> None:
    """Another session of the same user neither sees its secret nor confirms it, though it knows the code."""
    alice, other = site.client().sign_in(), site.client().sign_in()
    alice.post(f"{TAB}/add")
    page = alice.get(f"{TAB}/set-up").text
    secret = page.partition('id="manual-key"')[2].partition("</p>")[0]
    assert "<span>" in secret
    code = site.phone(page).code()
    assert "in another browser" in other.get(TAB).text
    for answer in (other.get(f"{TAB}/set-up"), other.post(f"{TAB}/set-up", code=code)):
        assert TAB == answer.headers["Location"]
    other.post(f"{TAB}/set-up/cancel")
    assert "pending" == site.two_factor.status(DEMO.id).state
    assert 200 == alice.post(f"{TAB}/set-up", code=code).status_code


def test_a_password_of_long_ago_is_asked_for_again(site: Site) -> None:
    """Nothing else stands between an open session and a first app; with a wrong one nothing begins."""
    alice = site.client().sign_in()
    site.clock.advance(600)
    assert f"{TAB}/password" == alice.post(f"{TAB}/add").headers["Location"]
    assert "You signed in a while ago" in alice.get(f"{TAB}/password").text
    assert 422 == alice.post(f"{TAB}/password", password="wrong").status_code
    assert "none" == site.two_factor.status(DEMO.id).state
    assert f"{TAB}/set-up" == alice.post(f"{TAB}/password", password=PASSWORD).headers["Location"]
    assert "pending" == site.two_factor.status(DEMO.id).state


# --- browsers that are trusted --------------------------------------------------------------------------------------


def test_a_trusted_browser_asks_for_no_code(site: Site) -> None:
    """For thirty days, and until it is forgotten; it proves nothing."""
    phone, _ = site.enrol()
    alice = site.client().sign_in()
    site.clock.advance(phone.period)
    alice.post("/sign-in/code", code=phone.code(), trust="yes")
    alice.post("/sign-out")
    assert is_in(alice.sign_in())
    assert "This browser is trusted" in alice.get(TAB).text
    assert 403 == alice.post(f"{TAB}/turn-off").status_code
    site.clock.advance(30 * 86_400)
    assert not is_in(alice.sign_in())

    alice.post("/sign-in/code", code=phone.code(), trust="yes")
    alice.post(f"{TAB}/forget-browser")
    alice.post("/sign-out")
    assert not is_in(alice.sign_in())


def test_nobody_can_be_kept_out_of_a_browser_that_is_known(site: Site) -> None:
    """Someone with the password makes strangers wait, and not the owner where the owner has signed in before."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    alice.post("/sign-out")
    mallory = site.client().sign_in()
    for _ in range(6):
        answer = mallory.post("/sign-in/code", code=phone.wrong_code())
    assert 429 == answer.status_code
    assert is_in(alice.sign_in(phone))


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_what_the_session_holds_stays_on_the_server(site: Site) -> None:
    """No answer holds the state, and no file the session's id; nor can the state be read in the file."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    alice.post(f"{TAB}/replace")
    answers = [alice.get(path) for path in ("/administration/account", TAB, f"{TAB}/set-up", *CHANGES)]
    sent = "".join(f"{answer.headers}{answer.text}" for answer in answers)
    held = [json.loads(row[0])["twofa"] for row in site.sql("SELECT data FROM session")]
    assert held
    assert [False] * len(held) == [state in sent for state in held]
    assert [False] * len(held) == [b"user-42" in _opened(state) for state in held]
    files = list(site.database.parent.iterdir())  # with the write-ahead log
    assert [False] * len(files) == [alice.cookie.encode() in file.read_bytes() for file in files]


def _opened(state: str) -> bytes:
    text = state.split(".")[2]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_hostile_text_is_only_text(site: Site) -> None:
    """A name, an address or a source that is markup is shown as it was written, on every page."""
    hostile = "<script>alert(1)</script>'\"><img src=x>"
    site.sql("UPDATE account SET name = ?, email = ?", hostile, hostile)
    site.two_factor.begin_setup(DEMO.id, account_name="a", source=hostile)
    alice = site.client()
    alice.post("/sign-in", email=hostile, password=PASSWORD)
    pages = [alice.get(path).text for path in (TAB, "/administration/account")]
    alice.post(f"{TAB}/add")
    pages += [alice.get(f"{TAB}/set-up").text, alice.post("/sign-in", email=hostile, password="wrong").text]
    assert [False] * 4 == ["<script>alert" in page or "<img src=x" in page for page in pages]
    assert 2 <= pages[0].count("&lt;script&gt;"), "the address above and the source below"


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "/administration//account", "/sign-in?next=https://evil.example"]
)
def test_no_link_leads_elsewhere(site: Site, path: str) -> None:
    """No answer to an address that someone else made up sends the browser to another site."""
    for host in ("localhost", "evil.example"):
        answer = site.client().send("GET", path, headers={"Host": host})
        assert "evil" not in answer.headers.get("Location", ""), path


@pytest.mark.parametrize("word", ["expired", "ended", "signed_out", "<b>", "invalid_code", "../../etc/passwd", ""])
def test_words_in_an_address_are_only_looked_up(site: Site, word: str) -> None:
    """A reason or a problem that nobody gives shows nothing: no page can be made to say what someone else wants."""
    phone, _ = site.enrol()
    alice = site.client().sign_in()
    for path in ("/sign-in?reason=", "/sign-in/code?problem=", "/sign-in/code?kind="):
        answer = alice.get(path + quote(word))
        assert 200 == answer.status_code
        assert "<b>" not in answer.text
    assert phone


def test_every_answer_has_the_headers_and_none_is_cached(site: Site) -> None:
    """Pages, redirects and errors alike; files that are everyone's may be cached."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    for path in (*site.routes("GET"), "/nowhere", f"{TAB}/set-up/cancel"):
        headers = alice.get(path).headers
        assert "no-store" == headers["Cache-Control"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert ("nosniff", "same-origin") == (
            headers["X-Content-Type-Options"],
            headers["Cross-Origin-Resource-Policy"],
        )
    assert "max-age=300" in alice.get("/static/style.css").headers["Cache-Control"]


def test_an_unknown_address_costs_as_much_as_a_wrong_password(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take one hash, and read the same."""
    checked: list[str] = []
    site.watch_passwords(monkeypatch, checked.append)
    answers = []
    for email in (DEMO.email, "nobody@example.com", "nobody\0@example.com"):
        answer = site.client().post("/sign-in", email=email, password="wrong")
        answers.append((answer.status_code, "do not match" in answer.text, len(checked)))
    assert [(422, True, 1), (422, True, 2), (422, True, 3)] == answers


def test_a_wait_tells_programs_when(site: Site) -> None:
    """Too many wrong codes answer 429, with the time at which a code is looked at again."""
    phone, _ = site.enrol()
    site.guess(phone, 5)
    answer = site.client().sign_in().post("/sign-in/code", code=phone.code(1))
    assert (429, "Fri, 15 Jan 2027 08:00:30 GMT") == (answer.status_code, answer.headers["Retry-After"])


def test_guesses_hide_nothing(site: Site) -> None:
    """However many there were, they are one line with their number, below or above what was changed."""
    phone, _ = site.enrol()
    for _ in range(12):
        site.guess(phone, 1)
        site.clock.advance(7200)
    page = site.client().sign_in(phone).get(TAB).text
    assert 1 == page.count("<span>Incorrect code <")
    assert "Authenticator app added" in page
    assert "New recovery codes made" in page


# --- what is broken ---------------------------------------------------------------------------------------------------


def test_what_is_broken_lets_nobody_in(site: Site) -> None:
    """A record that does not open never reads as an account without a second factor; nothing of the inside is told."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    site.sql("UPDATE twofa_record SET document = substr(document, 1, length(document) - 9) || 'AAAAAAAAA'")
    client = site.client()
    answers = [client.post("/sign-in", email=DEMO.email, password=PASSWORD), alice.get(TAB)]
    assert [(503, True)] * 2 == [(a.status_code, "second factor can&#39;t be checked" in a.text) for a in answers]
    assert not is_in(client)
    assert 200 == alice.get("/sign-in").status_code, "another user can sign in"
    assert "/sign-in" == alice.post("/sign-out").headers["Location"]
    assert "" == alice.cookie
    site.sql("DROP TABLE account")
    answer = client.post("/sign-in", email=DEMO.email, password=PASSWORD)
    assert (500, True, False) == (answer.status_code, "Something went wrong" in answer.text, "sqlite" in answer.text)


def test_an_account_that_is_gone_has_no_session(site: Site) -> None:
    """Deleting the user ends what is open."""
    alice = site.client().sign_in()
    site.sql("DELETE FROM account")
    assert "/sign-in?reason=signed_out" == alice.get(TAB).headers["Location"]


def test_a_form_that_is_too_long_is_refused(site: Site) -> None:
    """No form of the pages comes near 16 kB."""
    assert 413 == site.client().post("/sign-in", email=DEMO.email, password="x" * 20_000).status_code
