"""Signing in and out: the password, then a code where the account has a second factor."""

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from web_pages import TRUST_DAYS, words

from fastapi_app.web import Form, Me, Page, Shown, known, open_session
from twofa.errors import CodeReused, InvalidCode, RecoveryCodesExhausted, ReenrolmentRequired, Throttled
from twofa.session import AsyncSession

pages = APIRouter(dependencies=[Depends(open_session)])


@pages.get("/sign-in")
async def sign_in(page: Shown, reason: str = "") -> Response:
    """Ask for the password."""
    return await page.show("sign_in.html", notice=page.t(words.SIGN_IN.get(reason, "")))


@pages.post("/sign-in")
async def check_password(page: Shown, me: Me, form: Form) -> Response:
    """Take the password, which is enough only where nothing else protects the account."""
    user = await page.services.accounts.check(form.get("email", ""), form.get("password", ""))
    if user is None:
        return await page.show("sign_in.html", status=422, error=page.t(words.WRONG_PASSWORD))
    await me.password_accepted(user.id, cookies=page.request.cookies)
    return enter(page, me)


@pages.get("/sign-in/code")
async def code(page: Shown, me: Me, problem: str = "", kind: str = "app") -> Response:
    """Ask for a code, unless a first click on the button has signed in already."""
    if me.user_id:
        return enter(page, me)
    return await page.show("code.html", error=problem and page.t(words.problem(problem, kind)))


@pages.post("/sign-in/code")
async def check_code(page: Shown, me: Me, form: Form) -> Response:
    """Take a code of the app or a recovery code."""
    code = form.get("code", "")
    try:
        verification = await me.verify(code)
    except CodeReused as problem:  # perhaps by a double click
        return page.lead_to("code", problem=problem.code, kind=words.kind_of(code))
    except (InvalidCode, Throttled, ReenrolmentRequired, RecoveryCodesExhausted) as problem:
        return await page.show_again("code.html", problem)
    for text in words.about_sign_in(page.t, verification):
        page.flash(text, "warning")
    return enter(page, me, trust_days=TRUST_DAYS if form.get("trust") else 0)


@pages.post("/sign-out")
async def sign_out(page: Shown, me: Me) -> Response:
    """End the session."""
    await me.sign_out()
    return page.lead_to("sign_in")


def enter(page: Page, me: AsyncSession, trust_days: int = 0) -> Response:
    """Go in."""
    return known(page.lead_to("overview"), me, trust_days)
