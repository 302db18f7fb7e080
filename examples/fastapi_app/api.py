"""The JSON API: every client carries its session as a bearer token (`two_factor.bearer`).

A client sends `token` with every request, and keeps the new one from each answer that has one. After a refusal it keeps
what it had. There are no cookies, so no other site can ride on them.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from web_pages import PRODUCT, TRUST_DAYS, password_is_old, words

from fastapi_app.accounts import User
from fastapi_app.models import (
    Account,
    Client,
    Code,
    Credentials,
    Event,
    NewCodes,
    NewSetup,
    Problem,
    Proof,
    SecondStep,
    SecondStepTaken,
    ShownSetup,
    SignedIn,
    Verified,
)
from fastapi_app.web import Services, services_of, source_of
from twofa import RecoveryCodes, Setup
from twofa.errors import CodeRequired, SignInRequired, TwoFactorError
from twofa.session import BROWSER_COOKIE, AsyncBearer

# --- who is asking ---------------------------------------------------------------------------------------------------

Sent = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def open_client(request: Request, sent: Sent) -> AsyncBearer:
    """Find out who is asking, by the token that was sent."""
    two_factor = services_of(request).two_factor
    return await two_factor.bearer(None if sent is None else sent.credentials, source=source_of(request))


Me = Annotated[AsyncBearer, Depends(open_client)]


async def find_owner(request: Request, me: Me) -> User:
    """Let nobody in who is not signed in, or whose account is gone."""
    user = await services_of(request).accounts.get(me.require())
    if user is None:
        raise SignInRequired
    return user


Owner = Annotated[User, Depends(find_owner)]
Behind = Annotated[Services, Depends(services_of)]


def kept(me: AsyncBearer, trust_days: int = 0) -> dict[str, Any]:
    """Return what the client keeps from now on."""
    device = me.browser_cookie(trust_days=trust_days)["value"]
    return {"token": me.token, "device": device}


# --- signing in and out ----------------------------------------------------------------------------------------------


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the refusals of an operation. What is too long is refused before this API sees it (`app.py`)."""
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in (400, 422, 500, 503, *statuses)
    }
    return {**refusals, 413: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


class WrongPassword(Exception):
    """The first step of signing in was refused."""


sign_in = APIRouter(tags=["sign in"])


@sign_in.post("/sign-in", responses=problems(401))
async def check_password(given: Credentials, me: Me, services: Behind) -> SignedIn:
    """Take the password. Where a code is owed, the token is good for `/sign-in/code` and nothing else."""
    user = await services.accounts.check(given.email, given.password)
    if user is None:
        raise WrongPassword
    try:
        await me.password_accepted(user.id, cookies={BROWSER_COOKIE: given.device or ""})
    except CodeRequired as owed:
        return SignedIn(token=me.token or "", code_required=True, recovery_only=owed.recovery_only)
    return SignedIn(**kept(me), code_required=False)


@sign_in.post("/sign-in/code", responses=problems(401, 409, 429))
async def check_code(given: SecondStep, me: Me) -> SecondStepTaken:
    """Take a code of the app or a recovery code. Whoever is signed in may then change things for ten minutes."""
    verification = await me.verify(given.code)
    carried = kept(me, trust_days=TRUST_DAYS if given.trust else 0)
    return SecondStepTaken(**carried, verification=Verified(**verification.to_dict()))


account = APIRouter(tags=["account"], dependencies=[Depends(find_owner)])


@account.get("/account", responses=problems(401))
async def look(me: Me, owner: Owner) -> Account:
    """Tell who is signed in, and where the second factor stands."""
    return Account(**owner._asdict(), second_factor=me.status, needs_code=me.needs_code, has_setup=me.has_setup)


@account.get("/events", responses=problems(401))
async def list_events(me: Me, services: Behind) -> list[Event]:
    """Tell what happened to the account, the newest first."""
    return [Event(**event.to_dict()) for event in await services.two_factor.events(me.require())]


@account.post("/sign-out-everywhere", status_code=204, responses=problems(401))
async def sign_out_everywhere(me: Me) -> None:
    """End this session, its copies and all others. A client that only wants to sign out here forgets the token."""
    await me.sign_out(everywhere=True)


@account.post("/end-other-sessions", responses=problems(401))
async def end_other_sessions(me: Me) -> Client:
    """Sign the owner out everywhere else, and trust no device any more."""
    await me.end_other_sessions()
    return Client(**kept(me))


# --- the second factor -----------------------------------------------------------------------------------------------

second_factor = APIRouter(prefix="/second-factor", tags=["second factor"], dependencies=[Depends(find_owner)])


async def shown(setup: Setup) -> ShownSetup:
    """Return what the owner sees of a set-up. Drawing takes 10 to 150 ms, so it is done outside of the event loop."""
    return ShownSetup(**setup.to_dict(), qr_svg=await run_in_threadpool(setup.qr_svg))


def new_codes(me: AsyncBearer, codes: RecoveryCodes) -> NewCodes:
    """Return the codes, this once."""
    return NewCodes(**kept(me), recovery_codes=list(codes))


@second_factor.post("/set-up", responses=problems(401, 403, 409, 429))
async def begin_setup(given: Proof, me: Me, owner: Owner, services: Behind) -> NewSetup:
    """Add an app, or replace it. A first one takes a password that was just given (ASVS 5.0 7.5.1)."""
    if not me.status.required and password_is_old(me.signed_in_at, services.now()):
        raise SignInRequired("expired")
    setup = await me.begin_setup(owner.email, given.code)
    return NewSetup(**kept(me), setup=await shown(setup))


@second_factor.get("/set-up", responses=problems(401, 410))
async def look_at_setup(me: Me) -> ShownSetup:
    """Show this client's set-up again."""
    return await shown(await me.setup())


@second_factor.delete("/set-up", responses=problems(401, 410))
async def cancel_setup(me: Me) -> Client:
    """Forget this client's set-up and touch nothing else."""
    await me.cancel_setup()
    return Client(**kept(me))


@second_factor.post("/set-up/confirm", responses=problems(401, 410, 429))
async def confirm_setup(given: Code, me: Me) -> NewCodes:
    """Confirm the new app by its first code."""
    return new_codes(me, await me.confirm_setup(given.code))


@second_factor.post("/recovery-codes", responses=problems(401, 403, 409, 429))
async def reset_recovery_codes(given: Proof, me: Me) -> NewCodes:
    """Make new recovery codes."""
    return new_codes(me, await me.reset_recovery_codes(given.code))


@second_factor.post("/recovery-codes/saved", responses=problems(401, 409))
async def acknowledge_recovery_codes(me: Me) -> Client:
    """Take the owner's word that the codes are in a safe place."""
    await me.acknowledge_recovery_codes()
    return Client(**kept(me))


@second_factor.post("/reset", responses=problems(401, 403, 409, 429))
async def reset_authenticator(given: Proof, me: Me, owner: Owner) -> NewSetup:
    """Kill the present app, of a phone that is lost, and set up a new one."""
    setup = await me.reset_authenticator(owner.email, given.code)
    return NewSetup(**kept(me), setup=await shown(setup))


@second_factor.post("/turn-off", responses=problems(401, 403, 409, 429))
async def disable(given: Proof, me: Me) -> Client:
    """Turn the second factor off."""
    await me.disable(given.code)
    return Client(**kept(me))


# --- refusals --------------------------------------------------------------------------------------------------------


async def refuse(_request: Request, problem: TwoFactorError) -> JSONResponse:
    """Answer for every error of the library's."""
    if problem.http_status >= 500:
        logging.getLogger(__name__).error("refused: %s", problem)  # the log has the details, the client has not
    return answer(problem.http_status, problem.to_dict(), problem.http_headers)


async def refuse_body(_request: Request, problem: RequestValidationError) -> JSONResponse:
    """Say where a body is wrong. FastAPI's own answer repeats what was sent, passwords included."""
    wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problem.errors())
    return answer(422, {"code": "invalid_request", "message": wrong})


