"""The application of `docs/add-to-flask.md`, as a reader builds it, does what the page says and lets nobody past."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest
from pages import ROOT, run_page
from support import Phone

from twofa import KeyRing, TwoFactor
from twofa.stores import SQLiteStore
from twofa.testing import FOR_TESTS_ONLY, Clock

if TYPE_CHECKING:
    from pathlib import Path

EMAIL, PASSWORD = "alice@example.com", "correct horse battery staple"


class Reader:
    """The application, and a browser in front of it."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names, self.app = names, names["app"]
        self.clock = Clock()
        self.two_factor = TwoFactor(
            SQLiteStore("twofa.db"),
            keys=KeyRing.from_env("TWOFA_KEYS"),
            issuer="Example",
            policy=FOR_TESTS_ONLY,
            clock=self.clock,
        )
        names["two_factor"] = self.two_factor  # as docs/testing.md says for an object that was made at import
        self.browser = self.app.test_client()
        self.seen = ""

    def get(self, path: str) -> Any:
        return self._seen(self.browser.get(path, base_url="https://localhost"))

    def post(self, path: str, **form: str) -> Any:
        return self._seen(self.browser.post(path, base_url="https://localhost", data=form))

    def _seen(self, answer: Any) -> Any:
        self.seen = answer.text
        return answer

    def password(self) -> Any:
        return self.post("/sign-in", email=EMAIL, password=PASSWORD)

    def enrol(self) -> tuple[Phone, list[str]]:
        self.password()
        self.post("/two-factor/add")
        return self.confirm()

    def confirm(self) -> tuple[Phone, list[str]]:
        self.get("/two-factor/set-up")
        key = re.search(r"<p>([A-Z2-7 ]+)</p>", self.seen)
        assert key
        phone = Phone(f"otpauth://totp/E?secret={html.unescape(key[1]).replace(' ', '')}", self.clock)
        codes = self.post("/two-factor/set-up", code=phone.code()).text
        self.clock.advance(30)
        return phone, re.findall(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3,}", codes)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(run_page(ROOT / "docs" / "add-to-flask.md", tmp_path, monkeypatch))


def test_the_whole_way(reader: Reader) -> None:
    """Enrol, sign in with either kind of code, change everything, trust the browser, turn it off."""
    phone, codes = reader.enrol()
    assert 10 == len(codes)
    assert "Have you saved" in reader.get("/").text
    reader.post("/two-factor/codes-saved")
    assert "Have you saved" not in reader.get("/").text

    reader.post("/sign-out")
    assert "/code" == reader.password().location
    assert 422 == reader.post("/code", code=phone.wrong_code()).status_code
    assert "/" == reader.post("/code", code=codes[0]).location
    assert 200 == reader.post("/two-factor/reset-codes").status_code
    reader.post("/two-factor/codes-saved")

    assert "/two-factor/set-up" == reader.post("/two-factor/replace").location
    new, codes = reader.confirm()
    reader.post("/two-factor/codes-saved")
    assert new.secret != phone.secret
    assert "/two-factor/set-up" == reader.post("/two-factor/reset-app").location
    newest, codes = reader.confirm()
    reader.post("/sign-out")
    reader.password()
    reader.post("/code", code=newest.code(), trust="on")
    reader.post("/sign-out")
    assert "/" == reader.password().location, "the browser is trusted"
    assert 403 == reader.post("/two-factor/turn-off").status_code
    assert "/" == reader.post("/two-factor/turn-off", code=codes[0]).location
    assert not reader.two_factor.status("user-42").required


def test_every_refusal_of_a_code_says_what_to_do(reader: Reader) -> None:
    """A missing field, a code of an app that is gone and a wait show their sentence beside the field."""
    phone, codes = reader.enrol()
    reader.post("/two-factor/codes-saved")
    assert 422 == reader.post("/two-factor/turn-off", code=phone.wrong_code()).status_code
    assert "the code is not right" in reader.seen
    reader.post("/sign-out")
    reader.password()
    assert 422 == reader.post("/code").status_code
    assert "does not have the form of a code" in reader.seen

    reader.post("/code", code=codes[0])
    reader.post("/two-factor/reset-app")
    reader.post("/sign-out")
    reader.password()
    assert 409 == reader.post("/code", code=phone.code()).status_code
    assert "use a recovery code" in reader.seen

    answers = [reader.post("/code", code="-".join(["2222"] * 6)) for _ in range(6)]
    assert (422, 429) == (answers[0].status_code, answers[-1].status_code)
    assert "no code is looked at before" in reader.seen
    assert answers[-1].headers["Retry-After"].endswith("GMT")


def test_a_set_up_that_waits_can_be_gone_on_with(reader: Reader) -> None:
    """The account's page says that the old app is gone, and links to the set-up of the new one."""
    reader.enrol()
    reader.post("/two-factor/codes-saved")
    assert "/two-factor/set-up" not in reader.get("/").text
    reader.post("/two-factor/reset-app")
    assert "does not work any more" in reader.get("/").text
    assert 'href="/two-factor/set-up"' in reader.seen
    reader.confirm()
    assert "does not work any more" not in reader.get("/").text
    assert 'href="/two-factor/set-up"' not in reader.seen


