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

from browser import NO_CHROMIUM, ROOT, Server, Site, Visitor, chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Dialog

pytestmark = pytest.mark.xdist_group("browser")  # one browser, in one process


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser: for this module only, since no other test of the thread could run an event loop meanwhile."""
    with chromium() as found:
        if found is None:
            pytest.skip(NO_CHROMIUM)
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server().serve() as server:
        yield server


@pytest.fixture(scope="module")
def idle() -> list[BrowserContext]:
    """Browsers without a cookie, a page or a permission, for the next test."""
    return []


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, server)
    yield site
    site.close()


@pytest.fixture
def visit(browser: Browser, site: Site, idle: list[BrowserContext]) -> Iterator[Callable[..., Visitor]]:
    """Open one more browser; at the end, none of them may have complained, of a broken policy for instance."""
    visitors: list[Visitor] = []

    def new(**options: Any) -> Visitor:
        context = idle.pop() if idle and not options else browser.new_context(**options)
        visitors.append(Visitor(site, context, special=bool(options)))
        return visitors[-1]

    yield new
    for visitor in visitors:
        visitor.leave()
        if not visitor.special:
            idle.append(visitor.context)
    assert [] == [complaint for visitor in visitors for complaint in visitor.complaints]


@pytest.fixture
def stranger(visit: Callable[..., Visitor]) -> Visitor:
    """Alice, before she signs in."""
    return visit()


@pytest.fixture
def alice(visit: Callable[..., Visitor]) -> Visitor:
    """Alice, signed in with her password."""
    visitor = visit()
    visitor.arrive()
    return visitor


# --- set-up ------------------------------------------------------------------------------------------------------


def test_enrol_and_sign_in(stranger: Visitor, site: Site) -> None:
    """From no second factor to signing in with one, of which the owner has a mail."""
    alice = stranger
    alice.open()
    alice.password()
    assert "Off" in alice.text()
    phone, codes = alice.enrol()
    assert 10 == len(set(codes))
    assert "On since 15 January 2027" in alice.text()
    assert "10 recovery codes left" in alice.text()
    assert "Authenticator app added" in alice.text()
    assert ["Authenticator app added", "New recovery codes made"] == [subject for _, subject, _ in site.mails]

    alice.sign_out()
    alice.password()
    assert alice.field_is_focused()
    site.clock.advance(phone.period)
    alice.enter(phone.code())
    assert "On since 15 January 2027" in alice.text()
    assert "Code from the app accepted" in alice.text()


def test_enrol_by_keys_alone(alice: Visitor) -> None:
    """Tab, Space and Enter lead from the overview through the set-up and the codes, in the order of the page."""
    alice.tab_to("Add authenticator app")
    alice.key("Enter", leads_on=True)
    phone = alice.scan()
    alice.tab_to("Copy key")
    alice.tab_to("Code from your authenticator app")
    alice.page.keyboard.insert_text(phone.code())
    alice.key("Enter", leads_on=True)
    for name in ("Copy", "Download", "Print", "I have saved these codes"):
        alice.tab_to(name)
    alice.key("Space")
    alice.tab_to("Done")
    alice.key("Enter", leads_on=True)
    assert "On since" in alice.text()


def test_reload_and_wrong_code_keep_the_qr_code(alice: Visitor) -> None:
    """The same secret is shown until it expires, and the manual key, in groups of four, is that secret."""
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
    assert first.secret == "".join(key)
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
    assert alice.alert_is_focused()
    alice.open("/administration/two-factor/set-up")
    assert "not finished in time" in alice.alert().inner_text()
    alice.click("Start again")
    alice.finish_setup()
    assert "On since" in alice.text()


def test_two_browsers_set_up_at_once(alice: Visitor, visit: Callable[..., Visitor], site: Site) -> None:
    """The later set-up wins, the earlier one is told so, and is signed out as soon as the later one is verified."""
    other = visit()
    other.arrive()
    alice.click("Add authenticator app")
    dead = alice.scan()
    site.clock.advance(1)
    other.page.reload()
    assert "You began to set up an authenticator app in another browser" in other.text()
    assert 0 == other.named("Continue set-up").count()
    other.click("Start again")
    alice.enter(dead.code())
    assert "started again in another browser" in alice.alert().inner_text()
    assert alice.alert_is_focused()
    alice.open("/administration/two-factor/set-up")
    assert "started again in another browser" in alice.alert().inner_text()

    other.finish_setup()
    alice.open()
    assert "You were signed out, because the two-factor authentication of your account was changed" in alice.text()
    assert "On since" in other.text()


def test_add_in_a_tab_that_is_out_of_date(alice: Visitor) -> None:
    """When an app was added in another tab meanwhile, Add leads to where that can be seen, and changes nothing."""
    stale = alice.page
    alice.page = alice.context.new_page()
    alice.open()
    phone, _ = alice.enrol()
    alice.page.close()
    alice.page = stale
    alice.click("Add authenticator app")
    assert "On since" in alice.text()
    assert "10 recovery codes left" in alice.text()
    assert phone


# --- recovery codes ----------------------------------------------------------------------------------------------


def test_codes_are_shown_once(alice: Visitor) -> None:
    """Neither Reload nor Back shows the codes again, and the overview asks whether they were saved."""
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


def test_leaving_the_codes_warns(alice: Visitor) -> None:
    """Done wants the box ticked, a click elsewhere asks first, and once the codes are saved nothing asks."""
    alice.click("Add authenticator app")
    alice.enter(alice.scan().code())
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    alice.page.on("dialog", dismiss)
    alice.press("Done")
    assert alice.page.get_by_label("I have saved these codes").evaluate("box => box.matches(':focus:invalid')")
    with alice.page.expect_event("dialog"):
        alice.page.get_by_role("link", name="Account", exact=True).click(no_wait_after=True)
    assert ["beforeunload"] == asked
    assert 10 == len(alice.codes())
    alice.save_codes()
    assert "your recovery codes are saved" in alice.text()
    assert ["beforeunload"] == asked


def test_a_double_click_does_not_lose_the_codes(alice: Visitor) -> None:
    """The second of two quick clicks on Verify sends nothing, so that the answer to the first is seen."""
    alice.click("Add authenticator app")
    alice.page.get_by_label("Code from your authenticator app").fill(alice.scan().code())
    with alice.page.expect_navigation():
        alice.named("Verify").dblclick()
    assert 10 == len(alice.codes())


def test_copy_download_print(alice: Visitor) -> None:
    """Copy and download give the ten codes, one a line; on paper there is nothing else."""
    alice.context.grant_permissions(["clipboard-read", "clipboard-write"])
    alice.click("Add authenticator app")
    phone = alice.scan()
    alice.press("Copy key")
    alice.page.get_by_role("status").filter(has_text="Copied.").wait_for()
    assert phone.secret == alice.page.evaluate("navigator.clipboard.readText()")
    alice.enter(phone.code())
    codes = alice.codes()
    alice.press("Copy")
    alice.page.get_by_role("status").filter(has_text="Copied.").wait_for()
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


def test_recovery_code_works_once(stranger: Visitor, site: Site) -> None:
    """A recovery code signs in once; the second time the page says that it is spent and what to do."""
    _, codes = site.enrol()
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[3].lower())
    assert "9 recovery codes left. If you have lost your phone, set up a new one below." in stranger.text()

    stranger.sign_out()
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[3])
    assert "used already, and each works once. Cross it out and use another one." in stranger.alert().inner_text()
    assert stranger.field_is_focused()
    stranger.recovery(codes[4])
    assert "8 recovery codes left" in stranger.text()
    assert "Wrong codes since you last signed in: 1. Was that you?" in stranger.text()
    assert ["Recovery code used"] * 2 == [subject for _, subject, _ in site.mails[-2:]]


def test_last_recovery_code_and_a_new_phone(stranger: Visitor, site: Site) -> None:
    """Three codes left are a warning; whoever signs in with the last one can still set up a new phone."""
    lost, codes = site.enrol()
    site.spend(codes[:5])
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[5])
    warning = "Without your phone and without a code you could not sign in"
    assert "4 recovery codes left" in stranger.text()
    assert warning not in stranger.text()
    site.spend(codes[6:7])
    stranger.page.reload()
    assert "3 recovery codes left" in stranger.text()
    assert warning in stranger.text()
    stranger.sign_out()

    site.spend(codes[7:9])
    stranger.password()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[9])
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
    assert lost.secret != new.secret


# --- resets ------------------------------------------------------------------------------------------------------


def test_reset_recovery_codes(stranger: Visitor, site: Site) -> None:
    """Fresh from signing in no proof is asked for, after that one is; an old code is refused, a new one serves."""
    phone, old = site.enrol()
    stranger.sign_in(phone)
    stranger.click("Reset recovery codes")
    assert "The recovery codes you have now stop working at once" in stranger.text()
    assert 0 == stranger.page.locator("#code").count()
    stranger.click("Reset recovery codes")
    second = stranger.codes()
    stranger.save_codes()
    assert not set(old) & set(second)

    stranger.click("Reset recovery codes")
    stranger.enter(phone.wrong_code())
    assert "That code is not right" in stranger.alert().inner_text()
    site.clock.advance(phone.period)
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
    stranger.arrive(phone)
    site.clock.advance(600)
    stranger.click("Turn off")
    stranger.click("Turn off")
    assert "Your sign-in is no proof any more." in stranger.alert().inner_text()
    assert stranger.field_is_focused()
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[0])
    assert "Two-factor authentication is off" in stranger.text()


def test_the_password_is_no_proof(alice: Visitor) -> None:
    """Whoever has only given the password, and verified an app with it, is asked for a proof before every change."""
    alice.enrol()
    for name in ("Reset recovery codes", "Reset authenticator app", "Replace", "Turn off"):
        alice.click(name)
        assert 1 == alice.page.get_by_label("Code from your authenticator app").count(), name
        alice.page.go_back()


def test_a_wait_holds_for_proofs_as_well(alice: Visitor, site: Site) -> None:
    """Five wrong codes as a proof start the wait too, and the page shows it."""
    phone, _ = alice.enrol()
    site.guess(phone, 4)
    alice.click("Turn off")
    alice.enter(phone.wrong_code())
    assert "Too many wrong codes" in alice.alert().inner_text()
    assert "Try again at 08:01:00 UTC" in alice.alert().inner_text()
    alice.enter(phone.code(1))
    assert "Too many wrong codes" in alice.alert().inner_text()
    alice.open()
    assert "On since" in alice.text()


def test_reset_authenticator(stranger: Visitor, site: Site) -> None:
    """The old phone is dead at once, recovery codes serve meanwhile, and a new phone can be set up later."""
    old, codes = site.enrol()
    alice = stranger
    alice.arrive(old)
    alice.click("Reset authenticator app")
    assert "The app you have now stops working at once" in alice.text()
    alice.click("Reset authenticator app")
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


def test_reset_signs_the_other_browser_out(stranger: Visitor, visit: Callable[..., Visitor], site: Site) -> None:
    """A second signed-in browser is out when the authenticator is reset; a recovery code is as good a proof as the app."""
    phone, codes = site.enrol()
    other = visit()
    other.arrive(phone)
    assert "On since" in other.text()
    stranger.arrive(phone)
    site.clock.advance(600)
    stranger.click("Reset authenticator app")
    stranger.click("Reset authenticator app")
    stranger.click("Use a recovery code instead")
    stranger.recovery(codes[0])
    assert "Scan the QR code" in stranger.text()
    other.click("Turn off")
    assert "You were signed out, because the two-factor authentication" in other.text()
    stranger.page.reload()
    assert "Scan the QR code" in stranger.text()


def test_replace_keeps_the_old_one_until_the_new_one_is_verified(stranger: Visitor, site: Site) -> None:
    """During a replacement the old phone signs in; after it only the new one does."""
    old, _ = site.enrol()
    stranger.arrive(old)
    stranger.click("Replace")
    assert "Your present app works until the new one is verified" in stranger.text()
    stranger.click("Continue")
    stranger.open()
    assert "A replacement waits to be verified" in stranger.text()
    site.clock.advance(old.period)
    site.two_factor.verify("user-42", old.code())
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
    stranger.arrive(phone)
    stranger.click("Replace")
    stranger.click("Continue")
    stranger.click("Cancel set-up")
    assert "The set-up was cancelled. Nothing else has changed." in stranger.text()
    assert "On since" in stranger.text()
    site.clock.advance(phone.period)
    site.two_factor.verify("user-42", phone.code())


def test_turn_off(stranger: Visitor, site: Site) -> None:
    """After turning it off the password alone signs in, the owner has a mail, and it can be set up again."""
    phone, _ = site.enrol()
    stranger.arrive(phone)
    stranger.click("Turn off")
    assert "Your app and your recovery codes stop working" in stranger.text()
    stranger.click("Turn off")
    assert "Two-factor authentication is off" in stranger.text()
    address, subject, text = site.mails[-1]
    assert ("alice@example.com", "Two-factor authentication turned off") == (address, subject)
    assert "If not, change your password" in text
    assert "security@example.com" in text
    stranger.sign_out()
    stranger.password()
    stranger.enrol()
    assert "On since" in stranger.text()


# --- refusals ----------------------------------------------------------------------------------------------------


def test_spent_app_code_says_so(stranger: Visitor, site: Site) -> None:
    """The code that verified the set-up does not sign in as well, and the page says what to do."""
    phone, _ = site.enrol()
    stranger.password()
    stranger.enter(phone.code())
    assert "used already, and each works once. Wait for the next code" in stranger.alert().inner_text()


def test_the_code_field_suits_phones_and_screen_readers(stranger: Visitor, site: Site) -> None:
    """A phone offers the code and shows digits; the field has a label and a hint, and an error is tied to it."""
    phone, _ = site.enrol()
    stranger.password()
    field = stranger.page.get_by_label("Code from your authenticator app")
    names = ("autocomplete", "inputmode", "aria-describedby", "aria-invalid")
    assert ["one-time-code", "numeric", "code-hint", None] == [field.get_attribute(name) for name in names]
    stranger.enter(phone.wrong_code())
    assert ["code-hint code-error", "true"] == [field.get_attribute(name) for name in names[2:]]
    assert stranger.page.title().startswith("Error: ")
    assert stranger.field_is_focused()


def test_five_wrong_codes_and_the_wait(stranger: Visitor, site: Site) -> None:
    """The fifth wrong code starts a wait: until when is shown, the right code does not help, and then it does."""
    phone, _ = site.enrol()
    stranger.password()
    for _ in range(5):
        stranger.enter(phone.wrong_code())
    assert "Try again at 08:00:30 UTC, in 0:" in stranger.alert().inner_text()
    assert stranger.alert_is_focused()
    assert "Wrong code" == site.mails[-1][1]

    stranger.enter(phone.code(1))
    assert "Too many wrong codes" in stranger.alert().inner_text()
    stranger.click("Use a recovery code instead")
    assert 0 == stranger.alert().count(), "each kind of code has its own wait"
    stranger.click("Use your authenticator app instead")
    assert "Too many wrong codes" in stranger.alert().inner_text()
    site.clock.advance(30)
    stranger.enter(phone.code())
    assert "Wrong codes since you last signed in: 5. Was that you?" in stranger.text()


def test_the_wait_counts_down(visit: Callable[..., Visitor], site: Site) -> None:
    """The seconds run down, and at their end the page says so, to a screen reader as well."""
    phone, _ = site.enrol()
    site.guess(phone, 5)
    alice = visit(reduced_motion="reduce")
    clock = alice.context.clock
    clock.install(time=1_000_000_000)  # the visitor's own clock is wrong by years, which does not matter
    clock.pause_at(1_000_000_100)
    alice.password()
    assert "Try again at 08:00:30 UTC, in 0:30." in alice.alert().inner_text()
    clock.run_for(10_000)
    assert "Try again at 08:00:30 UTC, in 0:20." in alice.alert().inner_text()
    clock.run_for(20_000)
    assert "Try again at 08:00:30 UTC, which is now." in alice.alert().inner_text()
    assert "polite" == alice.page.locator(".left").get_attribute("aria-live")


def test_wrong_password(stranger: Visitor) -> None:
    """A wrong password and an unknown address read the same, and the second step cannot be reached."""
    answers = []
    for address, password in (("alice@example.com", "wrong"), ("nobody@example.com", "correct horse battery staple")):
        stranger.open("/sign-in")
        stranger.page.get_by_label("E-mail address").fill(address)
        stranger.page.get_by_label("Password").fill(password)
        stranger.click("Sign in")
        answers.append(stranger.alert().inner_text())
    assert ["That e-mail address and password do not match."] * 2 == answers
    stranger.open("/sign-in/code")
    assert stranger.page.url.endswith("/sign-in")


# --- every screen ------------------------------------------------------------------------------------------------


def test_without_javascript(visit: Callable[..., Visitor], site: Site) -> None:
    """Everything but copy, print and the countdown works without JavaScript."""
    alice = visit(java_script_enabled=False)
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
    site.guess(phone, 5)
    alice.password()
    assert "Try again at 08:00:30 UTC." in alice.alert().inner_text()
    site.clock.advance(30)
    alice.enter(phone.code())
    alice.click("Reset authenticator app")
    alice.click("Reset authenticator app")
    alice.finish_setup()
    assert "On since" in alice.text()


def test_every_screen_is_accessible(visit: Callable[..., Visitor]) -> None:
    """axe-core finds nothing on any screen, wide and light or narrow and dark, and none scrolls sideways."""
    from screenshots import tour

    alice = visit(reduced_motion="reduce")  # colours change at once
    seen = []
    for name in tour(alice):
        seen.append(name)
        alice.look(360, "dark")
        assert [] == alice.violations("color-contrast", "target-size", "scrollable-region-focusable"), name
        assert not alice.too_wide(), name
        alice.look(1100, "light")
        assert [] == alice.violations(), name
        assert not alice.too_wide(), name
    assert 17 == len(set(seen))


def test_the_policy_holds(alice: Visitor) -> None:
    """An inline script, an inline style and a foreign picture do nothing, should one ever get into a page."""
    alice.page.evaluate(
        """() => {
            const script = document.createElement("script"), style = document.createElement("style");
            style.textContent = "main { display: none }";
            document.head.append(style, Object.assign(new Image(), {src: "http://127.0.0.1:9/"}));
            try { script.text = "window.ran = true"; document.head.append(script); } catch { window.refused = true; }
        }"""
    )
    assert [True, None] == [alice.page.evaluate("window.refused"), alice.page.evaluate("window.ran")]
    assert alice.page.locator("main").is_visible()
    complaints, alice.complaints = alice.complaints, []
    assert ["style-src", "img-src"] == [
        name for name in ("style-src", "img-src") if any(f"{name} 'self'" in complaint for complaint in complaints)
    ]


def test_cookie(alice: Visitor) -> None:
    """The cookie is out of reach of scripts, of other sites, and of connections without TLS."""
    (cookie,) = alice.context.cookies()
    assert ("__Host-session", True, True, "Lax", "/", -1) == tuple(
        cookie.get(name) for name in ("name", "secure", "httpOnly", "sameSite", "path", "expires")
    )


def test_the_command_starts_it_and_prints_how_to_get_in(visit: Callable[..., Visitor]) -> None:
    """`make web` prints the address and the demo's password, and with them one gets in; Ctrl-C ends it quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "flask_admin"],
        cwd=ROOT / "examples",
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        printed = [served.stdout.readline().strip() for _ in range(5)]
        if not any(printed):
            pytest.fail(served.communicate()[1])
        _, address, email, password, _ = printed
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
    """Each picture that `make screenshots` takes has its place in the guide, which shows no other, and is small."""
    page = (ROOT / "docs" / "administration-page.md").read_text(encoding="utf-8")
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert {picture.name for picture in pictures} == set(re.findall(r"\(images/(.+?\.png)\)", page))
    assert all(picture.stat().st_size < 100_000 for picture in pictures)
