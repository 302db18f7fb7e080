"""`examples/django_site`: every way into it is closed to whoever has only the password."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("django", reason="Django is not installed")

import django_ready
from browser import NO_CHROMIUM, Visitor, chromium, in_browser
from django.contrib.auth import alogin, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from django.http import HttpResponse
from django.test import AsyncClient, override_settings
from django.test import Client as DjangosClient
from django.urls import path as address
from django_sites import EMAIL, DjangoServer, DjangoSite
from httpx import WSGITransport
from not_tested import not_here
from sites import CHANGES, PASSWORD, SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sites import Client

assert django_ready.READY
TAB = "/administration/two-factor"
PAGES = ["/administration/account", TAB, f"{TAB}/set-up", f"{TAB}/password", *(f"{TAB}/{each}" for each in CHANGES)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[DjangoSite]:
    site = DjangoSite(DjangoServer(), tmp_path)
    yield site
    site.close()


def is_in(client: Client) -> bool:
    """Return whether somebody is signed in, to this site and to Django's admin."""
    ours, admins = client.get(TAB).status_code, client.get("/admin/").status_code
    assert ours == admins
    return ours == 200


def admin_login(client: Client, password: str = PASSWORD) -> Any:
    """Sign in by the admin's own page."""
    page = client.get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert token
    return client.post("/admin/login/?next=/admin/", username=EMAIL, password=password, csrfmiddlewaretoken=token[1])


def forced(site: DjangoSite) -> Client:
    """Return a program with a session that Django's `force_login` has made."""
    django = DjangosClient()
    django.force_login(site.alice)
    return site.client(django.cookies[SESSION].value)


# --- ways in --------------------------------------------------------------------------------------------------------


def test_without_a_second_factor_the_password_is_enough(site: DjangoSite) -> None:
    """By the site's page, by the admin's own, and by `force_login`, as in any Django site."""
    by_admin = site.client()
    assert "/admin/" == admin_login(by_admin).headers["Location"]
    assert [True] * 3 == [is_in(site.client().sign_in()), is_in(by_admin), is_in(forced(site))]


def test_the_admins_own_page_leads_to_the_code(site: DjangoSite) -> None:
    """It takes the password, and with it nobody is in: neither in the admin nor on the site. The code opens both."""
    phone, _ = site.enrol()
    alice = site.client()
    assert 200 == admin_login(alice, "wrong").status_code
    assert "/sign-in/code" == admin_login(alice).headers["Location"]
    assert not is_in(alice)
    site.clock.advance(phone.period)
    assert TAB == alice.post("/sign-in/code", code=phone.code()).headers["Location"]
    assert is_in(alice)
    alice.post("/sign-out")
    assert not is_in(alice)


def test_a_login_that_nobody_has_asked_is_nobody(site: DjangoSite) -> None:
    """P15: a session that Django's `force_login` has made, as a social login or a forgotten view may, opens nothing."""
    site.enrol()
    mallory = forced(site)
    assert not is_in(mallory)
    assert "/sign-in?reason=signed_out" == mallory.get(TAB).headers["Location"]
    for path in PAGES:
        assert "/sign-in?reason=signed_out" == mallory.get(path).headers["Location"], path


def test_enrolling_ends_what_django_alone_has_let_in(site: DjangoSite) -> None:
    """A session without our word counts while no second factor was ever set up, and from then on no more."""
    early = forced(site)
    assert is_in(early)
    site.enrol()
    assert not is_in(early)


class Careless:
    """Addresses of views that do what a social login does, each in another way, beside the site's own."""

    def __init__(self, site: DjangoSite) -> None:
        from django_site import urls

        self.handler404, self.handler500 = urls.handler404, urls.handler500
        self.site = site
        plain, deaf = (login_not_required(partial(view)) for view in (self.plain, self.deaf))
        self.urlpatterns = [address("plain", plain), address("deaf", deaf), *urls.urlpatterns]

    def plain(self, request: Any) -> HttpResponse:
        """Sign in whom somebody else vouches for, and show what is theirs."""
        login(request, self.site.alice)
        return HttpResponse(f"private: {request.user.email}")

    def deaf(self, request: Any) -> HttpResponse:
        """Go on whatever happens."""
        with suppress(Exception):
            login(request, self.site.alice)
        return HttpResponse(f"private: {request.user.email}" if request.user.is_authenticated else "nobody")


