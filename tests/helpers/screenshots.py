"""The pictures in docs/images: `make screenshots` walks through the example and takes one of each screen."""

from __future__ import annotations

import io
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from browser import NO_CHROMIUM, ROOT, Visitor, chromium
from PIL import Image
from sites import PASSWORD, FlaskServer

from twofa import Policy
from twofa import _entropy as entropy

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = ROOT / "docs" / "images"


def tour(alice: Visitor) -> Iterator[str]:
    """Go through every screen, and stop at each with its name."""
    clock = alice.site.clock
    alice.open()
    yield "sign-in"
    alice.password()
    yield "off"
    alice.click("Account")
    yield "account"
    clock.advance(610)
    alice.open()
    alice.click("Add authenticator app")
    yield "password-again"
    alice.page.get_by_label("Password").fill(PASSWORD)
    alice.click("Continue")
    yield "set-up"
    phone = alice.scan()
    alice.enter(phone.wrong_code())
    yield "set-up-wrong-code"
    alice.open()
    yield "unfinished"
    alice.click("Continue set-up")
    alice.enter(phone.code())
    yield "recovery-codes"
    codes = alice.codes()
    alice.page.on("dialog", lambda dialog: dialog.accept())
    alice.open()
    yield "codes-not-saved"
    alice.click("I have saved them")
    yield "on"
    alice.sign_out()
    clock.advance(86_400)
    alice.password()
    yield "second-step"
    alice.page.get_by_text("Lost your phone?").click()
    yield "lost-phone"
    for _ in range(5):
        alice.enter(phone.wrong_code())
    yield "wait"
    alice.page.get_by_label("Don't ask again in this browser").check()
    alice.enter(codes[0])
    yield "signed-in-by-recovery-code"
    alice.click("Forget this browser")
    alice.sign_out()
    alice.password()
    alice.enter(codes[0])
    yield "spent-code"
    for code in codes[1:8]:
        clock.advance(86_400)
        alice.site.spend([code])
    alice.site.guess(phone, 4)
    clock.advance(60)
    alice.password()
    alice.enter(codes[8])
    yield "few-codes"
    clock.advance(610)
    alice.click("Reset recovery codes")
    yield "proof"
    alice.click("Cancel")
    alice.click("Reset authenticator app")
    yield "reset"
    clock.advance(30)
    alice.enter(phone.code())
    alice.click("Cancel set-up")
    yield "set-up-again"
    alice.sign_out()
    alice.password()
    yield "recovery-only"
    alice.open("/nowhere")
    yield "not-found"


LOOKS: dict[str, tuple[int, Literal["light", "dark"], set[str] | None]] = {
    "": (1100, "light", None),
    "-dark": (1100, "dark", {"set-up", "on", "wait"}),
    "-phone": (360, "light", {"set-up", "recovery-codes", "on", "second-step"}),
}
"""By the suffix of the file: width, colours, and which screens (`None`: all)."""


def take(alice: Visitor, path: Path) -> None:
    """Take one picture, in few bytes."""
    picture = Image.open(io.BytesIO(alice.page.screenshot(full_page=True)))
    picture.quantize(128).save(path, optimize=True)


def main(folder: Path) -> None:
    """Write the pictures. With chance and time fixed, an unchanged screen makes an unchanged file."""
    folder.mkdir(parents=True, exist_ok=True)
    # Chance is fixed on the server, and time stands still on both sides.
    setattr(entropy, "random_bytes", random.Random(4).randbytes)  # noqa: B010  # mypy lets no function be replaced
    with chromium() as browser, FlaskServer().serve() as server, tempfile.TemporaryDirectory() as database:
        if browser is None:
            sys.exit(f"no {NO_CHROMIUM[0]}: {NO_CHROMIUM[1]}")
        site = server.new_site(Path(database), Policy())
        context = browser.new_context(reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
        context.clock.install(time=1_800_000_000)
        context.clock.pause_at(1_900_000_000)
        alice = Visitor(site, context)
        for name in tour(alice):
            for suffix, (width, scheme, wanted) in LOOKS.items():
                if wanted is None or name in wanted:
                    alice.look(width, scheme)
                    take(alice, folder / f"{name}{suffix}.png")
        context.close()
        site.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
