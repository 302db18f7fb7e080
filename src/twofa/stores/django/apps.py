"""The app that a project installs."""

from __future__ import annotations

from django.apps import AppConfig
from typing_extensions import override


class TwoFactorConfig(AppConfig):
    """Tables, `manage.py twofa`, and what `manage.py check` looks at."""

    name = "twofa.stores.django"
    label = "twofa"
    verbose_name = "Two-factor authentication"
    default_auto_field = "django.db.models.BigAutoField"

    @override
    def ready(self) -> None:
        from twofa.stores.django import checks  # once all apps are loaded

        checks.register_all()
