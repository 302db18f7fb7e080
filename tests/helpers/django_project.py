"""Django, configured once a process for every test that needs it, and databases for `DjangoStore` beside it."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from support import FAST, KEY

_numbers = itertools.count(1)

SQLITE = {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF", "timeout": 60}
"""Options for SQLite: it waits, since many tests may run on a busy machine, but not for the disk."""


def set_up(*, migrate: bool = True) -> None:
    """Make this process one of `examples/django_site`, with cheap hashes, unless that is done."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    if settings.configured:
        return
    environment = {"DATA": str(_folder()), "TWOFA_KEYS": KEY, "DJANGO_SETTINGS_MODULE": "django_site.settings"}
    with patch.dict(os.environ, environment):
        from django_site import settings as ours

        for name, value in CHEAP.items():
            setattr(ours, name, value)
        django.setup()
        import django_site.security  # noqa: F401  # reads the keys
    if migrate:
        for database in ("default", "twofa"):
            call_command("migrate", database=database, verbosity=0)


CHEAP = {
    "POLICY": FAST,
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "ALLOWED_HOSTS": ["*"],
}


def add_database(alias: str, **named: Any) -> str:
    """Add a database to the project; return its alias."""
    from django.db import connections

    databases = connections.configure_settings({"default": connections.settings["default"], alias: named})
    connections.settings[alias] = databases[alias]
    return alias


def new_file() -> Path:
    """Return where a new SQLite file can be."""
    return _folder() / f"{next(_numbers)}.db"


@cache
def _folder() -> Path:
    """Return the folder of this process's databases, which is removed at its end."""
    folder = tempfile.mkdtemp(prefix="twofa-django-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def of_sqlite(path: Path | str, **options: Any) -> dict[str, Any]:
    """Return the settings of an SQLite file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {**SQLITE, **options}}


def of_postgresql(url: str, **options: Any) -> dict[str, Any]:
    """Return the settings of a PostgreSQL database."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username or "postgres",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname,
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
    }


def new_database(**named: Any) -> str:
    """Add a database with the tables of the store; return its alias."""
    from django.core.management import call_command
    from django.test import override_settings

    alias = add_database(f"database-{next(_numbers)}", **named)
    with override_settings(DATABASE_ROUTERS=[]):  # the site's own keeps these tables in one database
        call_command("migrate", "twofa", database=alias, verbosity=0)
    return alias


def new_sqlite(**options: Any) -> str:
    """The same, in a new SQLite file: a copy of one that was made by the migrations."""
    path = new_file()
    shutil.copy(_migrated(), path)
    path.chmod(0o600)
    return add_database(f"database-{next(_numbers)}", **of_sqlite(path, **options))


@cache
def _migrated() -> Path:
    path = new_file()
    forget(new_database(**of_sqlite(path)))  # which writes the log back into the file
    return path


def forget(alias: str) -> None:
    """Close what the project itself has open to a database, and take it out again."""
    from django.db import connections

    connections[alias].close()
    del connections[alias]
    del connections.settings[alias]


def sql(alias: str, *statements: str) -> Any:
    """Run statements on the project's own connection; return the last one's rows."""
    from django.db import connections

    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None


def open_store(**named: Any) -> Any:
    """Open a database that has the tables, in another process."""
    from twofa.stores.django import DjangoStore  # after Django is configured

    set_up(migrate=False)
    return DjangoStore(add_database("shared", **named))
