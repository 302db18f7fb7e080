"""The Administration page, by clicks and keys in a real Chromium, with a phone that is not our own code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("flask", reason="flask is not installed")

from flask_admin.__main__ import PASSWORD

from browser import ROOT, Site, Visitor, chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        if found is None:
            pytest.skip("no Chromium: apt-get install chromium, or python -m playwright install chromium")
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path).serve() as site:
        yield site


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """Open one more browser; at the end, none of them may have complained, of a broken policy for instance."""
    visitors: list[Visitor] = []

    def new(**options: Any) -> Visitor:
        visitors.append(Visitor(site, browser.new_context(**options)))
        return visitors[-1]

    yield new
    for visitor in visitors:
        visitor.context.close()
    assert [] == [complaint for visitor in visitors for complaint in visitor.complaints]


@pytest.fixture
def stranger(visit: Callable[..., Visitor]) -> Visitor:
    """Alice, before she signs in."""
    return visit()


@pytest.fixture
def alice(visit: Callable[..., Visitor]) -> Visitor:
    """Alice, signed in with her password."""
    visitor = visit()
    visitor.password()
    return visitor


def test_enrol_and_sign_in(alice: Visitor, site: Site) -> None:
    """From no second factor to signing in with one."""
    assert "Off" in alice.text()
    phone, codes = alice.enrol()
    assert 10 == len(set(codes))
    assert "On since 15 January 2027" in alice.text()
    assert "10 recovery codes left" in alice.text()
    assert "Authenticator app added" in alice.text()

    alice.sign_out()
    alice.password()
    assert alice.field_is_focused()
    site.clock.advance(phone.period)
    alice.enter(phone.code())
    assert "On since 15 January 2027" in alice.text()


def test_recovery_code_works_once(stranger: Visitor, site: Site) -> None:
    """A recovery code signs in once; the second time the page says that it is spent and what to do."""
    _, codes = site.enrol()
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[3].lower())
    assert "9 recovery codes left" in stranger.text()

    stranger.sign_out()
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[3])
    assert "used already, and each works once. Cross it out and use another one." in stranger.alert().inner_text()
    assert stranger.field_is_focused()
    stranger.recovery(codes[4])
    assert "8 recovery codes left" in stranger.text()
    assert "Wrong codes since you last signed in: 1. Was that you?" in stranger.text()
    assert [True] * 2 == ["Recovery code used" == subject for _, subject, _ in site.mails[-2:]]


def test_spent_app_code_says_so(stranger: Visitor, site: Site) -> None:
    """The code that verified the set-up does not sign in as well."""
    phone, _ = site.enrol()
    stranger.password()
    stranger.enter(phone.code())
    assert "That code was used already" in stranger.alert().inner_text()
    assert "code-hint code-error" == stranger.page.locator("#code").get_attribute("aria-describedby")


def test_reset_recovery_codes(stranger: Visitor, site: Site) -> None:
    """Fresh from signing in no proof is asked for, later one is; old codes are dead, and other browsers signed out."""
    phone, old = site.enrol()
    stranger.sign_in(phone)
    stranger.click("Reset recovery codes")
    assert "stop working at once" in stranger.text()
    assert 0 == stranger.page.locator("#code").count()
    stranger.click("Reset recovery codes")
    second = stranger.codes()
    stranger.save_codes()
    assert not set(old) & set(second)

    stranger.click("Reset recovery codes")
    site.clock.advance(phone.period)
    stranger.enter("000000" if phone.code() != "000000" else "111111")
    assert "That code is not right" in stranger.alert().inner_text()
    stranger.enter(phone.code())
    third = stranger.codes()
    stranger.save_codes()

    stranger.sign_out()
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(second[0])
    assert "That recovery code is not right" in stranger.alert().inner_text()
    stranger.recovery(third[0])
    assert "9 recovery codes left" in stranger.text()


def test_proof_is_asked_for_after_ten_minutes(stranger: Visitor, site: Site) -> None:
    """The sign-in serves as a proof for ten minutes; after them the page asks, with the focus in the field."""
    phone, codes = site.enrol()
    stranger.sign_in(phone)
    site.clock.advance(600)
    stranger.click("Turn off")
    stranger.click("Turn off")
    assert "Please confirm that it is you." in stranger.alert().inner_text()
    assert stranger.field_is_focused()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[0])
    assert "Two-factor authentication is off" in stranger.text()


def test_reset_authenticator(alice: Visitor, site: Site) -> None:
    """The old phone is dead at once, recovery codes serve meanwhile, and a new phone can be set up later."""
    old, codes = alice.enrol()
    alice.click("Reset authenticator app")
    site.clock.advance(old.period)
    alice.enter(old.code())
    assert "Scan the QR code" in alice.text()
    alice.open()
    assert "Re-enrolment required" in alice.text()
    alice.sign_out()

    alice.password()
    assert "Your authenticator app was reset" in alice.text()
    alice.click("Use your authenticator app instead")
    site.clock.advance(old.period)
    alice.enter(old.code())
    assert "Your authenticator app was reset. Use a recovery code." in alice.alert().inner_text()
    alice.click("Use a recovery code instead")
    alice.recovery(codes[0])
    assert "Re-enrolment required" in alice.text()

    alice.click("Start again")  # the set-up that is under way was shown to a session that has ended
    alice.click("Continue")
    new, _ = alice.finish_setup()
    assert "On since" in alice.text()
    alice.sign_out()
    alice.sign_in(new)
    assert "10 recovery codes left" in alice.text()


def test_replace_keeps_the_old_one_until_the_new_one_is_verified(stranger: Visitor, site: Site) -> None:
    """During a replacement the old phone signs in; after it only the new one does."""
    old, _ = site.enrol()
    stranger.sign_in(old)
    stranger.click("Replace")
    stranger.click("Continue")
    stranger.open()
    assert "A replacement waits to be verified" in stranger.text()
    stranger.click("Continue set-up")
    new, _ = stranger.finish_setup()

    stranger.sign_out()
    stranger.password()
    site.clock.advance(old.period)
    stranger.enter(old.code())
    assert "That code is not right" in stranger.alert().inner_text()
    stranger.enter(new.code())
    assert "On since" in stranger.text()


def test_cancelled_replacement_changes_nothing(stranger: Visitor, site: Site) -> None:
    """Cancel leaves the app that is there."""
    phone, _ = site.enrol()
    stranger.sign_in(phone)
    stranger.click("Replace")
    stranger.click("Continue")
    stranger.click("Cancel set-up")
    assert "The set-up was cancelled. Nothing else has changed." in stranger.text()
    stranger.sign_out()
    stranger.sign_in(phone)
    assert "10 recovery codes left" in stranger.text()


def test_turn_off(stranger: Visitor, site: Site) -> None:
    """After turning it off the password alone signs in, the owner has a mail, and it can be set up again."""
    phone, _ = site.enrol()
    stranger.sign_in(phone)
    stranger.click("Turn off")
    stranger.click("Turn off")
    assert "Two-factor authentication is off" in stranger.text()
    stranger.sign_out()
    stranger.password()
    assert "Add authenticator app" in stranger.text()
    address, subject, text = site.mails[-1]
    assert ("alice@example.com", "Two-factor authentication turned off") == (address, subject)
    assert "If not, change your password" in text
    stranger.enrol()
    assert "On since" in stranger.text()


def test_five_wrong_codes_and_the_wait(stranger: Visitor, site: Site) -> None:
    """The fifth wrong code starts a wait: until when is shown, the right code does not help, and then it does."""
    phone, codes = site.enrol()
    stranger.password()
    for _ in range(5):
        stranger.enter(phone.wrong_code())
    assert re.search(r"Try again at 08:00:30 UTC, in 0:\d\d\.", stranger.alert().inner_text())
    assert stranger.alert_is_focused()
    assert "Wrong code" == site.mails[-1][1]

    stranger.enter(phone.code())
    assert "Too many wrong codes" in stranger.alert().inner_text()
    stranger.click("Use a recovery code instead")
    assert 0 == stranger.alert().count(), "each kind of code has its own wait"
    stranger.click("Use your authenticator app instead")
    assert "Too many wrong codes" in stranger.alert().inner_text()
    site.clock.advance(30)
    stranger.enter(phone.code())
    assert "Wrong codes since you last signed in: 5. Was that you?" in stranger.text()
    assert codes


def test_two_browsers_set_up_at_once(alice: Visitor, visit: Callable[..., Visitor], site: Site) -> None:
    """The later set-up wins, the earlier one is told so, and is signed out as soon as the later one is verified."""
    other = visit()
    other.password()
    alice.click("Add authenticator app")
    dead = alice.scan()
    site.clock.advance(1)
    other.click("Add authenticator app")
    alice.enter(dead.code())
    assert "started again in another browser" in alice.alert().inner_text()
    assert alice.alert_is_focused()
    alice.page.reload()
    alice.open("/administration/two-factor/set-up")
    assert "started again in another browser" in alice.alert().inner_text()

    other.finish_setup()
    alice.open()
    assert "You were signed out, because the two-factor authentication of your account was changed" in alice.text()
    assert "On since" in other.text()


def test_reset_signs_the_other_browser_out(alice: Visitor, visit: Callable[..., Visitor], site: Site) -> None:
    """A second signed-in browser is out when the authenticator is reset."""
    phone, _ = alice.enrol()
    other = visit()
    other.sign_in(phone)
    assert "On since" in other.text()
    site.clock.advance(phone.period)
    alice.click("Reset authenticator app")
    alice.enter(phone.code())
    other.page.reload()
    assert "You were signed out" in other.text()
    assert "Scan the QR code" in alice.text()


def test_reload_and_wrong_code_keep_the_qr_code(alice: Visitor) -> None:
    """The same secret is shown until it expires, and the manual key is that secret."""
    alice.click("Add authenticator app")
    first = alice.scan()
    alice.page.reload()
    assert first.code() == alice.scan().code()
    alice.enter(first.wrong_code())
    assert "That code is not right" in alice.alert().inner_text()
    assert alice.field_is_focused()
    assert first.code() == alice.scan().code()
    key = alice.page.locator("#manual-key span").all_inner_texts()
    assert {4} == {len(group) for group in key}
    alice.open()
    assert "Set-up unfinished" in alice.text()
    alice.click("Continue set-up")
    alice.enter(first.code())
    assert 10 == len(alice.codes())


def test_expired_setup(alice: Visitor, site: Site) -> None:
    """After ten minutes the code is refused, the page says why, and a click starts again."""
    alice.click("Add authenticator app")
    assert "This set-up expires at 08:10:00 UTC" in alice.text()
    phone = alice.scan()
    site.clock.advance(600)
    alice.enter(phone.code())
    assert "not finished in time" in alice.alert().inner_text()
    alice.page.reload()
    assert "not finished in time" in alice.alert().inner_text()
    alice.click("Start again")
    alice.finish_setup()
    assert "On since" in alice.text()


def test_last_recovery_code_and_a_new_phone(stranger: Visitor, site: Site) -> None:
    """Whoever signs in with the last recovery code is warned, and can still set up a new phone."""
    phone, codes = site.enrol()
    site.spend(codes[:5])
    warned = []
    for code in codes[5:]:
        stranger.password()
        stranger.click("Use a recovery code instead")
        stranger.recovery(code)
        warned.append("Without your phone and without a code you could not sign in" in stranger.text())
        if code != codes[-1]:
            stranger.sign_out()
    assert [False, True, True, True, True] == warned
    assert "No recovery codes left" in stranger.text()

    stranger.click("Reset authenticator app")
    stranger.click("Reset authenticator app")
    assert "Reset your recovery codes first." in stranger.alert().inner_text()
    stranger.click("Cancel")
    stranger.click("Replace")
    stranger.click("Continue")
    new, _ = stranger.finish_setup()
    assert "10 recovery codes left" in stranger.text()
    stranger.sign_out()
    stranger.sign_in(new)
    assert "On since" in stranger.text()
    assert phone.code() != new.code()


def test_codes_are_shown_once(alice: Visitor) -> None:
    """Neither Back nor Reload shows the codes again, and the overview asks whether they were saved."""
    alice.click("Add authenticator app")
    alice.enter(alice.scan().code())
    code = alice.codes()[0]
    alice.page.on("dialog", lambda dialog: dialog.accept())
    alice.page.reload()
    assert "Have you saved your recovery codes?" in alice.text()
    assert code not in alice.page.content()
    alice.page.go_back()
    assert code not in alice.page.content()


def test_back_after_saving(alice: Visitor) -> None:
    """The back button does not lead to the codes."""
    alice.click("Add authenticator app")
    alice.enter(alice.scan().code())
    code = alice.codes()[0]
    alice.save_codes()
    for _ in range(3):
        alice.page.go_back()
        assert code not in alice.page.content()
        assert "confirm form resubmission" not in alice.page.content().lower()


def test_leaving_the_codes_warns(alice: Visitor) -> None:
    """A click elsewhere asks first; once the codes are said to be saved, nothing asks."""
    alice.click("Add authenticator app")
    alice.enter(alice.scan().code())
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    alice.page.on("dialog", dismiss)
    alice.page.get_by_role("heading", name="Your recovery codes").click()
    with alice.page.expect_event("dialog"):
        alice.page.get_by_role("link", name="Account", exact=True).click(no_wait_after=True)
    assert ["beforeunload"] == asked
    assert 10 == len(alice.codes())
    alice.save_codes()
    alice.page.wait_for_url("**/two-factor")
    assert ["beforeunload"] == asked


def test_copy_download_print(alice: Visitor) -> None:
    """Copy and download give the ten codes, one a line; on paper there is nothing else."""
    alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    alice.click("Add authenticator app")
    phone = alice.scan()
    alice.press("Copy key")
    alice.page.get_by_text("Copied.").wait_for()
    key = "".join(alice.page.locator("#manual-key span").all_inner_texts())
    assert key == alice.page.evaluate("navigator.clipboard.readText()")
    alice.enter(phone.code())
    codes = alice.codes()
    alice.press("Copy")
    alice.page.get_by_text("Copied.").wait_for()
    assert "\n".join(codes) == alice.page.evaluate("navigator.clipboard.readText()")

    with alice.page.expect_download() as download:
        alice.press("Download")
    assert "recovery-codes.txt" == download.value.suggested_filename
    assert "\n".join(codes) + "\n" == download.value.path().read_text()

    alice.page.evaluate("window.print = () => { window.printed = true }")
    alice.press("Print")
    assert alice.page.evaluate("window.printed")
    alice.page.emulate_media(media="print")
    printed = [line for line in alice.page.locator("body").inner_text().splitlines() if line.strip()]
    assert ["Recovery codes for alice@example.com at Meridian. Each works once.", *codes] == printed


def test_without_javascript(visit: Callable[..., Visitor], site: Site) -> None:
    """Everything but copy, print and the countdown works without JavaScript."""
    alice = visit(java_script_enabled=False, accept_downloads=True)
    alice.password()
    alice.click("Add authenticator app")
    phone = alice.scan()
    assert 0 == alice.page.get_by_role("button", name="Copy key").count()
    alice.enter(phone.code())
    codes = alice.codes()
    with alice.page.expect_download() as download:
        alice.press("Download")
    assert "\n".join(codes) + "\n" == download.value.path().read_text()
    alice.save_codes()
    alice.sign_out()
    alice.password()
    for _ in range(5):
        alice.enter(phone.wrong_code())
    assert "Try again at 08:00:30 UTC" in alice.alert().inner_text()
    site.clock.advance(30)
    alice.enter(phone.code())
    alice.click("Reset authenticator app")
    alice.click("Reset authenticator app")
    alice.finish_setup()
    assert "On since" in alice.text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_every_screen_is_accessible(visit: Callable[..., Visitor], scheme: str, width: int) -> None:
    """axe-core finds nothing on any screen, wide or narrow, light or dark, and none of them scrolls sideways."""
    from screenshots import tour

    alice = visit(color_scheme=scheme, viewport={"width": width, "height": 780})
    seen = []
    for name in tour(alice):
        seen.append(name)
        assert [] == alice.violations(), name
        assert not alice.too_wide(), name
    assert 12 <= len(seen)


def test_headers_and_cookie(alice: Visitor, site: Site) -> None:
    """Pages are not cached, run no foreign or inline script, and the cookie is out of reach of both."""
    reply = alice.page.goto(site.address + "/administration/two-factor")
    assert reply is not None
    assert "no-store" == reply.headers["cache-control"]
    assert "default-src 'none'; script-src 'self'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    (cookie,) = alice.context.cookies()
    assert ("__Host-session", True, True, "Lax") == (
        cookie.get("name"),
        cookie.get("secure"),
        cookie.get("httpOnly"),
        cookie.get("sameSite"),
    )


def test_the_session_id_changes_at_each_step_up(visit: Callable[..., Visitor], site: Site) -> None:
    """Each step up has an id of its own, and an id that was left behind, or signed out, opens nothing."""
    alice = visit()
    ids: list[str] = []

    def note() -> None:
        ids.append(alice.context.cookies()[0].get("value", ""))

    alice.open()
    note()
    alice.password()
    note()
    phone, _ = alice.enrol()
    note()
    alice.sign_out()
    alice.password()
    note()
    site.clock.advance(phone.period)
    alice.enter(phone.code())
    note()
    alice.sign_out()
    assert 5 == len(set(ids))
    for old in ids:
        cookie = {"Cookie": f"__Host-session={old}"}
        reply = site.app.test_client(use_cookies=False).get("/administration/two-factor", headers=cookie)
        assert (302, "/sign-in") == (reply.status_code, reply.headers["Location"])


def test_a_forged_form_is_refused(alice: Visitor, site: Site) -> None:
    """A POST without the session's token changes nothing, and a GET never does."""
    path = site.address + "/administration/two-factor/add"
    reply = alice.context.request.post(path, form={"csrf": "guessed"})
    assert 400 == reply.status
    alice.open("/administration/two-factor/add")
    alice.open("/administration/two-factor/set-up")
    assert "Off" in alice.text()


