"""What `manage.py check` looks at: the application that `TWOFA_APP` names, its store, and how sessions are kept.

What has to be asked of the database itself is asked with `--database`, and by `manage.py migrate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  # Django's name for it
from django.db import connections

from twofa.cli.application import VARIABLE, Application, ApplicationNotFound, load_application
from twofa.errors import InvalidKey
from twofa.stores import findings
from twofa.stores.django.connections import unfit
from twofa.stores.django.store import DjangoStore
from twofa.stores.threaded import ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twofa.asynchronous import AsyncTwoFactor
    from twofa.blocking import TwoFactor
    from twofa.stores.protocol import Finding

SET_IT = f'{VARIABLE} = "mysite.security:two_factor" names your TwoFactor, for these checks and for manage.py twofa'


def register_all() -> None:
    """Have Django run them."""
    register(check_application, Tags.security)
    register(check_database, Tags.database)


def check_application(app_configs: object, **_: Any) -> list[CheckMessage]:  # noqa: ARG001  # all or nothing
    """Look at the settings, and at no database."""
    name: str | None = getattr(settings, VARIABLE, None)
    if name is None:
        return [Warning(f"the setting {VARIABLE} is missing", hint=SET_IT, id="twofa.no_application")]
    try:
        face = load_application(name)
    except ApplicationNotFound as problem:
        return [Error(str(problem), hint=SET_IT, id="twofa.application_not_found")]
    except InvalidKey as problem:
        return [Error(str(problem), id=f"twofa.{problem.code}")]
    store = _store_of(face)
    return [*_about_sessions(), *(_about_database(store) if store is not None else ())]


def check_database(
    app_configs: object,  # noqa: ARG001  # all or nothing
    databases: Sequence[str] | None = None,
    **_: Any,
) -> list[CheckMessage]:
    """Ask the database of the store, if it is one of these."""
    name: str | None = getattr(settings, VARIABLE, None)
    try:
        face = load_application(name)
    except (ApplicationNotFound, InvalidKey):  # the other check says so
        return []
    store = _store_of(face)
    if store is None or store.using not in (databases or ()):
        return []
    return [_message(finding) for finding in store.diagnose(Application(face).settings.now())]


def _store_of(face: TwoFactor | AsyncTwoFactor) -> DjangoStore | None:
    store = Application(face).store
    if isinstance(store, ThreadedStore):
        store = store._store  # pyright: ignore[reportPrivateUsage]  # this is part of the library
    return store if isinstance(store, DjangoStore) else None


def _about_database(store: DjangoStore) -> list[CheckMessage]:
    connection = connections[store.using]
    problem = unfit(connection)
    if problem is not None:
        return [Error(problem, id="twofa.unfit_database")]
    if connection.vendor != "sqlite":
        return []
    found = [_message(finding) for finding in findings.of_file(str(connection.settings_dict["NAME"]))]
    if connection.settings_dict["ATOMIC_REQUESTS"]:
        message = (
            f"ATOMIC_REQUESTS holds SQLite's only write lock on {store.using!r} from the first write of a view to its "
            "end, and DjangoStore waits for it in vain"
        )
        hint = "give twofa a database of its own in DATABASES, with DjangoStore(using=…) and a router"
        found.append(Warning(message, hint=hint, id="twofa.atomic_requests"))
    return found


def _about_sessions() -> list[CheckMessage]:
    if settings.SESSION_ENGINE != "django.contrib.sessions.backends.signed_cookies":
        return []
    message = "sessions are cookies: whoever has copied one stays signed in after the owner has signed out"
    return [Warning(message, hint="keep sessions in the database or the cache", id="twofa.cookie_sessions")]


def _message(finding: Finding) -> CheckMessage:
    # `migrate` runs these checks first, and must not be kept from making the tables.
    kind = Error if finding.severity == "critical" and finding.code != "missing_tables" else Warning
    return kind(finding.message, id=f"twofa.{finding.code}")
