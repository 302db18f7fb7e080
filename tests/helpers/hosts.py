"""Real web frameworks, each with one page that does with a browser's session whatever a test asks for.

A `Browser` sends a real request with its cookies, the framework opens its session, `two_factor.session` is called as a
host would, the test's action runs, and the framework answers with whatever cookies it wants to set.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import contextmanager, suppress
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import django_project
from support import FAST, CountingStore, Phone, World

from twofa import AsyncTwoFactor, TwoFactor
from twofa.session.identity import UNSAID
from twofa.stores import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Action = Callable[[Any], Any]

USER_HEADER = "X-Host-User"
"""Whom the host's own login names, or "nobody"; absent where it has no login of its own."""


class StoreDown(Exception):  # what a driver raises
    """The store cannot be reached."""


class Store(CountingStore):
    """A store that can be switched off."""

    down = False

    def load(self, user_id: str) -> Any:
        if self.down:
            self.loads += 1
            raise StoreDown
        return super().load(user_id)

    def swap(self, user_id: str, change: Any) -> bool:
        if self.down:
            raise StoreDown
        return super().swap(user_id, change)


class Host:
    """One application in one framework."""

    name: str
    """What tests call it."""
    replays = True
    """Whether a copy of an old cookie brings the old session back: there the cookie itself is the session."""
    kind = "blocking"
    awaits = False

    def __init__(self) -> None:
        self.store = Store()
        self.world = World("blocking", store=self.store)
        self.clock = self.world.clock
        self.rotation: Any = None
        """In place of the framework's own way to change a session's id, for tests of one that fails."""
        self._numbers = itertools.count()
        self._actions: dict[str, Action] = {}
        self.outcomes: dict[str, Any] = {}
        self.face = self._new_face()

    def _new_face(self) -> Any:
        options: dict[str, Any] = {"keys": self.world.keys, "issuer": "Example", "policy": FAST, "clock": self.clock}
        if self.awaits:
            return AsyncTwoFactor(ThreadedStore(self.store), **options)
        return TwoFactor(self.store, **options)

    # --- in the test -----------------------------------------------------------------------------------------------

    def browser(self) -> Browser:
        """Return a browser that has never been here."""
        return Browser(self)

    def enrol(self, user_id: str) -> tuple[Phone, list[str]]:
        """Set up an app without a browser, and save the codes."""
        phone, codes = self.world.enrol(user_id)
        self.world.face.acknowledge_recovery_codes(user_id)
        return phone, list(codes)

    def send(self, action: Action, cookies: dict[str, str], host_user: str | None) -> tuple[Any, SimpleCookie]:
        """Send a request; return what came of the action, and the cookies that the answer sets."""
        number = str(next(self._numbers))
        self._actions[number] = action
        headers = {"X-Action": number, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        if host_user is not None:
            headers[USER_HEADER] = host_user
        lines = self.request({name: value for name, value in headers.items() if value})
        answer = SimpleCookie()
        for line in lines:
            answer.load(line)
        return self.outcomes.pop(number), answer

    def request(self, headers: dict[str, str]) -> list[str]:
        """Send a request; return the answer's Set-Cookie headers."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing behind."""

    # --- in the request --------------------------------------------------------------------------------------------

    def options(self, headers: Any) -> dict[str, Any]:
        """Return how the host opens the session: everything but the session itself."""
        named = headers.get(USER_HEADER)
        options: dict[str, Any] = {"host_user": UNSAID if named is None else None if named == "nobody" else named}
        if self.rotation is not None:
            options["rotate"] = self.rotation
        return options

    def carry_out(self, held: Any, headers: Any, **options: Any) -> None:
        """Do what the test wants, and keep what came of it."""
        number = headers["X-Action"]
        try:
            self.outcomes[number] = Value(self._act(number, held, {**options, **self.options(headers)}))
        except Exception as error:  # raised again in the test
            self.outcomes[number] = error

    def _act(self, number: str, held: Any, options: dict[str, Any]) -> Any:
        return self._actions[number](self.face.session(held, **options))

    async def carry_out_async(self, held: Any, headers: Any, **options: Any) -> None:
        """Do so on the async face."""
        number = headers["X-Action"]
        try:
            me = await self.face.session(held, **{**options, **self.options(headers)})
            value = self._actions[number](me)
            self.outcomes[number] = Value(await value if asyncio.iscoroutine(value) else value)
        except Exception as error:
            self.outcomes[number] = error


class Value:
    """What an action returned."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Browser:
    """A browser with its cookies."""

    def __init__(self, host: Host, cookies: dict[str, str] | None = None) -> None:
        self.host = host
        self.cookies = cookies or {}
        self.host_user: str | None = None
        """Whom the host's own login names, or "nobody"; none where there is no such login."""

    def do(self, action: Action) -> Any:
        """Send a request in which `action` gets the session; return or raise what it did, and keep the cookies."""
        outcome, answer = self.host.send(action, self.cookies, self.host_user)
        self.take(answer)
        if isinstance(outcome, Value):
            return outcome.value
        raise outcome

    def take(self, answer: SimpleCookie) -> None:
        """Keep the cookies of an answer."""
        for name, morsel in answer.items():
            if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value

    def copy(self) -> Browser:
        """Return another browser with a copy of the cookies, as someone has who has read them."""
        other = Browser(self.host, dict(self.cookies))
        other.host_user = self.host_user
        return other

    # --- short names ------------------------------------------------------------------------------------------------

    def who(self) -> str | None:
        """Return who is signed in."""
        return self.do(lambda me: me.user_id)

    def owes(self) -> str | None:
        """Return who owes a code."""
        return self.do(lambda me: me.awaiting)

    def password(self, user_id: str, **options: Any) -> None:
        """Give a right password."""
        self.do(lambda me: me.password_accepted(user_id, **options))

    def sign_in(self, user_id: str, phone: Phone | None = None) -> Browser:
        """Sign in with a right password and, where there is one, a right code that was not used yet."""
        if phone is None:
            self.password(user_id)
            return self
        with suppress(Exception):
            self.password(user_id)
        self.host.clock.advance(phone.period)
        self.do(lambda me: me.verify(phone.code()))
        return self


# --- Flask ---------------------------------------------------------------------------------------------------------


class Flask(Host):
    """Flask with its own sessions, which are signed cookies."""

    name = "Flask, cookies"

    def __init__(self) -> None:
        super().__init__()
        import flask

        self.app = flask.Flask("host")
        self.app.secret_key = "known to nobody"
        self.configure()

        @self.app.post("/")
        def page() -> str:
            self.carry_out(flask.session, flask.request.headers, **self.way_to_rotate(flask.session))
            return ""

    def configure(self) -> None:
        """Choose how sessions are kept."""

    def way_to_rotate(self, session: Any) -> dict[str, Any]:  # noqa: ARG002  # those on the server need it
        """Return how a session gets a new id."""
        return {"rotate": None}

    def request(self, headers: dict[str, str]) -> list[str]:
        client = self.app.test_client(use_cookies=False)
        return client.post("/", headers=headers).headers.getlist("Set-Cookie")


class FlaskSession(Flask):
    """Flask with Flask-Session: sessions on the server."""

    name = "Flask, Flask-Session"
    replays = False

    def configure(self) -> None:
        from cachelib import SimpleCache
        from flask_session import Session

        self.app.config |= {
            "SESSION_TYPE": "cachelib",
            "SESSION_CACHELIB": SimpleCache(),
            # Otherwise a request that only looked writes the session again, and revives one that was signed out.
            "SESSION_REFRESH_EACH_REQUEST": False,
        }
        Session(self.app)

    def way_to_rotate(self, session: Any) -> dict[str, Any]:
        return {"rotate": lambda: self.app.session_interface.regenerate(session)}


# --- bearer tokens -------------------------------------------------------------------------------------------------


class Bearer(Host):
    """An API whose client carries the state. Its "cookie" is the token."""

    name = "bearer tokens"

    def send(
        self,
        action: Action,
        cookies: dict[str, str],
        host_user: str | None,  # noqa: ARG002  # an API has no other login
    ) -> tuple[Any, SimpleCookie]:
        me = self._open(cookies.get("token"))
        try:
            outcome: Any = Value(self._run(action(me)))
        except Exception as error:
            outcome = error
        answer = SimpleCookie()
        if me.token != cookies.get("token"):
            answer["token"] = me.token or ""
            answer["token"]["max-age"] = "" if me.token else "0"
        return outcome, answer

    def _open(self, token: str | None) -> Any:
        return self.face.bearer(token)

    def _run(self, value: Any) -> Any:
        return value


class AsyncBearer(Bearer):
    """The same on the async face."""

    name = "bearer tokens, async"
    awaits = True

    def _open(self, token: str | None) -> Any:
        return asyncio.run(self.face.bearer(token))

    def _run(self, value: Any) -> Any:
        return asyncio.run(value) if asyncio.iscoroutine(value) else value


# --- Starlette -----------------------------------------------------------------------------------------------------


class Starlette(Host):
    """Starlette with its own sessions, which are signed cookies, and the async face."""

    name = "Starlette, cookies"
    awaits = True

    def __init__(self) -> None:
        super().__init__()
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.sessions import SessionMiddleware
        from starlette.responses import Response
        from starlette.routing import Route

        async def page(request: Any) -> Response:
            await self.carry_out_async(request.session, request.headers, rotate=None)
            return Response()

        middleware = [Middleware(SessionMiddleware, secret_key="known to nobody")]
        self.app = Starlette(routes=[Route("/", page, methods=["POST"])], middleware=middleware)

    def request(self, headers: dict[str, str]) -> list[str]:
        return asyncio.run(post(self.app, headers))


async def post(app: Any, headers: dict[str, str]) -> list[str]:
    """Send an ASGI application a request, as its server would; return the answer's Set-Cookie headers."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return [value.decode() for name, value in sent[0]["headers"] if name == b"set-cookie"]


# --- Django --------------------------------------------------------------------------------------------------------


class Django(Host):
    """Django with its sessions in the database, and every request in a transaction (`ATOMIC_REQUESTS`)."""

    name = "Django, database"
    engine = "db"
    replays = False

    def __init__(self) -> None:
        super().__init__()
        from django.test import override_settings
        from django.test.client import Client

        django_project.set_up()
        self._settings = override_settings(
            SESSION_ENGINE=f"django.contrib.sessions.backends.{self.engine}",
            SESSION_COOKIE_SECURE=False,
            SESSION_SAVE_EVERY_REQUEST=False,
            MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
            ROOT_URLCONF=Urls(self.page),
        )
        self._settings.enable()
        self._client = Client

    def page(self, request: Any) -> Any:
        from django.http import HttpResponse

        self.carry_out(request.session, request.headers)
        return HttpResponse()

    def request(self, headers: dict[str, str]) -> list[str]:
        answer = self._client(headers=headers).post("/")
        return [morsel.OutputString() for morsel in answer.cookies.values()]

    def close(self) -> None:
        self._settings.disable()


class DjangoCache(Django):
    """Django with its sessions in the cache."""

    name = "Django, cache"
    engine = "cache"


class DjangoCookies(Django):
    """Django with its sessions in signed cookies."""

    name = "Django, cookies"
    engine = "signed_cookies"
    replays = True


class Urls:
    """A module of addresses, with one page."""

    def __init__(self, page: Any) -> None:
        from django.urls import path

        self.urlpatterns = [path("", page)]


HOSTS: list[type[Host]] = [
    Flask, FlaskSession, Starlette, Django, DjangoCache, DjangoCookies, Bearer, AsyncBearer,
]  # fmt: skip
ON_THE_SERVER = [host for host in HOSTS if not host.replays]


@contextmanager
def running(kind: type[Host]) -> Iterator[Host]:
    """Run a host for the length of a test."""
    host = kind()
    try:
        yield host
    finally:
        host.close()