def test_wrong_password(visit: Callable[..., Visitor]) -> None:
    """A wrong password and an unknown address read the same, and the second step cannot be reached."""
    alice = visit()
    answers = []
    for address, password in (("alice@example.com", "wrong"), ("nobody@example.com", PASSWORD)):
        alice.open("/sign-in")
        alice.page.get_by_label("E-mail address").fill(address)
        alice.page.get_by_label("Password").fill(password)
        alice.click("Sign in")
        answers.append(alice.alert().inner_text())
    assert 1 == len(set(answers))
    alice.open("/sign-in/code")
    assert alice.page.url.endswith("/sign-in")


def test_idle_session_ends(alice: Visitor, site: Site) -> None:
    """After an hour without a request the password is asked for again."""
    site.clock.advance(3600)
    alice.open("/administration/two-factor")
    assert alice.page.url.endswith("/sign-in")


def test_damaged_record_lets_nobody_in(alice: Visitor, site: Site) -> None:
    """A record that does not open never reads as an account without a second factor."""
    import sqlite3
    from contextlib import closing

    alice.enrol()
    alice.sign_out()
    with closing(sqlite3.connect(site.database)) as connection, connection:
        connection.execute(
            "UPDATE twofa_record SET document = substr(document, 1, length(document) - 9) || 'AAAAAAAAA'"
        )
    alice.open()
    alice.page.get_by_label("E-mail address").fill("alice@example.com")
    alice.page.get_by_label("Password").fill(PASSWORD)
    alice.click("Sign in")
    assert "Your second factor cannot be checked" in alice.text()
    alice.open("/administration/two-factor")
    assert alice.page.url.endswith("/sign-in")


def test_the_command_starts_it_and_prints_how_to_get_in(visit: Callable[..., Visitor]) -> None:
    """`make web` prints the address and the demo's password, and with them one gets in; Ctrl-C ends it quietly."""
    command = [sys.executable, "-m", "flask_admin"]
    with subprocess.Popen(
        command,
        cwd=ROOT / "examples",
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        _, address, email, password, _ = (served.stdout.readline().strip() for _ in range(5))
        alice = visit()
        alice.page.goto(address)
        alice.page.get_by_label("E-mail address").fill(email)
        alice.page.get_by_label("Password").fill(password)
        alice.click("Sign in")
        assert "Off" in alice.text()
        served.send_signal(signal.SIGINT)
        _, complaints = served.communicate()
    assert (0, False) == (served.returncode, "Traceback" in complaints)


def test_the_guide_shows_every_picture() -> None:
    """Each picture that `make screenshots` takes has its place in the guide, which shows no other."""
    page = (ROOT / "docs" / "administration-page.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(images/(.+?\.png)\)", page))
    assert shown == {picture.name for picture in (ROOT / "docs" / "images").iterdir()}
