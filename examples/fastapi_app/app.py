"""The application: put together once, then every request passes through here."""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import web_pages
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import RedirectResponse
from starlette.routing import Mount
from web_pages import HEADERS, PRODUCT
from web_pages.notices import log_mail

from fastapi_app import administration, sign_in
from fastapi_app.accounts import Accounts
from fastapi_app.api import create_api
from fastapi_app.database import METADATA, connect
from fastapi_app.mail import Notices
from fastapi_app.sessions import ServerSessions
from fastapi_app.web import Page, Services
from twofa import AsyncTwoFactor, KeyRing, Policy
from twofa.errors import CodeRequired, NoSetup, SetupExpired, SignInRequired, TwoFactorError
from twofa.stores import AsyncSQLAlchemyStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from fastapi import Request, Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from web_pages import Language
    from web_pages.notices import Send as SendMail


POLICY = Policy(session_lifetime=12 * 3600)
"""NIST SP 800-63B-4 §2.2.3: at AAL2 at most a day in all; `sessions.py` has the hour without activity."""


def create_app(
    database_url: str,
    *,
    keys: KeyRing,
    policy: Policy = POLICY,
    clock: Callable[[], float] = time.time,
    send: SendMail = log_mail,
    https: bool = True,
    languages: Mapping[str, Language] | None = None,
) -> Starlette:
    """Put the application together: the API under `/api`, the pages everywhere else.

    `database_url` is SQLAlchemy's, with an asynchronous driver. `keys` seal the second factors and are kept apart from
    the database (ASVS 5.0 13.3.1). `clock` returns Unix seconds, `send` sends a mail. `https=False` is for a
    development server without TLS: the session's cookie is then not `Secure`.
    """
    engine = connect(database_url)
    accounts, store = Accounts(engine), AsyncSQLAlchemyStore(engine)
    two_factor = AsyncTwoFactor(
        store, keys=keys, issuer=PRODUCT, policy=policy, clock=clock, on_event=Notices(accounts, send)
    )
    services = Services(two_factor, accounts, languages or web_pages.load(), clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)  # yours are made by your migrations
        await store.create_tables()
        yield
        await engine.dispose()

    app = Starlette(
        routes=[
            Mount("/api", create_api(services)),
            Mount("/static", StaticFiles(directory=web_pages.STATIC)),
            Mount("/", create_pages(services, Middleware(ServerSessions, engine=engine, clock=clock, https=https))),
        ],
        middleware=[
            Middleware(Headers),
            Middleware(RequestBodyLimitMiddleware, max_body_size=16 * 1024),  # ASVS 5.0 15.2.2: no form is longer
        ],
        lifespan=lifespan,
    )
    app.state.services = services
    return app


def create_pages(services: Services, sessions: Middleware) -> FastAPI:
    """Put the pages together, and say what each of the library's errors leads to."""
    pages = FastAPI(
        openapi_url=None,
        redirect_slashes=False,  # no redirect is made of what someone else has put into a link
        middleware=[sessions],
        exception_handlers={
            CodeRequired: ask_for_code,
            SignInRequired: ask_to_sign_in,
            NoSetup: start_over,
            SetupExpired: start_over,
            TwoFactorError: refuse,
            HTTPException: show_problem,
            RequestValidationError: show_no_such_page,
            Exception: fail,
        },
    )
    pages.state.services = services
    pages.include_router(sign_in.pages)
    pages.include_router(administration.pages)
    pages.add_api_route("/", lambda: RedirectResponse("/administration/two-factor", 302))
    return pages


# --- what no page handles ------------------------------------------------------------------------------------------


async def ask_for_code(request: Request, _problem: CodeRequired) -> Response:
    """Lead to the second step, of which only the first was taken."""
    return Page(request).lead_to("code")


async def ask_to_sign_in(request: Request, problem: SignInRequired) -> Response:
    """Lead to the sign-in page. After a form, look first: the second click of two finds out what the first one did."""
    if request.method == "POST":
        return Page(request).lead_to("overview")
    return Page(request).lead_to("sign_in", reason=problem.reason)


async def start_over(request: Request, problem: TwoFactorError) -> Response:
    """Lead from a set-up that is over to where the account says how it stands."""
    page = Page(request)
    page.flash(page.t.problem(problem, page.services.now()), "warning")
    return page.lead_to("overview")


async def refuse(request: Request, problem: TwoFactorError) -> Response:
    """Refuse what is left, such as a damaged record: it never reads as "no second factor"."""
    logging.getLogger(__name__).error("refused: %s", problem.code)
    return await Page(request).show_problem(problem.http_status)


async def show_problem(request: Request, problem: HTTPException) -> Response:
    """Show a page for 404 and its like; says nothing of the inside (ASVS 5.0 16.5.1)."""
    return await Page(request).show_problem(problem.status_code)


async def show_no_such_page(request: Request, _problem: RequestValidationError) -> Response:
    """Show the page for 404: an address is all that is checked before a page is asked."""
    return await Page(request).show_problem(404)


async def fail(request: Request, _problem: Exception) -> Response:
    """Show the page for what nobody foresaw; the log has the traceback."""
    return await Page(request).show_problem(500)


class Headers:
    """ASGI middleware: the headers of every answer. No page is cached: half of them show secrets (ASVS 14.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = "max-age=300" if scope["path"].startswith("/static/") else "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)
