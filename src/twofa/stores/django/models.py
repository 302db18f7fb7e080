"""The tables, for migrations and for reports. They are those of `SQLAlchemyStore` and `SQLiteStore`.

Read them as you like, and leave writing to the store: a record that is changed in any other way is refused.
"""

from __future__ import annotations

from django.db import models
from typing_extensions import override

from twofa.stores.django.fields import BytesTextField


class Record(models.Model):
    """What is remembered of a user, sealed."""

    user_id = BytesTextField(primary_key=True)
    version: models.TextField[str, str] = models.TextField()
    document: models.TextField[str, str] = models.TextField()

    class Meta:
        db_table = "twofa_record"

    @override
    def __str__(self) -> str:
        return self.user_id


class Event(models.Model):
    """Something that happened to an account, in the order of the outbox."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    user_id = BytesTextField()
    at: models.BigIntegerField[int, int] = models.BigIntegerField(help_text="Unix seconds")
    kind: models.TextField[str, str] = models.TextField()
    # An unknown source is not the same as an empty one.
    source: models.TextField[str | None, str | None] = models.TextField(null=True)
    detail: models.TextField[str, str] = models.TextField(help_text="a JSON object")

    class Meta:
        db_table = "twofa_event"
        indexes = (
            models.Index(fields=["user_id"], name="twofa_event_user"),
            models.Index(fields=["at"], name="twofa_event_at"),
        )

    @override
    def __str__(self) -> str:
        return f"{self.kind} of {self.user_id}"


class Schema(models.Model):
    """The number of the tables' shape: one row, which the store writes when it first meets the tables."""

    version: models.IntegerField[int, int] = models.IntegerField(primary_key=True)
    needs: models.IntegerField[int, int] = models.IntegerField(db_default=1)
    in_use: models.IntegerField[int, int] = models.IntegerField(
        db_default=0
    )  # for `SQLiteStore`, should it open the same file

    class Meta:
        db_table = "twofa_schema"

    @override
    def __str__(self) -> str:
        return f"shape {self.version}"