async def refuse_request(_request: Request, problem: HTTPException) -> JSONResponse:
    """Answer for an address that is none, and its like."""
    phrase = HTTPStatus(problem.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    return answer(problem.status_code, {"code": code, "message": phrase}, problem.headers)


async def refuse_password(_request: Request, _problem: WrongPassword) -> JSONResponse:
    """Answer for a wrong password as for an address that nobody has."""
    return answer(401, {"code": "wrong_password", "message": words.WRONG_PASSWORD})


async def fail(_request: Request, _problem: Exception) -> JSONResponse:
    """Say nothing of the inside (ASVS 5.0 16.5.1); the log has the traceback."""
    return answer(500, {"code": "internal_error", "message": "Something went wrong. Try again."})


def answer(status: int, problem: dict[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a refusal: a `Problem`."""
    asking = {"WWW-Authenticate": "Bearer"} if status == 401 else {}  # RFC 9110 §15.5.2
    return JSONResponse(problem, status, {**asking, **(headers or {})})


def create_api(services: Services) -> FastAPI:
    """Put the API together."""
    api = FastAPI(
        title=f"{PRODUCT} API",
        version="1",
        docs_url=None,  # its scripts come from elsewhere, which our headers forbid
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            TwoFactorError: refuse,
            RequestValidationError: refuse_body,
            HTTPException: refuse_request,
            WrongPassword: refuse_password,
            Exception: fail,
        },
    )
    api.state.services = services
    for router in (sign_in, account, second_factor):
        api.include_router(router)
    return api
