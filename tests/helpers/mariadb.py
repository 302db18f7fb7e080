"""A MariaDB server of the tests' own, with its default durability.

`TWOFA_TEST_MARIADB_URL` names another server instead (`mysql://root:secret@127.0.0.1:3306/mysql`), by a user who may
create databases. It may be a MySQL: the same tests are for both.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pymysql
import pytest
from not_tested import not_here

on_mariadb = pytest.mark.xdist_group("mariadb")
"""Tests that share the one server, which therefore run in one process."""

PATIENCE = 60.0
_USER = "nobody"
"""Whom the server runs as where the tests run as root."""
_FOLDERS = ":".join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"))
"""Debian keeps servers where an ordinary user's PATH does not lead."""


class MariaDB:
    """One server, and as many empty databases in it as are asked for."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._numbers = count(1)
        self._prefix = f"twofa_{os.getpid()}_{time.time_ns() // 1000}"

    def url(self, database: str = "mysql", *, driver: str = "pymysql", port: int | None = None) -> str:
        """Return the URL of a database as SQLAlchemy writes it; by another port, a proxy's perhaps."""
        address = self._url.netloc
        if port is not None:
            user, at, _ = address.rpartition("@")
            address = f"{user}{at}127.0.0.1:{port}"
        return urlunsplit((f"mysql+{driver}", address, f"/{database}", "", ""))

    def connect(self, database: str = "mysql") -> Any:
        """Return a connection in autocommit mode."""
        return pymysql.connect(
            host=self.address[0],
            port=self.address[1],
            user=self._url.username or "root",
            password=self._url.password or "",
            database=database,
            autocommit=True,
        )

    @property
    def is_mysql(self) -> bool:
        """Whether the server that was named is MySQL."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            return "MariaDB" not in cursor.fetchone()[0]

    def new_database(self) -> str:
        """Create an empty database; return its name."""
        name = f"{self._prefix}_{next(self._numbers)}"
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return name

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._url.hostname or "127.0.0.1", self._url.port or 3306


class OwnMariaDB(MariaDB):
    """A server that belongs to the tests."""

    def __init__(self, *options: str) -> None:
        found = {name: shutil.which(name, path=_FOLDERS) for name in ("mariadbd", "mariadb-install-db")}
        if None in found.values():
            not_here("MariaDB", "install mariadb-server, or set TWOFA_TEST_MARIADB_URL")
        self._home = Path(tempfile.mkdtemp(prefix="twofa-mariadb-"))
        # A server that starts removes the temporary tables of every other one that has the same folder for them.
        identity: dict[str, Any] = {"cwd": self._home, "env": {**os.environ, "TMPDIR": str(self._home)}}
        if os.name == "posix" and os.geteuid() == 0:
            import pwd  # not on Windows

            them = pwd.getpwnam(_USER)
            identity |= {"user": them.pw_uid, "group": them.pw_gid, "extra_groups": []}
            os.chown(self._home, them.pw_uid, them.pw_gid)
        data = self._home / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        super().__init__(f"mysql://root@127.0.0.1:{port}")
        install = [found["mariadb-install-db"], "--no-defaults", f"--datadir={data}", "--skip-test-db"]
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], check=True, capture_output=True, **identity
        )
        # Without any configuration the server's character set is latin1: our tables must not depend on it.
        command = [
            found["mariadbd"],
            "--no-defaults",
            f"--datadir={data}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            *options,
        ]
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *command,
                    f"--socket={self._home}/socket",
                    f"--pid-file={self._home}/pid",
                    "--skip-name-resolve",
                    "--max-connections=500",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(pymysql.OperationalError):
                self.connect().close()
                break
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._home / "log").read_text(errors="replace"))
            time.sleep(0.05)  # it says by nothing else that it is ready

    def stop(self) -> None:
        """End it, and remove what it kept."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        shutil.rmtree(self._home, ignore_errors=True)


@cache
def server() -> MariaDB:
    """Return the server that all tests of this process share; it ends with the process.

    Mark the tests `on_mariadb`, so that they run in one process.
    """
    named = os.environ.get("TWOFA_TEST_MARIADB_URL")
    if named:
        return MariaDB(named)
    own = OwnMariaDB()
    atexit.register(own.stop)
    return own
