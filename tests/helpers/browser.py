"""A real Chromium before one of the examples: who sits at it, and the phone's camera."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Error, expect, sync_playwright
from sites import DEMO, PASSWORD
from support import Phone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator, Page, SetCookieParam
    from sites import Site

ROOT = Path(__file__).parent.parent.parent
FLAGS = [
    "--no-sandbox",  # as root there is none, and the only site is our own
    # Few processes: the machine has two cores, and there is one site.
    "--disable-gpu",  # but no --in-process-gpu: without a window, Chromium then hangs when a page is closed
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first of them that there is: without a window, it takes half of the time."""
NO_CHROMIUM = "Chromium", "apt-get install chromium, or python -m playwright install chromium"
in_browser = pytest.mark.xdist_group("browser")
"""Tests that share the one browser, which therefore run in one process."""

AXE = "axe_playwright_python"


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """Start the system's Chromium, or else Playwright's own; `None` where neither starts."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error:  # there is none, or a library that it needs is missing
            yield None
            return
        yield browser
        browser.close()


class Visitor:
    """Someone at a browser, who only clicks and types; whatever the browser complains of is kept."""

    def __init__(self, site: Site, context: BrowserContext, *, special: bool = False) -> None:
        self.site, self.context, self.special = site, context, special
        context.set_default_timeout(8000)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: Any) -> None:
        # A refused form answers with 4xx, which Chromium mentions.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    def leave(self) -> None:
        """Leave no trace in the browser."""
        self.page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        if self.special:
            self.context.close()

    # --- what one does -------------------------------------------------------------------------------------------

    def open(self, path: str = "/") -> None:
        """Type an address."""
        self.page.goto(self.site.address + path)

    def click(self, name: str) -> None:
        """Click the button or link of that name, and wait for the page that it leads to."""
        with self.page.expect_navigation():
            self.named(name).click()

    def press(self, name: str) -> None:
        """Click a button that stays on the page."""
        self.named(name).click()

    def tab_to(self, name: str) -> None:
        """Press Tab until the button, link or field of that name has the focus, and never past the end of the page."""
        place = self.named(name).or_(self.page.get_by_label(name, exact=True))
        for _ in range(20):
            self.page.keyboard.press("Tab")
            if place.evaluate("place => place === document.activeElement"):
                return
        raise AssertionError(f"Tab does not lead to {name!r}")

    def key(self, name: str, *, leads_on: bool = False) -> None:
        """Press a key, and wait for the page that it leads to."""
        with self.page.expect_navigation() if leads_on else nullcontext():
            self.page.keyboard.press(name)

    def named(self, name: str) -> Locator:
        """Find the button or link of that name."""
        button = self.page.get_by_role("button", name=name, exact=True)
        return button.or_(self.page.get_by_role("link", name=name, exact=True))

    def arrive(self, phone: Phone | None = None) -> None:
        """Be signed in already, for tests of what comes after that."""
        cookie = self.site.client().sign_in(phone).cookie
        place = {"url": "https://localhost", "secure": True, "httpOnly": True, "sameSite": "Lax"}
        self.context.add_cookies([cast("SetCookieParam", {"name": "__Host-session", "value": cookie, **place})])
        self.open("/administration/two-factor")

    def password(self) -> None:
        """Sign in, first step, by keys alone."""
        self.open("/sign-in")
        expect(self.page.get_by_label("E-mail address")).to_be_focused()
        keys = self.page.keyboard
        keys.insert_text(DEMO.email)
        keys.press("Tab")
        keys.insert_text(PASSWORD)
        with self.page.expect_navigation():
            keys.press("Enter")

    def enter(self, code: str, label: str = "Code") -> None:
        """Type a code of either kind, and press Enter."""
        field = self.page.get_by_label(label, exact=True)
        field.fill(code)
        with self.page.expect_navigation():
            field.press("Enter")

    def sign_out(self) -> None:
        """Leave."""
        self.click("Sign out")

    def sign_in(self, phone: Phone) -> None:
        """Sign in with both factors, with a code that is not spent yet."""
        self.password()
        self.site.clock.advance(phone.period)
        self.enter(phone.code())

    def scan(self) -> Phone:
        """Hold a phone before the screen: what it reads is a picture of the page and nothing else."""
        picture = Image.open(io.BytesIO(self.page.screenshot(full_page=True)))
        (barcode,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
        return Phone(barcode.text, self.site.clock)

    def enrol(self) -> tuple[Phone, list[str]]:
        """Set up an app from the overview, and save the codes."""
        self.click("Add authenticator app")
        return self.finish_setup()

    def finish_setup(self) -> tuple[Phone, list[str]]:
        """Scan, verify, and save the codes."""
        phone = self.scan()
        self.site.clock.advance(phone.period)
        self.enter(phone.code())
        codes = self.codes()
        self.save_codes()
        return phone, codes

    def save_codes(self) -> None:
        """Say that they are saved."""
        self.page.get_by_label("I have saved these codes").check()
        self.click("Done")

    # --- what one sees -------------------------------------------------------------------------------------------

    def codes(self) -> list[str]:
        """Read the recovery codes."""
        return self.page.locator("#codes li").all_inner_texts()

    def text(self) -> str:
        """Read the page."""
        return self.page.locator("main").inner_text()

    def alert(self) -> Locator:
        """Return what a screen reader would be told at once."""
        return self.page.get_by_role("alert")

    def field_is_focused(self) -> bool:
        """Return whether the field for the code has the focus."""
        return self._is_focused(self.page.locator("#code"))

    def alert_is_focused(self) -> bool:
        """Return whether the alert has the focus."""
        return self._is_focused(self.alert().first)

    def _is_focused(self, place: Locator) -> bool:
        expect(place).to_be_focused()  # waits: the browser moves the focus once the page is there
        return True

    def look(self, width: int, scheme: Literal["light", "dark"]) -> None:
        """Turn to a window of that width, in those colours."""
        self.page.set_viewport_size({"width": width, "height": 640})
        self.page.emulate_media(color_scheme=scheme)

    def violations(self, *rules: str) -> list[str]:
        """Let axe-core look at the page, by all of its rules or by these."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(files(AXE).joinpath("axe.min.js").read_text(encoding="utf-8"))
        options = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
        found = cast("dict[str, list[dict[str, Any]]]", self.page.evaluate(f"axe.run({json.dumps(options)})"))
        return [f"{broken['id']}: {node['html']}" for broken in found["violations"] for node in broken["nodes"]]

    def too_wide(self) -> bool:
        """Return whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
