"""The Administration page, by clicks and keys in a real Chromium, with a phone that is not our own code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from browser import NO_CHROMIUM, ROOT, Visitor, chromium, in_browser
from not_tested import not_here
from sites import EXAMPLES, PASSWORD, SESSION
from web_pages import Language, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Dialog
    from sites import Server, Site

ENGLISH = {"locale": "en-GB", "timezone_id": "UTC"}


pytestmark = in_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser: for this module only, since no other test of the thread could run an event loop meanwhile."""
    with chromium() as found:
        if found is None:
            not_here(*NO_CHROMIUM)
        yield found


@pytest.fixture(
    scope="module",
    params=["flask", *(pytest.param(name, marks=pytest.mark.proof) for name in EXAMPLES if name != "flask")],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Serve each of the examples: what one of them shows every day, `make proof` looks for in all."""
    with EXAMPLES[request.param]().serve() as server:
        yield server


@pytest.fixture(scope="module")
def idle() -> list[BrowserContext]:
    """Browsers without a cookie, a page or a permission, for the next test."""
    return []


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    site = server.new_site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def visit(browser: Browser, site: Site, idle: list[BrowserContext]) -> Iterator[Callable[..., Visitor]]:
    """Open one more browser; at the end, none of them may have complained, of a broken policy for instance."""
    visitors: list[Visitor] = []

    def new(**options: Any) -> Visitor:
        context = idle.pop() if idle and not options else browser.new_context(**{**ENGLISH, **options})
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
    assert "Code accepted" in alice.text()


def test_enrol_by_keys_alone(alice: Visitor) -> None:
    """Tab, Space and Enter lead from the overview through the set-up and the codes, in the order of the page."""
    alice.tab_to("Add authenticator app")
    alice.key("Enter", leads_on=True)
    phone = alice.scan()
    alice.tab_to("Copy key")
    alice.tab_to("Code")
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
    assert "Incorrect code. Use the current one" in alice.alert().inner_text()
    assert alice.field_is_focused()
    assert first.code() == alice.scan().code()
    key = alice.page.locator("#manual-key span").all_inner_texts()
    assert {4} == {len(group) for group in key}
    assert first.secret == "".join(key)
    alice.open()
    assert "Not finished" in alice.text()
    alice.click("Continue set-up")
    alice.enter(first.code())
    assert 10 == len(alice.codes())


def test_expired_setup(alice: Visitor, site: Site) -> None:
    """After ten minutes the code is refused, the page says why, and a click starts again."""
    alice.click("Add authenticator app")
    assert "The QR code works until 08:10." in alice.text()
    phone = alice.scan()
    site.clock.advance(600)
    alice.enter(phone.code())
    assert "The QR code has expired. Start again to get a new one." in alice.text()
    assert "Off" in alice.text()
    alice.open("/administration/two-factor/set-up")
    assert "The QR code has expired." in alice.text()
    alice.click("Add authenticator app")
    alice.page.get_by_label("Password").fill(PASSWORD)  # the sign-in is ten minutes old
    alice.click("Continue")
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
    assert "You started to set up an authenticator app in another browser" in other.text()
    assert 0 == other.named("Continue set-up").count()
    other.click("Start again")
    alice.enter(dead.code())
    assert "started again elsewhere" in alice.text()
    assert "in another browser" in alice.text()

    other.finish_setup()
    alice.open()
    assert "You were signed out, because something was changed in your account" in alice.text()
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
    assert "Your recovery codes are saved." in alice.text()
    assert ["beforeunload"] == asked


def test_a_double_click_does_not_lose_the_codes(alice: Visitor) -> None:
    """The second of two quick clicks on Verify sends nothing, so that the answer to the first is seen."""
    alice.click("Add authenticator app")
    alice.page.get_by_label("Code", exact=True).fill(alice.scan().code())
    with alice.page.expect_navigation():
        alice.named("Verify").dblclick()
    assert 10 == len(alice.codes())


def test_a_second_click_without_javascript_locks_nobody_out(visit: Callable[..., Visitor]) -> None:
    """The codes were never seen, and the page leads to new ones: no code is asked for, and the app's entry stays."""
    alice = visit(java_script_enabled=False)
    alice.arrive()
    alice.click("Add authenticator app")
    phone = alice.scan()
    alice.page.get_by_label("Code", exact=True).fill(phone.code())
    cookies = {cookie["name"]: cookie["value"] for cookie in alice.context.cookies()}
    first = alice.site.client(cookies[SESSION])  # whose answer is lost
    assert 200 == first.post("/administration/two-factor/set-up", code=phone.code()).status_code
    alice.click("Verify")
    assert "On since" in alice.text()
    assert "Have you saved your recovery codes?" in alice.text()
    assert "Remove the entry" not in alice.text()
    alice.click("Make new recovery codes")
    alice.click("Reset recovery codes")
    assert 10 == len(alice.codes())
    alice.save_codes()
    assert "Have you saved your recovery codes?" not in alice.text()


def test_codes_that_were_not_saved_are_asked_about_at_every_sign_in(alice: Visitor) -> None:
    """Until the owner says that the codes are saved, or uses one, every later sign-in says so, too."""
    alice.click("Add authenticator app")
    phone = alice.scan()
    alice.enter(phone.code())
    alice.page.on("dialog", lambda dialog: dialog.accept())
    alice.open()
    alice.sign_out()
    alice.sign_in(phone)
    assert "Have you saved your recovery codes?" in alice.text()
    alice.click("I have saved them")
    assert "Have you saved your recovery codes?" not in alice.text()
    assert "Your recovery codes are saved." in alice.text()


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
    assert "meridian-recovery-codes.txt" == download.value.suggested_filename
    heading = ["Recovery codes for alice@example.com at Meridian", "2027-01-15. Each works once."]
    assert [*heading, "", *codes] == download.value.path().read_text().splitlines()

    alice.page.evaluate("window.print = () => { window.printed = true }")
    alice.press("Print")
    assert alice.page.evaluate("window.printed")
    alice.page.emulate_media(media="print")
    printed = [line for line in alice.page.locator("body").inner_text().splitlines() if line.strip()]
    assert [*heading, *codes] == printed


def test_recovery_code_works_once(stranger: Visitor, site: Site) -> None:
    """A recovery code in the one field signs in once; the second time the page says that it is spent and what to do."""
    _, codes = site.enrol()
    stranger.password()
    stranger.enter(codes[3].lower())
    assert "9 recovery codes left" in stranger.text()
    assert "If you lost your phone, replace the app below." in stranger.text()

    stranger.sign_out()
    stranger.password()
    stranger.enter(codes[3])
    assert "was used already. Cross it out, and use another one." in stranger.alert().inner_text()
    assert stranger.page.get_by_label("Recovery code").evaluate("field => field === document.activeElement")
    stranger.enter(codes[4], "Recovery code")
    assert "8 recovery codes left" in stranger.text()
    assert "1 incorrect code was entered since you last signed in." in stranger.text()
    assert ["Recovery code used"] * 2 == [subject for _, subject, _ in site.mails[-2:]]


def test_last_recovery_code_and_a_new_phone(stranger: Visitor, site: Site) -> None:
    """Three codes left are a warning; whoever signs in with the last one can still set up a new phone."""
    lost, codes = site.enrol()
    site.spend(codes[:5])
    stranger.password()
    stranger.enter(codes[5])
    warning = "Without your phone and without a code you can't sign in."
    assert "4 recovery codes left" in stranger.text()
    assert warning not in stranger.text()
    site.spend(codes[6:7])
    stranger.page.reload()
    assert "3 recovery codes left" in stranger.text()
    assert warning in stranger.text()
    stranger.sign_out()

    site.spend(codes[7:9])
    stranger.password()
    stranger.enter(codes[9])
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
    """Fresh from signing in no code is asked for, after that one is; an old code is refused, a new one serves."""
    phone, old = site.enrol()
    stranger.sign_in(phone)
    stranger.click("Reset recovery codes")
    assert "Your current recovery codes stop working now" in stranger.text()
    assert 0 == stranger.page.locator("#code").count()
    stranger.click("Reset recovery codes")
    second = stranger.codes()
    stranger.save_codes()
    assert not set(old) & set(second)

    site.clock.advance(600)
    stranger.click("Reset recovery codes")
    stranger.enter(phone.wrong_code())
    assert "Incorrect code. Use the current one" in stranger.alert().inner_text()
    site.clock.advance(phone.period)
    stranger.enter(phone.code())
    third = stranger.codes()
    stranger.save_codes()

    stranger.sign_out()
    stranger.password()
    stranger.enter(second[0])
    assert "Incorrect recovery code. Compare it with your list." in stranger.alert().inner_text()
    stranger.enter(third[0])
    assert "9 recovery codes left" in stranger.text()


def test_proof_is_asked_for_after_ten_minutes(stranger: Visitor, site: Site) -> None:
    """The sign-in serves as a proof for ten minutes; after them the page has a field, also where it was open before."""
    phone, codes = site.enrol()
    stranger.arrive(phone)
    stranger.click("Turn off")
    assert 0 == stranger.page.locator("#code").count()
    site.clock.advance(600)
    stranger.click("Turn off")
    assert "Enter a code to continue." in stranger.alert().inner_text()
    assert stranger.field_is_focused()
    stranger.enter(codes[0])
    assert "Off" in stranger.text()
    assert "Add authenticator app" in stranger.text()


def test_the_password_is_no_proof(alice: Visitor, site: Site) -> None:
    """Ten minutes after the app was verified, a code is asked for before every change."""
    alice.enrol()
    site.clock.advance(600)
    for name in ("Reset recovery codes", "Reset authenticator app", "Replace", "Turn off"):
        alice.click(name)
        assert 1 == alice.page.get_by_label("Code", exact=True).count(), name
        alice.page.go_back()


def test_a_wait_holds_for_proofs_as_well(alice: Visitor, site: Site) -> None:
    """Five wrong codes as a proof start a wait too, and the page shows it; strangers' wrong codes do not."""
    phone, _ = alice.enrol()
    site.guess(phone, 5)
    site.clock.advance(600)
    alice.click("Turn off")
    for _ in range(5):
        alice.enter(phone.wrong_code())
    assert "Too many incorrect codes. Try again in 30 seconds." in alice.alert().inner_text()
    alice.enter(phone.code(1))
    assert "Too many incorrect codes" in alice.alert().inner_text()
    alice.open()
    assert "On since" in alice.text()


def test_reset_authenticator(stranger: Visitor, site: Site) -> None:
    """The old phone is dead at once, recovery codes serve meanwhile, and a new phone can be set up later."""
    old, codes = site.enrol()
    alice = stranger
    alice.arrive(old)
    alice.click("Reset authenticator app")
    assert "Your app stops working now" in alice.text()
    alice.click("Reset authenticator app")
    assert "Scan the QR code" in alice.text()
    alice.open()
    assert "Set up your app again" in alice.text()
    alice.sign_out()

    alice.password()
    assert "Your authenticator app was reset or blocked. Use a recovery code" in alice.text()
    site.clock.advance(old.period)
    alice.enter(old.code(), "Recovery code")
    assert "Your authenticator app was reset. Use a recovery code." in alice.alert().inner_text()
    alice.enter(codes[0], "Recovery code")
    assert "Set up your app again" in alice.text()

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
    stranger.enter(codes[0])
    assert "Scan the QR code" in stranger.text()
    other.click("Turn off")
    assert "You were signed out, because something was changed" in other.text()
    stranger.page.reload()
    assert "Scan the QR code" in stranger.text()


def test_replace_keeps_the_old_one_until_the_new_one_is_verified(stranger: Visitor, site: Site) -> None:
    """During a replacement the old phone signs in; after it only the new one does."""
    old, _ = site.enrol()
    stranger.arrive(old)
    stranger.click("Replace")
    assert "Your current app works until the new one is verified" in stranger.text()
    stranger.click("Continue")
    stranger.open()
    assert "A new app can be verified until" in stranger.text()
    site.clock.advance(old.period)
    site.two_factor.verify("user-42", old.code())
    stranger.click("Continue set-up")
    new, _ = stranger.finish_setup()

    stranger.sign_out()
    stranger.password()
    site.clock.advance(old.period)
    stranger.enter(old.code())
    assert "Incorrect code. Use the current one" in stranger.alert().inner_text()
    stranger.enter(new.code())
    assert "On since" in stranger.text()


def test_cancelled_replacement_changes_nothing(stranger: Visitor, site: Site) -> None:
    """Cancel leaves the app that is there."""
    phone, _ = site.enrol()
    stranger.arrive(phone)
    stranger.click("Replace")
    stranger.click("Continue")
    stranger.click("Cancel set-up")
    assert "On since" in stranger.text()
    site.clock.advance(phone.period)
    site.two_factor.verify("user-42", phone.code())


def test_turn_off(stranger: Visitor, site: Site) -> None:
    """After turning it off the password alone signs in, the owner has a mail, and it can be set up again."""
    phone, _ = site.enrol()
    stranger.arrive(phone)
    assert "You'd sign in with only your password." in stranger.text()
    stranger.click("Turn off")
    assert "You'd sign in with only your password." in stranger.text()
    stranger.click("Turn off")
    assert "Off" in stranger.text()
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
    assert "This code was used already. Wait for the next one." in stranger.alert().inner_text()
    assert stranger.field_is_focused()


def test_the_code_field_suits_phones_and_screen_readers(stranger: Visitor, site: Site) -> None:
    """A phone offers the code and shows digits; the field has a label and a hint, and an error is tied to it."""
    phone, _ = site.enrol()
    stranger.password()
    field = stranger.page.get_by_label("Code")
    names = ("autocomplete", "inputmode", "aria-describedby", "aria-invalid")
    assert ["one-time-code", "numeric", "code-hint", None] == [field.get_attribute(name) for name in names]
    stranger.enter(phone.wrong_code())
    assert ["code-hint code-error", "true"] == [field.get_attribute(name) for name in names[2:]]
    assert stranger.page.title().startswith("Error: ")
    assert stranger.field_is_focused()


def test_five_wrong_codes_and_the_wait(stranger: Visitor, site: Site) -> None:
    """The fifth wrong code starts a wait: how long is shown, the right code does not help, and then it does."""
    phone, codes = site.enrol()
    stranger.password()
    for _ in range(5):
        stranger.enter(phone.wrong_code())
    assert "Too many incorrect codes. Try again in 30 seconds." == stranger.alert().inner_text().strip()
    assert stranger.alert_is_focused()
    assert "Incorrect code" == site.mails[-1][1]

    stranger.enter(phone.code(1))
    assert "Too many incorrect codes" in stranger.alert().inner_text()
    stranger.open("/sign-in/code")
    assert "Too many incorrect codes" in stranger.alert().inner_text()
    stranger.enter(codes[0])
    assert "On since" in stranger.text(), "each kind of code has its own wait"
    stranger.sign_out()
    site.clock.advance(30)
    stranger.password()
    stranger.enter(phone.code())
    assert "5 incorrect codes were entered since you last signed in." in stranger.text()


def test_the_wait_counts_down(visit: Callable[..., Visitor], site: Site) -> None:
    """The seconds run down outside of the alert, and only their end is announced."""
    phone, _ = site.enrol()
    site.guess(phone, 5)
    alice = visit(reduced_motion="reduce")
    clock = alice.context.clock
    clock.install(time=1_000_000_000)  # the visitor's own clock is wrong by years, which does not matter
    clock.pause_at(1_000_000_100)
    alice.password()
    timer, said = alice.page.get_by_role("timer"), alice.page.locator("#said")
    shown = alice.alert().inner_text()
    assert "Too many incorrect codes. Try again in 30 seconds." == shown.strip()
    assert "Time left: 0:30" == timer.inner_text()
    clock.run_for(10_000)
    assert ("Time left: 0:20", shown, "") == (timer.inner_text(), alice.alert().inner_text(), said.inner_text())
    clock.run_for(20_000)
    assert ("You can try again now.",) * 2 == (timer.inner_text(), said.inner_text())
    assert shown == alice.alert().inner_text()


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
    assert stranger.page.url.endswith("/sign-in?reason=signed_out")


# --- browsers and sessions ---------------------------------------------------------------------------------------


def test_trust_and_forget_this_browser(stranger: Visitor, site: Site) -> None:
    """With the box ticked the next sign-in asks for no code; the page says so, and can be told to forget it."""
    phone, _ = site.enrol()
    alice = stranger
    alice.password()
    alice.page.get_by_label("Don't ask again in this browser for 30 days").check()
    site.clock.advance(phone.period)
    alice.enter(phone.code())
    assert "Your password is enough here until 14 February 2027." in alice.text()
    alice.sign_out()
    alice.password()
    assert "On since" in alice.text()
    alice.click("Forget this browser")
    assert "This browser is trusted" not in alice.text()
    alice.sign_out()
    alice.password()
    assert "Enter a code" in alice.text()


def test_sign_out_elsewhere(stranger: Visitor, visit: Callable[..., Visitor], site: Site) -> None:
    """Every other browser is out with its next click, and this one stays."""
    phone, _ = site.enrol()
    other = visit()
    other.arrive(phone)
    stranger.arrive(phone)
    stranger.click("Sign out elsewhere")
    assert "You are signed out everywhere else" in stranger.text()
    other.click("Turn off")
    assert "You were signed out" in other.text()
    stranger.page.reload()
    assert "On since" in stranger.text()


def test_lost_phone(stranger: Visitor, site: Site) -> None:
    """Who has lost the phone finds out what to do on the page that asks for a code."""
    _, codes = site.enrol()
    stranger.password()
    stranger.page.get_by_text("Lost your phone?").click()
    assert "Contact support." in stranger.text()
    stranger.click("Use a recovery code")
    stranger.enter(codes[0], "Recovery code")
    assert "On since" in stranger.text()


def test_someone_may_know_the_password(stranger: Visitor, site: Site) -> None:
    """After many wrong codes from strangers the owner is told, in the page and by mail."""
    phone, _ = site.enrol()
    stranger.arrive(phone)
    for _ in range(20):
        site.guess(phone, 1)
        site.clock.advance(3600)
    site.clock.advance(600)
    stranger.sign_in(phone)
    assert "Someone may know your password. Change it." in stranger.text()
    assert "Someone may know your password" in [subject for _, subject, _ in site.mails]
    site.two_factor.password_changed("user-42")
    stranger.sign_in(phone)
    assert "Someone may know your password. Change it." not in stranger.text()


def test_times_are_the_readers_own(visit: Callable[..., Visitor], site: Site) -> None:
    """The page says UTC, and the browser turns that into the time where its reader is, as the reader writes it."""
    phone, _ = site.enrol()
    for locale, zone, shown in (
        ("en-GB", "UTC", "Last used: 15 Jan 2027, 08:00"),
        ("en-US", "America/New_York", "Last used: Jan 15, 2027, 3:01"),
        ("de-DE", "Asia/Tokyo", "Zuletzt verwendet: 15.01.2027, 17:01"),
    ):
        alice = visit(locale=locale, timezone_id=zone)
        alice.arrive(phone)
        assert shown in alice.text()


def test_on_a_phone_the_app_opens_by_a_link(visit: Callable[..., Visitor]) -> None:
    """Who reads the page on the phone cannot scan it: a link hands the key to the app. Elsewhere it is not shown."""
    alice = visit(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 640})
    alice.arrive()
    alice.click("Add authenticator app")
    link = alice.named("Open in your authenticator app")
    assert link.is_visible()
    assert alice.scan().secret in str(link.get_attribute("href"))
    desk = visit()
    desk.arrive()
    desk.click("Start again")
    assert not desk.named("Open in your authenticator app").is_visible()


