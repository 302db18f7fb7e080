"""What the setting `TWOFA_APP` names in the tests of Django's commands and checks."""

from __future__ import annotations

from django_project import new_sqlite
from support import KEY

from twofa import AsyncTwoFactor, KeyRing, TwoFactor
from twofa.stores import MemoryStore, ThreadedStore
from twofa.stores.django import DjangoStore

using = new_sqlite()
two_factor = TwoFactor(DjangoStore(using), keys=KeyRing(KEY), issuer="Example")
awaiting = AsyncTwoFactor(ThreadedStore(DjangoStore(using)), keys=KeyRing(KEY), issuer="Example")
elsewhere = TwoFactor(MemoryStore(), keys=KeyRing(KEY), issuer="Example")


def without_keys() -> TwoFactor:
    """Do what an application does whose environment lacks its keys."""
    return TwoFactor(DjangoStore(using), keys=KeyRing.from_env("TWOFA_NO_KEYS"), issuer="Example")


def unfit() -> TwoFactor:
    """Name a database that the store does not know."""
    from django_project import add_database

    add_database("unknown", ENGINE="django.db.backends.dummy")
    return TwoFactor(DjangoStore("unknown"), keys=KeyRing(KEY), issuer="Example")
