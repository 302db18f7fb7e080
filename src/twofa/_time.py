"""Times: whole Unix seconds inside the library, aware UTC datetimes on its face."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(seconds: int) -> datetime:
    """Return the aware UTC time of a whole number of Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)