# --- languages ---------------------------------------------------------------------------------------------------


def test_german(visit: Callable[..., Visitor], site: Site) -> None:
    """A browser that asks for German gets it on every page, errors and times included."""
    phone, _ = site.enrol()
    alice = visit(locale="de-DE", timezone_id="Europe/Berlin")
    alice.open()
    alice.page.get_by_label("E-Mail-Adresse").fill("alice@example.com")
    alice.page.get_by_label("Passwort").fill(PASSWORD)
    alice.click("Anmelden")
    alice.enter(phone.wrong_code())
    assert "Falscher Code. Verwenden Sie den aktuellen" in alice.alert().inner_text()
    site.clock.advance(phone.period)
    alice.enter(phone.code())
    assert "An seit 15. Januar 2027." in alice.text()
    assert "Zuletzt verwendet: 15.01.2027, 09:00" in alice.text()
    assert "de" == alice.page.locator("html").get_attribute("lang")


@pytest.fixture
def from_right_to_left() -> dict[str, Language]:
    """A language that is written from right to left: every English word in Arabic letters."""
    letters = str.maketrans(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "ابتثجحخدذرزسشصضطظعغفقكلمنه" * 2,
    )
    german = load()["de"].texts
    texts = {
        english: "".join(
            part if part.startswith("{") else part.translate(letters) for part in re.split(r"(\{\w+\})", english)
        )
        for english in german
    }
    return {**load(), "ar": Language("ar", "rtl", texts)}


