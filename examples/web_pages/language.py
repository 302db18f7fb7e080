"""The languages of the pages. English is what the templates say; another language is a table from English.

Errors are translated by their `code`, which never changes, and not by their message. An application with more than two
languages takes Babel, which also knows every language's plurals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import escape

from web_pages import words

if TYPE_CHECKING:
    from datetime import datetime

    from twofa.errors import TwoFactorError


@dataclass(frozen=True)
class Language:
    """What a template calls `t`."""

    code: str = "en"
    """As `<html lang>` wants it."""
    direction: str = "ltr"
    texts: Mapping[str, str] = field(default_factory=dict[str, str])

    def __call__(self, english: str, **values: object) -> str:
        """Return a text in this language, with its `{names}` filled in, be it by pieces of a page."""
        text = self.texts.get(english, english)
        if any(hasattr(value, "__html__") for value in values.values()):
            return escape(text).format(**values)
        return text.format(**values)

    def count(self, number: int, one: str, many: str) -> str:
        """Return one of two texts, with `{n}` filled in."""
        return self(one if number == 1 else many, n=number)

    def duration(self, seconds: int) -> str:
        """Return how long something takes, in the unit that suits it, rounded up."""
        for unit, one, many in words.UNITS:
            if seconds > unit:
                return self.count(-(-seconds // unit), one, many)
        return self.count(max(seconds, 1), "{n} second", "{n} seconds")

    def problem(self, error: TwoFactorError, now: float, typed: str = "") -> str:
        """Return what to tell someone whose request was refused, and who had typed that."""
        retry_at: datetime | None = getattr(error, "retry_at", None)
        if retry_at is not None:
            return self.too_many(retry_at, now)
        return self(words.problem(error.code, words.kind_of(typed)))

    def too_many(self, retry_at: datetime, now: float) -> str:
        """Return how long no code is looked at."""
        wait = self.duration(int(retry_at.timestamp() - now))
        return self("Too many incorrect codes. Try again in {wait}.", wait=wait)


ENGLISH = Language()


@cache
def load(folder: Path = Path(__file__).parent / "languages") -> dict[str, Language]:
    """Read the languages that there are, by their codes."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    others = {code: Language(code, table["direction"], table["texts"]) for code, table in found.items()}
    return {"en": ENGLISH} | others


def preferred(header: str) -> list[str]:
    """Return what an `Accept-Language` header asks for, the best first (RFC 9110 §12.5.4)."""
    asked: list[tuple[float, str]] = []
    for part in header.split(","):
        code, _, quality = part.replace(" ", "").partition(";q=")
        with suppress(ValueError):  # a browser sends numbers
            asked.append((float(quality or 1), code))
    return [code for _, code in sorted(asked, key=lambda each: -each[0])]


def choose(accepted: list[str], languages: Mapping[str, Language]) -> Language:
    """Return the first language that a browser accepts and the pages speak; `accepted` is in order of preference."""
    for code in accepted:
        language = languages.get(code) or languages.get(code.partition("-")[0])
        if language is not None:
            return language
    return ENGLISH