def test_a_social_login_is_no_more_than_a_password(site: DjangoSite) -> None:
    """Whatever view has called `login` leads to the code; one that goes on after its refusal has nobody to go on with."""
    with override_settings(ROOT_URLCONF=Careless(site)):
        assert "private: alice@example.com" == site.client().get("/plain").text, "no second factor yet"
        phone, _ = site.enrol()
        alice = site.client()
        assert "/sign-in/code" == alice.get("/plain").headers["Location"]
        assert "nobody" == alice.get("/deaf").text
        assert not is_in(alice)
        site.clock.advance(phone.period)
        alice.post("/sign-in/code", code=phone.code())
        assert is_in(alice)
        assert "private: alice@example.com" == alice.get("/plain").text


@pytest.mark.parametrize("engine", ["signed_cookies", "cache", "cached_db"])
def test_wherever_sessions_are_kept(site: DjangoSite, engine: str) -> None:
    """The password leads to the code and the code leads in, though the view with the password is rolled back."""
    with override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}"):
        handler = WSGIHandler()  # which reads the setting when it is made
        site.transport = WSGITransport(app=handler)
        phone, _ = site.enrol()
        early = site.client()
        early.post("/sign-in", email="mallory@example.com", password=PASSWORD)
        alice = site.client(early.cookie).sign_in()
        assert not is_in(alice)
        site.clock.advance(phone.period)
        alice.post("/sign-in/code", code=phone.code())
        assert is_in(alice)


def test_a_session_that_was_there_before_ends_with_the_password(site: DjangoSite) -> None:
    """Whoever was signed in in this browser is out when somebody else's password is given, though a code is still owed."""
    site.enrol()
    User.objects.create_user("mallory@example.com", "mallory@example.com", PASSWORD)
    browser = site.client()
    browser.post("/sign-in", email="mallory@example.com", password=PASSWORD)
    before = browser.cookie
    assert 200 == browser.get(TAB).status_code
    browser.sign_in()
    assert [False, False] == [is_in(browser), is_in(site.client(before))]
    assert not Session.objects.filter(session_key=before).exists()


def test_half_signed_in_opens_nothing(site: DjangoSite) -> None:
    """Between password and code no address does anything, be it the site's or the admin's."""
    phone, codes = site.enrol()
    half = site.client().sign_in()
    cookie = half.cookie
    for path in (*PAGES, "/", "/admin/", "/admin/auth/user/"):
        assert "/sign-in/code" == half.get(path).headers["Location"], path
    assert cookie == half.cookie, "looking changes nothing"
    posts = ["add", "password", "set-up", "set-up/cancel", "codes-saved", "sign-out-elsewhere", "forget-browser"]
    for path in (f"{TAB}/{each}" for each in (*posts, *CHANGES)):
        assert "/sign-in/code" == half.post(path, saved="yes", code=codes[0]).headers["Location"], path
    assert 10 == site.two_factor.status(site.user_id).recovery_codes_remaining
    assert 200 == half.get("/sign-in/code").status_code
    site.clock.advance(600)
    assert "/sign-in?reason=expired" == half.get(TAB).headers["Location"]
    assert phone


def test_every_view_asks_unless_it_is_for_everybody(site: DjangoSite) -> None:
    """Nothing but the three pages of signing in, and the admin's own, answers a visitor; none of them makes a session."""
    from django.urls import get_resolver

    open_to_all = {
        str(pattern.pattern)
        for pattern in get_resolver().url_patterns
        if not getattr(getattr(pattern, "callback", None), "login_required", True)
    }
    assert {"sign-in", "sign-in/code", "sign-out"} == open_to_all
    for path in (*PAGES, "/", "/admin/", "/sign-in", "/sign-in/code", "/nowhere"):
        assert SESSION not in str(site.client().get(path).headers.get("Set-Cookie")), path
    assert 0 == Session.objects.count()