def test_the_app_shows_the_users_own_name(reader: Reader) -> None:
    """Each set-up has the name of who is signed in, and nobody else's."""
    reader.names["USERS"]["bob@example.com"] = ("user-43", "another password")
    reader.names["SET_UP"] = "{{ setup.uri }}"
    reader.post("/sign-in", email="bob@example.com", password="another password")
    reader.post("/two-factor/add")
    assert "Example:bob@example.com?" in reader.get("/two-factor/set-up").text


def test_the_password_leads_nowhere_without_a_code(reader: Reader) -> None:
    """No address of the application does anything in between, by GET or by POST."""
    phone, codes = reader.enrol()
    reader.post("/sign-out")
    reader.password()
    before = reader.two_factor.status("user-42")
    rules = [rule for rule in reader.app.url_map.iter_rules() if rule.endpoint not in {"static", "sign_in", "sign_out"}]
    paths = {
        rule.rule.replace("<any('replace', 'reset-codes', 'reset-app', 'turn-off'):change>", "turn-off")
        for rule in rules
    }
    for path in sorted(paths - {"/code", "/sign-in"}):
        for answer in (reader.get(path), reader.post(path, code=codes[0])):
            assert answer.status_code == 405 or answer.location == "/code", path
    assert before == reader.two_factor.status("user-42")
    assert "/" == reader.post("/code", code=phone.code()).location


def test_a_form_of_another_site_does_nothing(reader: Reader) -> None:
    """It is refused before anything is looked at."""
    reader.enrol()
    answer = reader.browser.post(
        "/two-factor/turn-off", base_url="https://localhost", headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert 403 == answer.status_code
    assert reader.two_factor.status("user-42").required


# --- with flask-login ------------------------------------------------------------------------------------------------


class Notes(Reader):
    """The application of section 7, whose users may be remembered from before."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        self.app = names["notes"]
        self.browser = self.app.test_client()

        @self.app.get("/as-it-was/<user_id>")
        def sign_in_as_it_was(user_id: str) -> str:
            names["login_user"](names["load"](user_id), remember=True)
            return ""

    def enrol(self) -> tuple[Phone, list[str]]:
        setup = self.two_factor.begin_setup("user-42", account_name=EMAIL)
        phone = Phone(setup.uri, self.clock)
        codes = self.two_factor.confirm_setup("user-42", phone.code(), handle=setup.handle)
        self.clock.advance(30)
        return phone, list(codes)

    def who(self) -> str | None:
        answer = self.get("/")
        return answer.text.removeprefix("The notes of ") if answer.status_code == 200 else None


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    return Notes(run_page(ROOT / "docs" / "add-to-flask.md", tmp_path, monkeypatch))


def test_login_required_asks_for_the_code_too(notes: Notes) -> None:
    """`@login_required` alone opens nothing for the password, and everything after the code."""
    phone, _ = notes.enrol()
    assert "/code" == notes.password().location
    assert notes.who() is None
    assert "/" == notes.post("/code", code=phone.code()).location
    assert "user-42" == notes.who()
    notes.post("/sign-out")
    assert notes.who() is None


def test_a_wrong_code_is_refused_beside_its_field(notes: Notes) -> None:
    """So is a missing one, and a code from someone who gave no password gets an answer too."""
    phone, _ = notes.enrol()
    assert 401 == notes.post("/code", code=phone.code()).status_code
    notes.password()
    assert 422 == notes.post("/code").status_code
    assert 422 == notes.post("/code", code=phone.wrong_code()).status_code
    assert "the code is not right" in notes.seen
    assert notes.who() is None


def test_another_way_in_is_none(notes: Notes) -> None:
    """Whom flask-login alone signs in, or remembers from before, is nobody once there is a second factor."""
    notes.get("/as-it-was/user-42")
    assert "user-42" == notes.who(), "without a second factor it is as it was"
    notes.enrol()
    assert [None, None] == [notes.who(), notes.who()]
    notes.get("/as-it-was/user-42")
    assert notes.who() is None


def test_nobody_is_remembered_after_signing_out(notes: Notes) -> None:
    """Neither who signs out, nor who was signed in before another one's password."""
    notes.get("/as-it-was/user-43")
    notes.post("/sign-out")
    assert notes.who() is None

    phone, _ = notes.enrol()
    notes.get("/as-it-was/user-43")
    assert "user-43" == notes.who()
    notes.password()
    assert notes.who() is None
    notes.post("/code", code=phone.code())
    assert "user-42" == notes.who()


def test_signing_out_of_both_works_while_the_store_is_down(notes: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else fails then, and lets nobody in."""
    phone, _ = notes.enrol()
    notes.password()
    notes.post("/code", code=phone.code())

    def fail(_user_id: str) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(notes.two_factor._store, "load", fail)
        assert 500 == notes.get("/").status_code
        assert 200 == notes.post("/sign-out").status_code
    assert notes.who() is None
