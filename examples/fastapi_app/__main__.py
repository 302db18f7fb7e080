"""Run the service on this machine: `make web-fastapi`, or `python -m fastapi_app` in `examples/`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from fastapi_app.accounts import User
from fastapi_app.app import create_app
from twofa import KeyRing

if TYPE_CHECKING:
    from starlette.applications import Starlette

DEMO = User("user-42", "alice@example.com", "Alice Moreau")
PASSWORD = "correct horse battery staple"  # noqa: S105  # the demo's, and printed


async def prepare(app: Starlette) -> None:
    """Make the tables, and the demo's user."""
    async with app.router.lifespan_context(app):
        await app.state.services.accounts.add(DEMO, PASSWORD)


def main() -> None:
    """Serve until Ctrl-C. Without DATABASE_URL and TWOFA_KEYS, everything is forgotten then."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what is worth reading are the events and the mails
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        url = os.environ.get("DATABASE_URL", f"sqlite+aiosqlite:///{folder}/app.db")
        keys = KeyRing.from_env("TWOFA_KEYS") if "TWOFA_KEYS" in os.environ else KeyRing(KeyRing.generate_key())
        app = create_app(url, keys=keys, https=False)
        asyncio.run(prepare(app))
        with socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000")))) as listening:
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits 40 ms
            address = f"http://localhost:{listening.getsockname()[1]}/"
            sys.stdout.write(f"\n  {address}\n  {DEMO.email}\n  {PASSWORD}\n\n  {address}api/openapi.json\n\n")
            sys.stdout.flush()
            uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run([listening])


if __name__ == "__main__":
    main()
