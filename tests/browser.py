"""A real Chromium against `examples/flask_admin`: the server, who sits at the browser, and the phone's camera."""

from __future__ import annotations

import io
import logging
import shutil
import sys
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, cast

import zxingcpp
from PIL import Image
from playwright.sync_api import Error, expect, sync_playwright
from werkzeug.serving import make_server

from support import Clock, Phone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator, Page

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "examples"))

from flask_admin import create_app  # noqa: E402  # examples are not installed
from flask_admin.__main__ import DEMO, PASSWORD  # noqa: E402
from flask_admin.accounts import Accounts  # noqa: E402
from flask_admin.web import services  # noqa: E402

from twofa import KeyRing, TwoFactor  # noqa: E402

FLAGS = [
    "--no-sandbox",  # as root there is none, and the only site is our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = "axe_playwright_python"


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """Start the system's Chromium, or else Playwright's own; `None` where there is neither."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error:
            if path is not None:
                raise
            yield None
            return
        yield browser
        browser.close()


class Site:
    """The application on a port of its own, on a clock that only the test moves."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self.mails: list[tuple[str, str, str]] = []
        self.database = folder / "app.db"
        self.app = create_app(
            self.database,
            keys=KeyRing(KeyRing.generate_key()),
            clock=self.clock,
            send=lambda *mail: self.mails.append(mail),
        )
        Accounts(self.database).add(DEMO, PASSWORD)

    def enrol(self) -> tuple[Phone, list[str]]:
        """Set up an app without a browser, for tests of what comes after that."""
        setup = self.two_factor.begin_setup(DEMO.id, account_name=DEMO.email)
        phone = Phone(setup.uri, self.clock)
        return phone, list(self.two_factor.confirm_setup(DEMO.id, phone.code(), handle=setup.handle))

    def spend(self, codes: list[str]) -> None:
        """Use up recovery codes without a browser."""
        for code in codes:
            self.two_factor.redeem_recovery_code(DEMO.id, code, source="127.0.0.1")

    @property
    def two_factor(self) -> TwoFactor:
        """The library behind the pages."""
        with self.app.app_context():
            return services.two_factor

    @contextmanager
    def serve(self) -> Iterator[Site]:
        """Serve in a thread until done."""
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        # `localhost` counts as secure, so that the cookie can be what it is over TLS.
        self.address = f"http://localhost:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            self.app.extensions["flask_admin"][1].close()


class Visitor:
    """Someone at a browser, who only clicks and types; whatever the browser complains of is kept."""

    def __init__(self, site: Site, context: BrowserContext) -> None:
        self.site, self.context = site, context
        context.set_default_timeout(8000)
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: Any) -> None:
        # A refused form answers with 4xx, which Chromium mentions.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

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

    def named(self, name: str) -> Locator:
        """Find the button or link of that name."""
        button = self.page.get_by_role("button", name=name, exact=True)
        return button.or_(self.page.get_by_role("link", name=name, exact=True))

    def password(self) -> None:
        """Sign in, first step, by keys alone."""
        self.open()
        expect(self.page.get_by_label("E-mail address")).to_be_focused()
        keys = self.page.keyboard
        keys.insert_text(DEMO.email)
        keys.press("Tab")
        keys.insert_text(PASSWORD)
        with self.page.expect_navigation():
            keys.press("Enter")

    def enter(self, code: str, label: str = "Code from your authenticator app") -> None:
        """Type a code and press Enter."""
        field = self.page.get_by_label(label)
        field.fill(code)
        with self.page.expect_navigation():
            field.press("Enter")

    def recovery(self, code: str) -> None:
        """Type a recovery code and press Enter."""
        self.enter(code, "Recovery code")

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
        return self._is_focused(self.alert())

    def _is_focused(self, place: Locator) -> bool:
        expect(place).to_be_focused()  # waits: the browser moves the focus once the page is there
        return True

    def violations(self) -> list[str]:
        """Let axe-core look at the page."""
        script = files(AXE).joinpath("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(script)
        found = cast("dict[str, list[dict[str, Any]]]", self.page.evaluate("axe.run({resultTypes: ['violations']})"))
        return [f"{broken['id']}: {node['html']}" for broken in found["violations"] for node in broken["nodes"]]

    def too_wide(self) -> bool:
        """Return whether the page scrolls sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
