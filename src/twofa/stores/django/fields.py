"""The one kind of column that Django does not have itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from typing_extensions import override

if TYPE_CHECKING:
    from typing import Any

    from django.db.backends.base.base import BaseDatabaseWrapper

    TextField = models.TextField[str, str]
else:
    TextField = models.TextField  # without type parameters while it runs


class BytesTextField(TextField):
    """Text of any length; two of them are equal only where their bytes are."""

    @override
    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        # In PostgreSQL the same as `text`. But for a key of that name Django makes a second index, for LIKE.
        return "character varying" if connection.vendor == "postgresql" else super().db_type(connection)

    @override
    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        collation = {"collation": "C"} if connection.vendor == "postgresql" else {}
        return {**super().db_parameters(connection), **collation}
