"""The example applications, each on a database of its own and a clock that only the test moves, and programs that ask.

The examples show the same pages at the same addresses and keep the same tables. So what attacks or walks through one of
them does so with all: `EXAMPLES` has a `Server` for each.
"""

from __future__ import annotations

import asyncio
import html
import logging
import socket
import sqlite3
import tempfile
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from http.cookies import SimpleCookie
from pathlib import Path
from pkgutil import resolve_name
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import fastapi_app
import flask_app
import httpx
import uvicorn
from argon2 import PasswordHasher
from fastapi_app.database import METADATA
from flask_app.__main__ import DEMO, PASSWORD
from flask_app.accounts import Accounts
from sqlalchemy import create_engine
from support import FAST, Awaited, Clock, Phone
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

from twofa import KeyRing
from twofa.errors import InvalidCode
from twofa.stores import SQLAlchemyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    import pytest

    from twofa import Policy

SESSION = "__Host-session"
CHANGES = ("replace", "reset-app", "reset-codes", "turn-off", "set-up-again")
PATIENCE = 60.0


class Server:
    """One address for all tests, behind which each puts its own application."""

    site: Site
    address: str

    def new_site(self, folder: Path, policy: Policy = FAST, **options: Any) -> Site:
        """Put a fresh application behind the address."""
        raise NotImplementedError

    @contextmanager
    def serve(self) -> Iterator[Server]:
        """Serve in a thread until done."""
        raise NotImplementedError