def test_right_to_left(
    browser: Browser, server: Server, tmp_path: Path, from_right_to_left: dict[str, Language]
) -> None:
    """In a language that is written from right to left the pages turn round; codes and keys do not."""
    site = server.new_site(tmp_path, languages=from_right_to_left)
    context = browser.new_context(locale="ar", timezone_id="UTC", viewport={"width": 1100, "height": 640})
    alice = Visitor(site, context, special=True)
    alice.arrive()
    assert "rtl" == alice.page.locator("html").get_attribute("dir")
    badge, heading = (alice.page.locator(place).bounding_box() for place in (".badge", "#state"))
    assert badge
    assert heading
    assert badge["x"] < heading["x"], "what comes after stands to the left"
    alice.page.locator("form[action$='/add'] button").click()
    number, step = (
        alice.page.locator(".steps > li").first.bounding_box(),
        alice.page.locator(".steps h3").first.bounding_box(),
    )
    assert number
    assert step
    assert step["x"] + step["width"] < number["x"] + number["width"], "the number stands to the right of the step"
    assert "ltr" == alice.page.locator("#manual-key").evaluate("key => getComputedStyle(key).direction")
    for width in (360, 1100):
        alice.look(width, "light")
        assert [] == alice.violations()
        assert not alice.too_wide()
    alice.leave()
    site.close()


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
    assert codes == download.value.path().read_text().splitlines()[3:]
    alice.save_codes()
    alice.sign_out()
    alice.password()
    for _ in range(5):
        alice.enter(phone.wrong_code())
    assert "Try again in 30 seconds." in alice.alert().inner_text()
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
    assert 21 == len(set(seen))


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "flask"])
def test_the_same_walk_leads_through_every_example(browser: Browser, tmp_path: Path, name: str) -> None:
    """Every other framework shows the same screens, on which the browser complains of nothing and none is too wide."""
    from screenshots import tour

    with EXAMPLES[name]().serve() as server:
        site = server.new_site(tmp_path)
        alice = Visitor(site, browser.new_context(**ENGLISH, viewport={"width": 360, "height": 640}), special=True)
        seen = {screen for screen in tour(alice) if not alice.too_wide()}
        alice.leave()
        site.close()
    assert (21, []) == (len(seen), alice.complaints)


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
    (cookie,) = [cookie for cookie in alice.context.cookies() if cookie.get("name") == "__Host-session"]
    assert ("__Host-session", True, True, "Lax", "/", -1) == tuple(
        cookie.get(name) for name in ("name", "secure", "httpOnly", "sameSite", "path", "expires")
    )


@pytest.mark.parametrize("example", ["flask_app", "fastapi_app", "django_site"])
def test_the_command_starts_it_and_prints_how_to_get_in(visit: Callable[..., Visitor], example: str) -> None:
    """`make web` and its like print the address and the demo's password, and with them one gets in; Ctrl-C ends it quietly."""
    # Where this run ignores Ctrl-C (under nohup, in the background of a script), what it starts would ignore it too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    served = subprocess.Popen(
        [sys.executable, "-m", example],
        cwd=ROOT / "examples",
        env={**os.environ, "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    with served:
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
