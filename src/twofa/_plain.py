"""Values as JSON takes them, without what is hidden."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twofa._hidden import Hidden
from twofa._time import rfc3339

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def plain_fields(value: DataclassInstance) -> dict[str, Any]:
    """Return every field that is not hidden under its name, with times as text (RFC 3339 §5.6)."""
    shown = {field.name: getattr(value, field.name) for field in fields(value)}
    return {
        name: rfc3339(content) if isinstance(content, datetime) else content
        for name, content in shown.items()
        if not isinstance(content, Hidden)
    }