def test_copied_and_planted_sessions(site: DjangoSite) -> None:
    """An id from before signing in is worthless after it, and a copy after signing out; so is one of another user."""
    phone, _ = site.enrol()
    User.objects.create_user("mallory@example.com", "mallory@example.com", PASSWORD)
    mallory = site.client()
    mallory.post("/sign-in", email="mallory@example.com", password=PASSWORD)
    planted = mallory.cookie
    alice = site.client(planted).sign_in(phone)
    assert [True, False] == [is_in(alice), is_in(site.client(planted))]
    copy = alice.cookie
    alice.post("/sign-out")
    assert not is_in(site.client(copy))

    alice.sign_in(phone)
    stolen = Session.objects.get(session_key=alice.cookie).get_decoded()
    theirs = site.client()
    theirs.post("/sign-in", email="mallory@example.com", password=PASSWORD)
    session = Session.objects.get(session_key=theirs.cookie)
    assert session.get_decoded()["_auth_user_id"] != stolen["_auth_user_id"]
    forged = {**session.get_decoded(), **{key: stolen[key] for key in stolen if key != "twofa"}}
    Session.objects.save(session.session_key, forged, session.expire_date)
    assert 302 == theirs.get(TAB).status_code, "Django names Alice, and our state is Mallory's"


def test_async_views_are_no_way_in(site: DjangoSite) -> None:
    """Neither does `await alogin(…)` sign anybody in, nor is `await request.auser()` anybody but `request.user`."""

    @login_not_required
    @transaction.non_atomic_requests
    async def show(request: Any) -> HttpResponse:
        if request.GET.get("enter"):
            await alogin(request, site.alice)
        user = await request.auser()
        return HttpResponse(f"private: {user.email}" if user.is_authenticated else "nobody")

    async def ask(client: Any, path: str) -> Any:
        answer = await client.get(path, secure=True)
        return answer.headers.get("Location") or answer.content.decode()

    urls = Careless(site)
    urls.urlpatterns.insert(0, address("async", show))
    with override_settings(ROOT_URLCONF=urls):
        early = AsyncClient()
        assert "private: alice@example.com" == asyncio.run(ask(early, "/async?enter=yes"))
        site.enrol()
        assert "nobody" == asyncio.run(ask(early, "/async"))
        late = AsyncClient()
        assert "/sign-in/code" == asyncio.run(ask(late, "/async?enter=yes"))
        assert "nobody" == asyncio.run(ask(late, "/async"))


# --- ATOMIC_REQUESTS ------------------------------------------------------------------------------------------------


