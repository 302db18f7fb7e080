"""The project of `docs/add-to-django.md`, as a reader builds it; run as a program it walks through it.

Each block of the page names its file in the first line. A file that `startproject` or an earlier block has made is
continued.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "correct horse battery staple"
SIGN_IN = """
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.urls import reverse_lazy
urlpatterns += [
    path("sign-in", LoginView.as_view(next_page="/account"), name="sign-in"),
    path("password", PasswordChangeView.as_view(success_url=reverse_lazy("sign-in"))),
]
"""
SETTINGS = """
LOGIN_URL = "/sign-in"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""
FORM = "{{ form.as_p }}<form method=post>{% csrf_token %}</form>"


def build(folder: Path, *, atomic: bool) -> None:
    """Make the project: what `startproject` makes, a sign-in page of the reader's own, and the page's blocks."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", folder], check=True)
    (folder / "mysite" / "templates" / "registration").mkdir(parents=True)
    (folder / "mysite" / "templates" / "registration" / "login.html").write_text(FORM)
    _add(folder / "mysite" / "urls.py", SIGN_IN)
    _add(folder / "mysite" / "settings.py", SETTINGS)
    page = (ROOT / "docs" / "add-to-django.md").read_text(encoding="utf-8")
    blocks = re.findall(
        r"^```(?:python|html)\n(?:# |\{# )([\w/.]+)(?: #\})?\n(.*?)^```", page, re.MULTILINE | re.DOTALL
    )
    assert 9 == len(blocks)
    for name, text in blocks:
        _add(folder / name, text)
    if atomic:
        stores = (ROOT / "docs" / "stores-django.md").read_text(encoding="utf-8")
        (databases,) = re.findall(r"^```python\n(DATABASES = .*?)^```", stores, re.MULTILINE | re.DOTALL)
        _add(folder / "mysite" / "settings.py", databases.partition("\n\n\nclass")[0])
        _add(folder / "mysite" / "settings.py", 'DATABASE_ROUTERS = ["mysite.routers.TwoFactorRouter"]')
        _add(folder / "mysite" / "routers.py", databases.partition("}\n\n\n")[2])
        second_factor = folder / "mysite" / "second_factor.py"
        second_factor.write_text(second_factor.read_text().replace("DjangoStore()", 'DjangoStore(using="twofa")'))


def _add(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"\n{text}\n")


class Reader:
    """A browser in front of it."""

    def __init__(self, clock: Any = None) -> None:
        from django.test import Client
        from mysite.second_factor import two_factor

        from twofa.testing import FOR_TESTS_ONLY, Clock

        self.two_factor, self.clock, self.browser = two_factor, clock or Clock(), Client(SERVER_NAME="localhost")
        two_factor._settings._clock = self.clock
        two_factor._settings.policy = FOR_TESTS_ONLY

    def get(self, path: str) -> Any:
        return self.browser.get(path)

    def post(self, path: str, **form: str) -> Any:
        return self.browser.post(path, form)

    def password(self) -> Any:
        return self.post("/sign-in", username="alice", password=PASSWORD)

    def confirm(self) -> tuple[Any, list[str]]:
        from support import Phone

        key = re.search(r"<p>([A-Z2-7 ]+)</p>", self.get("/account/set-up").content.decode())
        assert key
        phone = Phone(f"otpauth://totp/E?secret={key[1].replace(' ', '')}", self.clock)
        codes = self.post("/account/set-up", code=phone.code()).content.decode()
        self.clock.advance(30)
        return phone, re.findall(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3,}", codes)


def walk() -> None:
    """Enrol, sign in with either kind of code, change everything, trust the browser, turn it off; try every way past."""
    from django.contrib.auth import get_user
    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.test import Client

    alice = User.objects.create_superuser("alice", "alice@example.com", PASSWORD)
    reader = Reader()
    assert "/sign-in" == reader.get("/account").url
    assert "/account" == reader.password().url
    assert "/account/set-up" == reader.post("/account/add").url
    assert b'href="/account/set-up"' in reader.get("/account").content
    assert 422 == reader.post("/account/set-up").status_code
    phone, codes = reader.confirm()
    assert 10 == len(codes)
    assert b"Have you saved" in reader.get("/account").content
    reader.post("/account/codes-saved")
    assert b"Have you saved" not in reader.get("/account").content
    assert 200 == reader.get("/admin/").status_code

    ways_past(reader, alice)
    reader.post("/admin/logout/")
    assert "/account/code" == reader.password().url
    assert 422 == reader.post("/account/code", code=phone.wrong_code()).status_code
    assert 422 == reader.post("/account/code").status_code
    assert "/account" == reader.post("/account/code", code=codes[0]).url
    assert 200 == reader.post("/account/reset-codes").status_code
    reader.post("/account/codes-saved")
    assert "/account/set-up" == reader.post("/account/replace").url
    new, codes = reader.confirm()
    reader.post("/account/codes-saved")
    assert new.secret != phone.secret
    assert "/account/set-up" == reader.post("/account/reset-app").url
    assert b"does not work any more" in reader.get("/account").content
    refusals(alice, codes, reader.clock)
    newest, codes = reader.confirm()

    reader.post("/admin/logout/")
    where_it_was_to_lead(newest, reader.clock)
    reader.clock.advance(30)
    reader.password()
    reader.post("/account/code", code=newest.code(), trust="on")
    reader.post("/admin/logout/")
    assert "/account" == reader.password().url, "the browser is trusted"
    assert 403 == reader.post("/account/turn-off").status_code
    assert "/account" == reader.post("/account/turn-off", code=codes[0]).url
    assert not reader.two_factor.status(str(alice.pk)).required

    reader.post("/account/add")
    reader.confirm()
    new = "another long password"
    assert "/sign-in" == reader.post("/password", old_password=PASSWORD, new_password1=new, new_password2=new).url
    assert "/sign-in" == reader.get("/account").url, "a new password ends every session"
    alice.refresh_from_db()
    forced = Client(SERVER_NAME="localhost")
    forced.force_login(alice)
    assert 302 == forced.get("/admin/").status_code
    request = HttpRequest()
    request.session = forced.session
    assert alice == get_user(request), "what the page says of code that asks Django alone"


def refusals(alice: Any, codes: list[str], clock: Any) -> None:
    """Give codes in a new browser while the app is gone: each refusal says what to do."""
    reader = Reader(clock)
    reader.password()
    answer = reader.post("/account/code", code="123456")
    assert 409 == answer.status_code
    assert b"use a recovery code" in answer.content
    wrong = "".join("3" if symbol == "2" else "2" if symbol != "-" else "-" for symbol in codes[0])
    answers = [reader.post("/account/code", code=wrong) for _ in range(6)]
    assert (422, 429) == (answers[0].status_code, answers[-1].status_code)
    assert b"no code is looked at before" in answers[-1].content
    assert answers[-1].headers["Retry-After"].endswith("GMT")


def where_it_was_to_lead(phone: Any, clock: Any) -> None:
    """Sign in on a page that has `?next=`: the code leads there, and to no other site."""
    reader = Reader(clock)
    for then, leads in (("/admin/", "/admin/"), ("https://evil.example/", "/account"), ("nonsense", "nonsense")):
        reader.browser.cookies.clear()
        code_page = reader.post("/admin/login/", username="alice", password=PASSWORD, next=then).url
        assert code_page.startswith("/account/code?next=")
        assert leads == reader.post(code_page, code=phone.code()).url
        clock.advance(30)


def ways_past(reader: Reader, alice: Any) -> None:
    """Try the admin's own page, a login that nobody has asked, and every address in between."""
    from django.test import Client

    before = reader.two_factor.status(str(alice.pk))
    forced = Client(SERVER_NAME="localhost")
    forced.force_login(alice)
    by_admin = Client(SERVER_NAME="localhost")
    answer = by_admin.post("/admin/login/?next=/admin/", {"username": "alice", "password": PASSWORD})
    assert "/account/code?next=%2Fadmin%2F" == answer.url
    for half in (forced, by_admin):
        for path in ("/admin/", "/account", "/account/set-up"):
            assert 302 == half.get(path).status_code, path
        for path in ("add", "set-up", "codes-saved", "replace", "reset-codes", "reset-app", "turn-off"):
            assert 302 == half.post(f"/account/{path}", {"code": "123456"}).status_code, path
    assert before == reader.two_factor.status(str(alice.pk))


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    import django
    from django.core.management import call_command

    django.setup()
    for alias in django.conf.settings.DATABASES:
        call_command("migrate", database=alias, verbosity=0)
        call_command("check", databases=[alias], fail_level="WARNING")
    walk()
