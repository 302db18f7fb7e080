"""Administration → Two-factor authentication."""

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from web_pages import password_is_old, password_may_be_known, summarise, words

from fastapi_app.web import Form, Me, Page, Shown, known, require_sign_in, with_cookie
from twofa import RecoveryCodes
from twofa.errors import InvalidCode, ProofRequired, RecoveryCodesExhausted, ReenrolmentRequired, Throttled
from twofa.session import AsyncSession

pages = APIRouter(prefix="/administration", dependencies=[Depends(require_sign_in)])

REFUSALS = (InvalidCode, ProofRequired, RecoveryCodesExhausted, ReenrolmentRequired, Throttled)
"""What a form shows beside its field; all else leads to another page."""

Action = Literal["replace", "set-up-again", "reset-app", "reset-codes", "turn-off"]


@pages.get("/account")
async def account(page: Shown) -> Response:
    """Show who is signed in."""
    return await page.show("account.html")


@pages.get("/two-factor")
async def overview(page: Shown, me: Me) -> Response:
    """Show where the account stands, and what happened to it."""
    events = await page.services.two_factor.events(me.require(), limit=300)
    return await page.show("overview.html", activity=summarise(events), suspected=password_may_be_known(events))


@pages.post("/two-factor/add")
async def add(page: Shown, me: Me) -> Response:
    """Begin to add an app to an account that has none; a password of long ago is asked for again (ASVS 5.0 7.5.1)."""
    if me.status.required:  # an app was added in another tab meanwhile
        return page.lead_to("overview")
    if password_is_old(me.signed_in_at, page.services.now()):
        return page.lead_to("password")
    await me.begin_setup(page.owner.email)
    return page.lead_to("set_up")


@pages.get("/two-factor/password")
async def password(page: Shown) -> Response:
    """Ask for the password again."""
    return await page.show("password.html")


@pages.post("/two-factor/password")
async def check_password(page: Shown, me: Me, form: Form) -> Response:
    """Take it, and go on."""
    if await page.services.accounts.check(page.owner.email, form.get("password", "")) is None:
        return await page.show("password.html", status=422, error=page.t(words.WRONG_PASSWORD))
    await me.password_accepted(me.require(), cookies=page.request.cookies)
    return await add(page, me)


@pages.get("/two-factor/set-up")
async def set_up(page: Shown, me: Me) -> Response:
    """Show the QR code: the same one again after a reload."""
    return await page.show("set_up.html", setup=await me.setup())


@pages.post("/two-factor/set-up")
async def confirm_set_up(page: Shown, me: Me, form: Form) -> Response:
    """Confirm the new app by its first code, and show the recovery codes."""
    try:
        return await show_codes(page, me, await me.confirm_setup(form.get("code")))
    except InvalidCode as problem:
        return await page.show_again("set_up.html", problem, setup=await me.setup())


@pages.post("/two-factor/set-up/cancel")
async def cancel_set_up(page: Shown, me: Me) -> Response:
    """Forget a set-up and touch nothing else."""
    await me.cancel_setup()
    return page.lead_to("overview")


# --- recovery codes, browsers, sessions ------------------------------------------------------------------------------


async def show_codes(page: Page, me: AsyncSession, codes: RecoveryCodes) -> Response:
    """Show the codes, this once (NIST SP 800-63B-4 §3.1.2.1).

    The answer to the form itself shows them: a redirect would have to keep them somewhere readable.
    """
    return known(await page.show("codes.html", **page.about(codes)), me)


@pages.post("/two-factor/codes-saved")
async def codes_saved(page: Shown, me: Me, form: Form) -> Response:
    """Take the user's word that the codes are in a safe place."""
    if form.get("saved"):
        await me.acknowledge_recovery_codes()
        page.flash(page.t("Your recovery codes are saved."), "success")
    return page.lead_to("overview")


@pages.post("/two-factor/sign-out-elsewhere")
async def sign_out_elsewhere(page: Shown, me: Me) -> Response:
    """End every other session, and the trust in every browser."""
    await me.end_other_sessions()
    page.flash(page.t("You are signed out everywhere else, and no browser is trusted any more."), "success")
    return known(page.lead_to("overview"), me)


@pages.post("/two-factor/forget-browser")
async def forget_browser(page: Shown, me: Me) -> Response:
    """Ask for a code here at the next sign-in."""
    return with_cookie(page.lead_to("overview"), me.forget_browser())


# --- what changes a protected account ------------------------------------------------------------------------------


@pages.get("/two-factor/{action}")
async def ask(page: Shown, action: Action) -> Response:
    """Say what will stop working, and ask for a code if the last one is too long ago."""
    return await page.show("change.html", name=action, action=words.ACTIONS[action])


@pages.post("/two-factor/{action}")
async def change(page: Shown, me: Me, form: Form, action: Action) -> Response:
    """Do it, if the code serves."""
    try:
        return await CHANGES[action](page, me, form.get("code"))
    except REFUSALS as problem:
        return await page.show_again("change.html", problem, name=action, action=words.ACTIONS[action])


async def replace(page: Page, me: AsyncSession, code: str | None) -> Response:
    """Set up another app; the present one works until the new one is verified."""
    await me.begin_setup(page.owner.email, code)
    return page.lead_to("set_up")


async def reset_app(page: Page, me: AsyncSession, code: str | None) -> Response:
    """Kill the present app and set up a new one."""
    await me.reset_authenticator(page.owner.email, code)
    return page.lead_to("set_up")


async def reset_codes(page: Page, me: AsyncSession, code: str | None) -> Response:
    """Make new recovery codes."""
    return await show_codes(page, me, await me.reset_recovery_codes(code))


async def turn_off(page: Page, me: AsyncSession, code: str | None) -> Response:
    """Turn the second factor off."""
    await me.disable(code)
    return page.lead_to("overview")


CHANGES: dict[str, Callable[[Page, AsyncSession, str | None], Awaitable[Response]]] = {
    "replace": replace,
    "set-up-again": replace,
    "reset-app": reset_app,
    "reset-codes": reset_codes,
    "turn-off": turn_off,
}