def test_atomic_requests_undo_no_count(site: DjangoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: five wrong codes in views that fail, and so are rolled back, start a wait like any other."""
    phone, _ = site.enrol()
    half = site.client().sign_in()

    def fail(*_: Any, **__: Any) -> None:
        User.objects.create_user("trace")
        raise RuntimeError

    monkeypatch.setattr("django_site.sign_in.show_again", fail)
    for _ in range(5):
        assert 500 == half.post("/sign-in/code", code=phone.wrong_code()).status_code
    assert not User.objects.filter(username="trace").exists(), "the views were rolled back"
    monkeypatch.undo()
    assert 429 == half.post("/sign-in/code", code=phone.code()).status_code


def test_a_spent_code_stays_spent(site: DjangoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: a view that fails after the code was accepted signs nobody in, and the code is not accepted again."""
    phone, _ = site.enrol()
    half = site.client().sign_in()
    site.clock.advance(phone.period)
    monkeypatch.setattr("django_site.sign_in.enter", lambda *_, **__: 1 / 0)
    assert 500 == half.post("/sign-in/code", code=phone.code()).status_code
    monkeypatch.undo()
    assert not is_in(half)
    assert "problem=code_reused" in half.post("/sign-in/code", code=phone.code()).headers["Location"]
    site.clock.advance(phone.period)
    half.post("/sign-in/code", code=phone.code())
    assert is_in(half)


# --- what else the site does ----------------------------------------------------------------------------------------


def test_a_form_of_another_site_does_nothing(site: DjangoSite) -> None:
    """It is refused before anything is looked at, the admin's forms included."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    for path in (f"{TAB}/turn-off", "/sign-out", "/sign-in", "/admin/logout/"):
        answer = alice.send("POST", path, {}, {"Sec-Fetch-Site": "cross-site"})
        assert (403, True) == (answer.status_code, "This came from another site" in answer.text), path
    assert is_in(alice)


@pytest.mark.parametrize("path", [f"{TAB}/{each}" for each in CHANGES])
def test_no_change_without_a_proof(site: DjangoSite, path: str) -> None:
    """Ten minutes after the sign-in a change takes a code."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    site.clock.advance(600)
    generation = site.two_factor.status(site.user_id).generation
    assert [403, 422] == [alice.post(path, code=code).status_code for code in ("", phone.wrong_code())]
    assert generation == site.two_factor.status(site.user_id).generation


def test_a_new_password_ends_every_session_and_every_wait(site: DjangoSite) -> None:
    """Whichever page of Django's has changed it: the second factor hears of it."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    site.guess(phone, 5)
    assert site.two_factor.status(site.user_id).retry_at is not None
    site.alice.set_password("another long password")
    site.alice.save()
    assert site.two_factor.status(site.user_id).retry_at is None
    assert not is_in(alice)
    bob = User.objects.create_user("bob@example.com", "bob@example.com", PASSWORD)
    assert site.two_factor.status(str(bob.pk)).generation is None, "who never had one is not written down"
    assert "Incorrect code" in site.subjects


def test_a_user_who_is_switched_off_is_nobody(site: DjangoSite) -> None:
    """Between the two steps, and when signed in."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    half = site.client().sign_in()
    site.alice.is_active = False
    site.alice.save()
    assert not is_in(alice)
    site.clock.advance(phone.period)
    half.post("/sign-in/code", code=phone.code())
    assert not is_in(half)


def test_what_is_broken_lets_nobody_in(site: DjangoSite) -> None:
    """A damaged record, and a store that is down: nobody is in, everybody can leave."""
    from django_project import sql

    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    sql("twofa", "UPDATE twofa_record SET document = substr(document, 1, length(document) - 9) || 'AAAAAAAAA'")
    client = site.client()
    answers = [client.post("/sign-in", email=EMAIL, password=PASSWORD), alice.get(TAB)]
    assert [(503, True)] * 2 == [
        (each.status_code, "second factor can&#39;t be checked" in each.text) for each in answers
    ]
    sql("twofa", "ALTER TABLE twofa_record RENAME TO away")
    try:
        assert "/sign-in" == alice.post("/sign-out").headers["Location"]
        answer = client.post("/sign-in", email=EMAIL, password=PASSWORD)
        assert (500, True, False) == (answer.status_code, "went wrong" in answer.text, "twofa_record" in answer.text)
    finally:
        sql("twofa", "ALTER TABLE away RENAME TO twofa_record")
    assert [False, False] == [is_in(alice), is_in(client)]


def test_every_answer_has_the_headers_and_none_is_cached(site: DjangoSite) -> None:
    """Pages, redirects and errors alike; Django's admin keeps its own scripts."""
    phone, _ = site.enrol()
    alice = site.client().sign_in(phone)
    for path in (*PAGES, "/nowhere", "/", "/admin/"):
        headers = alice.get(path).headers
        assert "no-store" == headers["Cache-Control"], path
        assert path == "/admin/" or headers["Content-Security-Policy"].startswith("default-src 'none'"), path


def test_the_checks_find_nothing(site: DjangoSite) -> None:
    """`manage.py check` is content with the example, its migrations included."""
    import io

    from django.core import checks
    from django.core.management import call_command

    out = io.StringIO()
    assert [] == [each for each in checks.run_checks(databases=["twofa"]) if each.id != "twofa.readable_by_others"], (
        "the file in the tests is made by the tests"
    )
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    site.enrol()
    call_command("twofa", "status", site.user_id, "--json", stdout=out)
    assert "active" == json.loads(out.getvalue())["state"]


# --- in a browser ---------------------------------------------------------------------------------------------------


@in_browser
@pytest.mark.heavy
def test_the_walk_through_every_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same screens as of the other examples, by clicks in a real Chromium and with the QR code read off the screen."""
    from screenshots import tour

    # Playwright runs an event loop in this thread, in which Django would refuse to look at a database.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with chromium() as browser, DjangoServer().serve() as server:
        if browser is None:
            not_here(*NO_CHROMIUM)
        site = server.new_site(tmp_path)
        window = {"width": 360, "height": 640}
        alice = Visitor(site, browser.new_context(locale="en-GB", timezone_id="UTC", viewport=window), special=True)
        seen = {screen for screen in tour(alice) if not alice.too_wide()}
        alice.open("/admin/")
        assert "/sign-in/code" in alice.page.url, "the tour ends half signed in"
        alice.leave()
        site.close()
    assert (21, []) == (len(seen), alice.complaints)
    assert "Authenticator app added" in site.subjects
