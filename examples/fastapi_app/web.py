"""What every page needs: the services behind it, who is asking, and in which language."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from web_pages import PRODUCT, TEMPLATES, TRUST_DAYS, Language, about_codes, choose, preferred, words
from web_pages.codes import AboutCodes

from fastapi_app.accounts import Accounts, User
from twofa import AsyncTwoFactor, RecoveryCodes
from twofa.errors import SignInRequired, TwoFactorError
from twofa.session import AsyncSession, BrowserCookie, refuse_cross_site

if TYPE_CHECKING:
    from fastapi_app.sessions import ServerSession


class Services(NamedTuple):
    """What the application was put together from."""

    two_factor: AsyncTwoFactor
    accounts: Accounts
    languages: Mapping[str, Language]
    clock: Callable[[], float]

    def now(self) -> int:
        """Return Unix seconds."""
        return int(self.clock())


def services_of(request: Request) -> Services:
    """Return those of the application that answers a request."""
    return cast("Services", request.app.state.services)


def source_of(request: Request) -> str | None:
    """Return the address that a request came from. Behind a proxy, start uvicorn with `--proxy-headers`."""
    return None if request.client is None else request.client.host


# --- who is asking ---------------------------------------------------------------------------------------------------


async def open_session(request: Request) -> AsyncSession:
    """Find out who is asking; refuse what another site's page has sent (ASVS 5.0 3.5.1)."""
    refuse_cross_site(request.method, request.headers)
    session = cast("ServerSession", request.session)
    two_factor = services_of(request).two_factor
    me = await two_factor.session(session, rotate=session.rotate, source=source_of(request))
    request.state.me = me
    return me


Me = Annotated[AsyncSession, Depends(open_session)]


async def require_sign_in(request: Request, me: Me) -> None:
    """Let nobody in who is not signed in, or whose account is gone."""
    user = await services_of(request).accounts.get(me.require())
    if user is None:
        raise SignInRequired
    request.state.user = user


async def read_form(request: Request) -> dict[str, str]:
    """Return what was typed, by the fields' names; a file is not typed."""
    typed = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    request.state.form = typed
    return typed


Form = Annotated[dict[str, str], Depends(read_form)]


# --- what is answered ------------------------------------------------------------------------------------------------

_TEMPLATES = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)


class Page:
    """What answers a request with a page, or leads to another one."""

    def __init__(self, request: Request) -> None:
        self.request, self.services = request, services_of(request)
        self.t = choose(preferred(request.headers.get("Accept-Language", "")), self.services.languages)

    @property
    def owner(self) -> User:
        """Who is signed in, on a page that is not for everybody."""
        return cast("User", self.request.state.user)

    async def show(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: object
    ) -> HTMLResponse:
        """Fill in a template, outside of the event loop: drawing a QR code takes 10 to 150 ms."""
        text = await run_in_threadpool(_TEMPLATES.get_template(template).render, self._names() | context)
        return HTMLResponse(text, status, headers)

    async def show_again(self, template: str, problem: TwoFactorError, **context: object) -> HTMLResponse:
        """Show a form again that was refused, with what to do about it."""
        error = self.t.problem(problem, self.services.now(), self._kept("form", {}).get("code", ""))
        return await self.show(
            template,
            status=problem.http_status,
            headers=problem.http_headers,
            error=error,
            retry_at=getattr(problem, "retry_at", None),
            **context,
        )

    async def show_problem(self, status: int) -> HTMLResponse:
        """Show what a status means, and the way out that works even while nothing can be checked."""
        text = words.PAGES.get(status, words.PAGES[500])
        return await self.show("problem.html", status=status, text=text, user=None, offer_sign_out=status >= 500)

    def about(self, codes: RecoveryCodes) -> AboutCodes:
        """Return what the page with the recovery codes shows."""
        return about_codes(self.t, codes, self.owner.email, self.services.now())

    def lead_to(self, name: str, **query: str) -> RedirectResponse:
        """Lead to another page, by GET. Without a host: the one that was asked may be anybody's word."""
        path = self.request.app.url_path_for(name)
        return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 302)

    def flash(self, text: str, kind: str) -> None:
        """Say something on the next page that is shown."""
        self._session["messages"] = [*self._session.get("messages", []), [kind, text]]

    def _names(self) -> dict[str, Any]:
        """Return what every template may use."""
        form = self._kept("form", {})
        return {
            "me": self._kept("me"),
            "user": self._kept("user"),
            "t": self.t,
            "product": PRODUCT,
            "words": words,
            "form": form,
            "kind": form.get("kind") or self.request.query_params.get("kind", "app"),
            "messages": self._session.pop("messages", []),
            "now": self.services.now(),
            "trust_days": TRUST_DAYS,
            "url": self.request.app.url_path_for,
            "static": "/static/{}".format,
        }

    @property
    def _session(self) -> dict[str, Any]:
        """What is remembered of this browser; nothing where the database could not be asked."""
        return cast("dict[str, Any]", self.request.scope.get("session", {}))

    def _kept(self, name: str, missing: Any = None) -> Any:
        """Return what was found out about the request before."""
        return getattr(self.request.state, name, missing)


Shown = Annotated[Page, Depends(Page)]


def known(response: Response, me: AsyncSession, trust_days: int = 0) -> Response:
    """Make this browser known, after a sign-in and after a change, so that no stranger can keep its owner out."""
    return with_cookie(response, me.browser_cookie(trust_days=trust_days))


def with_cookie(response: Response, cookie: BrowserCookie) -> Response:
    """Send a cookie along."""
    response.set_cookie(**cookie)
    return response
