"""A PgBouncer of the tests' own, in front of one of their PostgreSQL servers.

In transaction pooling each transaction of a client may run on another connection to the server. What a driver has
prepared on one of them is not there on the next, or is there under another statement's name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from not_tested import not_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql import PostgreSQL

PATIENCE = 60.0
_USER = "nobody"
"""Whom it runs as where the tests run as root, since PgBouncer refuses to be root."""
_FOLDERS = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
"""Debian keeps it where an ordinary user's PATH does not lead."""


class PgBouncer:
    """One PgBouncer in transaction pooling, with few connections to the server, so that its clients often share."""

    def __init__(self, server: PostgreSQL, connections: int) -> None:
        program = shutil.which("pgbouncer", path=_FOLDERS)
        if program is None:
            not_here("PgBouncer", "install pgbouncer")
        self._server = server
        self._home = Path(tempfile.mkdtemp(prefix="twofa-pgbouncer-"))
        identity: dict[str, Any] = {}
        if os.name == "posix" and os.geteuid() == 0:
            import pwd  # not on Windows

            them = pwd.getpwnam(_USER)
            identity = {"user": them.pw_uid, "group": them.pw_gid, "extra_groups": []}
            os.chown(self._home, them.pw_uid, them.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        host, port = server.address
        configuration = self._home / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={host} port={port}\n"
            "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\n"
            f"listen_port = {self.port}\nauth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {connections}\nmax_client_conn = 200\n"
            # What drivers say at the start of a connection, and PgBouncer would refuse.
            "ignore_startup_parameters = extra_float_digits,options\n"
        )
        # `auth_type = any` lets everybody in as one user: the database's entry has to name it.
        configuration.write_text(
            configuration.read_text().replace(f"port={port}\n", f"port={port} user={server.user}\n")
        )
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [program, "-q", str(configuration)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._answers(), connect_timeout=5):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._home / "log").read_text(errors="replace"))
            time.sleep(0.02)  # it says by nothing else that it is ready

    def _answers(self) -> str:
        return self._server.url("postgres", port=self.port)

    def url(self, database: str, *, driver: str) -> str:
        """Return the URL of a database, through PgBouncer, as SQLAlchemy writes it."""
        return self._server.url(database, driver=driver, port=self.port)

    def close(self) -> None:
        """End it, and remove what it kept."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE)
        shutil.rmtree(self._home, ignore_errors=True)


@contextlib.contextmanager
def pgbouncer(server: PostgreSQL, *, connections: int = 2) -> Iterator[PgBouncer]:
    """Run a PgBouncer in front of a server."""
    bouncer = PgBouncer(server, connections)
    try:
        yield bouncer
    finally:
        bouncer.close()
