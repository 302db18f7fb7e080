"""Times: whole Unix seconds inside the library, aware UTC datetimes on its face, text where JSON and HTTP want it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime


def utc(seconds: int) -> datetime:
    """Return the aware UTC time of a whole number of Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def rfc3339(at: datetime) -> str:
    """Return a time as JSON carries it: `2027-01-15T12:00:00Z` (RFC 3339 §5.6)."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(at: datetime) -> str:
    """Return a time as HTTP headers carry it: `Fri, 15 Jan 2027 12:00:00 GMT` (RFC 9110 §5.6.7)."""
    return format_datetime(at.astimezone(UTC), usegmt=True)