class Site:
    """An example with a database of its own."""

    two_factor: Any
    """The library behind the pages, as on the blocking face."""
    user_id: str = DEMO.id
    """Whose account it is."""
    transport: httpx.BaseTransport
    """The way of a program's requests."""

    def __init__(self, server: Server, folder: Path, policy: Policy, **options: Any) -> None:
        self.clock = Clock()
        self.mails: list[tuple[str, str, str]] = []
        self.database = folder / "app.db"
        self.options = {
            "keys": KeyRing(KeyRing.generate_key()),
            "policy": policy,
            "clock": self.clock,
            "send": lambda *mail: self.mails.append(mail),
            **options,
        }
        server.site, self.address = self, server.address

    def pages(self) -> list[tuple[str, set[str]]]:
        """Return every page's address, and the methods that it takes."""
        raise NotImplementedError

    hash_check: str
    """What checks a password against a hash, by its name."""

    def watch_passwords(self, monkeypatch: pytest.MonkeyPatch, see: Callable[[str], object]) -> None:
        """Call `see` with each hash that a password is checked against, from where it is checked."""
        check = resolve_name(self.hash_check)

        def watched(*arguments: Any) -> Any:
            see(next(each for each in arguments if isinstance(each, str) and "$" in each))
            return check(*arguments)

        monkeypatch.setattr(self.hash_check, watched)

    def close(self) -> None:
        """Close the database."""
        raise NotImplementedError

    def client(self, cookie: str = "") -> Client:
        """Return a program that has this session's cookie, or none."""
        return Client(self, cookie)

    def routes(self, method: str) -> list[str]:
        """Return every address that takes this method."""
        found = [path for path, methods in self.pages() if method in methods]
        parts = [path.partition("<" if "<" in path else "{") for path in found]
        return [
            address
            for start, brace, _ in parts
            for address in ([f"{start}{change}" for change in CHANGES] if brace else [start])
        ]

    def sql(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """Run a statement in the database."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def enrol(self) -> tuple[Phone, list[str]]:
        """Set up an app and save the codes without a browser, for tests of what comes after that."""
        setup = self.two_factor.begin_setup(self.user_id, account_name=DEMO.email)
        phone = Phone(setup.uri, self.clock)
        codes = list(self.two_factor.confirm_setup(self.user_id, phone.code(), handle=setup.handle))
        self.two_factor.acknowledge_recovery_codes(self.user_id)
        return phone, codes

    def phone(self, page: str) -> Phone:
        """Take the key from a page's source, as someone does who opens the link on a phone."""
        address = html.unescape(page.partition('href="otpauth')[2].partition('"')[0])
        return Phone(f"otpauth{address}", self.clock)

    def spend(self, codes: list[str]) -> None:
        """Use up recovery codes without a browser."""
        for code in codes:
            self.two_factor.redeem_recovery_code(self.user_id, code, source="127.0.0.1")

    def guess(self, phone: Phone, times: int) -> None:
        """Sign in with wrong codes, without a browser."""
        for _ in range(times):
            with suppress(InvalidCode):
                self.two_factor.verify(self.user_id, phone.wrong_code())


class Client:
    """Someone at a program of their own, which sends what it likes."""

    def __init__(self, site: Site, cookie: str = "") -> None:
        self.site = site
        self._http = httpx.Client(transport=site.transport, base_url=site.address)
        # Kept by hand: to this program as to browsers, `localhost` counts as secure.
        self.cookies = {SESSION: cookie} if cookie else {}

    def send(
        self, method: str, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a request to exactly this address, and keep the cookies of its answer."""
        url = self._http.base_url.copy_with(raw_path=path.encode())
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self._http.request(method, url, data=form, headers={"Cookie": cookies, **(headers or {})})
        for line in answer.headers.get_list("Set-Cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0" or "1970" in morsel["expires"]:
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        self._http.cookies.clear()
        return answer

    def request(self, method: str, path: str, *, json: Any = None, token: str | None = None) -> httpx.Response:
        """Ask an API, which takes JSON and a bearer token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
        return self._http.request(method, path, json=json, headers=headers)

    def get(self, path: str) -> httpx.Response:
        """Ask for a page."""
        return self.send("GET", path)

    def post(self, path: str, **form: str) -> httpx.Response:
        """Send a form."""
        return self.send("POST", path, form)

    @property
    def cookie(self) -> str:
        """What the session's cookie holds, or nothing."""
        return self.cookies.get(SESSION, "")

    def sign_in(self, phone: Phone | None = None) -> Client:
        """Sign in, with a code that is not spent yet where an account has a second factor."""
        self.post("/sign-in", email=DEMO.email, password=PASSWORD)
        if phone is not None:
            self.site.clock.advance(phone.period)
            self.post("/sign-in/code", code=phone.code())
        return self


# --- Flask -----------------------------------------------------------------------------------------------------------


class FlaskServer(Server):
    """Werkzeug's server."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.address = f"http://localhost:{self._server.server_port}"

    def new_site(self, folder: Path, policy: Policy = FAST, **options: Any) -> FlaskSite:
        return FlaskSite(self, folder, policy, **options)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        site = self.site
        assert isinstance(site, FlaskSite)
        return site.app(environ, start_response)

    @contextmanager
    def serve(self) -> Iterator[FlaskServer]:
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class FlaskSite(Site):
    """`examples/flask_app`. Programs ask it directly, since no server is needed for that."""

    hash_check = "flask_app.accounts.check_password_hash"

    def __init__(self, server: Server, folder: Path, policy: Policy, **options: Any) -> None:
        super().__init__(server, folder, policy, **options)
        self.database.write_bytes(_with_the_demo_user())
        self.app = flask_app.create_app(self.database, **self.options)
        self.two_factor = self.app.extensions["flask_app"].two_factor
        self.transport = httpx.WSGITransport(app=self.app)

    def pages(self) -> list[tuple[str, set[str]]]:
        rules = [rule for rule in self.app.url_map.iter_rules() if rule.endpoint != "static"]
        return [(rule.rule, set(rule.methods or ())) for rule in rules]

    def close(self) -> None:
        self.app.extensions["store"].close()


@cache
def _with_the_demo_user() -> bytes:
    """Return a database in which the demo's password is hashed already, cheaply: it is checked in every test."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "app.db"
        with patch(
            "flask_app.accounts.generate_password_hash", partial(generate_password_hash, method="scrypt:1024:8:1")
        ):
            Accounts(database).add(DEMO, PASSWORD)
        return database.read_bytes()


# --- FastAPI ---------------------------------------------------------------------------------------------------------


class FastAPIServer(Server):
    """Uvicorn, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # which asyncio sets on its own sockets only
        self.address = f"http://localhost:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self._answer, interface="asgi3", lifespan="off", log_config=None, access_log=False)
        self._server = uvicorn.Server(config)
        self._started = Event()

    def new_site(self, folder: Path, policy: Policy = FAST, **options: Any) -> FastAPISite:
        return FastAPISite(self, folder, policy, **options)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        site = self.site
        assert isinstance(site, FastAPISite)
        await site.app(scope, receive, send)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Carry something out in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._started.set()
        await self._server.serve([self._socket])

    @contextmanager
    def serve(self) -> Iterator[FastAPIServer]:
        thread = Thread(target=lambda: asyncio.run(self._serve()))
        thread.start()
        assert self._started.wait(PATIENCE)
        try:
            yield self
        finally:
            self._server.should_exit = True
            thread.join()
            self._socket.close()


class FastAPISite(Site):
    """`examples/fastapi_app`."""

    hash_check = "argon2.PasswordHasher.verify"

    def __init__(
        self, server: FastAPIServer, folder: Path, policy: Policy, *, url: str | None = None, **options: Any
    ) -> None:
        super().__init__(server, folder, policy, **options)
        self._server = server
        self.database.write_bytes(_with_every_table())
        self.app = fastapi_app.create_app(url or f"sqlite+aiosqlite:///{self.database}", **self.options)
        self._lifespan = self.app.router.lifespan_context(self.app)
        server.run(self._lifespan.__aenter__())
        services = self.app.state.services
        with patch("fastapi_app.accounts._HASHER", _CHEAP):
            server.run(services.accounts.add(DEMO, PASSWORD))
        self.two_factor = Awaited(services.two_factor, run=server.run)
        self.transport = httpx.HTTPTransport(verify=False)

    def pages(self) -> list[tuple[str, set[str]]]:
        from fastapi_app import administration, sign_in

        routes = [*sign_in.pages.routes, *administration.pages.routes]
        return [("/", {"GET"}), *((route.path, route.methods) for route in routes)]  # type: ignore[attr-defined]

    def close(self) -> None:
        self.transport.close()
        self._server.run(self._lifespan.__aexit__(None, None, None))


_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""How much a hash costs is written in it, so that checking a password is cheap too."""


@cache
def _with_every_table() -> bytes:
    """Return an empty database: making its tables takes a tenth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "app.db"
        engine = create_engine(f"sqlite:///{database}")
        METADATA.create_all(engine)
        SQLAlchemyStore(engine).create_tables()
        engine.dispose()
        return database.read_bytes()


EXAMPLES: dict[str, type[Server]] = {"flask": FlaskServer, "fastapi": FastAPIServer}
