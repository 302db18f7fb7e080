"""`DjangoStore`: records in a Django project's own database, PostgreSQL or SQLite, and an app with their migrations.

Needs Django 5.2: `pip install "twofa-core[django]"`. Put `"twofa.stores.django"` into `INSTALLED_APPS`, run `manage.py
migrate`, and name your `TwoFactor` by the setting `TWOFA_APP` for `manage.py twofa` and `manage.py check`.
"""

from __future__ import annotations

try:
    import django as _  # noqa: F401  # says what to install before anything else fails for want of it
except ImportError as problem:
    raise ImportError('this store needs Django 5.2: pip install "twofa-core[django]"') from problem

from twofa.stores.django.store import DjangoStore

__all__ = ["DjangoStore"]
