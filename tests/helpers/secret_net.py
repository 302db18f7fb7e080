"""A net that catches secrets: it collects what is secret, and sees whatever the library shows to anyone."""

from __future__ import annotations

import base64
import binascii
import logging
import pickle
import re
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import KEY, OTHER_KEY, USER

from twofa import (
    KeyRing,
    RecoveryCodes,
    Stored,
)
from twofa import _entropy as entropy
from twofa._engine.attempt import open_record
from twofa._hidden import Hidden
from twofa._record.recovery import ALPHABET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Phone

    from twofa import Event

TESTS = str(Path(__file__).parent.parent)
MALFORMED_CODE = "CANARY-97531"
NO_TOKEN = "CANARY of no verification"
WRONG_TYPES: list[Any] = [b"CANARY-24681357", 24681357, 2468.1357, ["CANARY-24681357"], {"code": "CANARY-24681357"}]


# --- what must not be seen -----------------------------------------------------------------------------------------


@cache
def _spellings(secret: str | bytes) -> frozenset[str]:
    """The ways to write a secret down; what is shorter than a code is none."""
    raw = secret if isinstance(secret, bytes) else secret.encode("utf-8", "replace")
    texts = [repr(raw)[2:-1], raw.decode("latin-1"), raw.hex()]
    encodings = [base64.b64encode(raw), base64.urlsafe_b64encode(raw)]
    if isinstance(secret, str):
        texts += [secret, repr(secret)[1:-1], secret.replace("-", "").replace(" ", "")]
    else:
        encodings += [base64.b32encode(raw)]
    texts += [encoded.decode().rstrip("=") for encoded in encodings]
    return frozenset(text for text in texts if len(text) >= 6 and not text.isspace())


class Secrets:
    """Collects, from the moment it is installed, whatever is secret."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._spelled: set[str] = set()
        self.add(KEY, OTHER_KEY)
        self.add(*(base64.urlsafe_b64decode(key + "=") for key in (KEY, OTHER_KEY)))
        hide, draw = Hidden.__init__, entropy.random_bytes

        def hiding(hidden: Hidden[Any], text: object) -> None:
            self.add(text)
            hide(hidden, text)

        def drawing(length: int) -> bytes:
            drawn = draw(length)
            if (
                length > 16 and length % 16
            ):  # a secret or a set of codes; salts are none, and a secret token gets hidden
                self.add(drawn, "".join(ALPHABET[byte & 31] for byte in drawn))
            return drawn

        monkeypatch.setattr(Hidden, "__init__", hiding)
        monkeypatch.setattr(entropy, "random_bytes", drawing)

    def add(self, *secrets: object) -> None:
        """Take more of them."""
        for secret in secrets:
            self._spelled |= _spellings(secret if isinstance(secret, str | bytes) else repr(secret))

    def add_phone(self, phone: Phone) -> None:
        """Take the codes around now."""
        self.add(*(phone.code(steps) for steps in range(-3, 4)))

    def add_record(self, stored: Stored | None, keys: KeyRing) -> None:
        """Take what is inside a sealed record."""
        state = open_record(keys.for_user(USER), stored).state
        for totp in (state.authenticator and state.authenticator.totp, state.pending and state.pending.totp):
            if totp:
                self.add(totp.secret, totp.calculator().secret, totp.calculator().base32)
        if state.recovery:
            packed = binascii.a2b_base64(state.recovery.hashes)
            self.add(state.recovery.hashes, *(packed[at + 16 : at + 48] for at in range(0, len(packed), 48)))
        if state.verification:
            self.add(state.verification.token)

    def found_in(self, texts: list[str]) -> list[tuple[str, str]]:
        """Return every secret with the text that shows it."""
        everything = "\n".join(texts)
        return [
            (secret, text)
            for secret in self._spelled
            if secret in everything
            for text in texts
            if secret in text and (not secret.isdecimal() or re.search(rf"(?<![0-9a-zA-Z]){secret}(?!\w)", text))
        ]


# --- what can be seen ----------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    try:
        return repr(value)
    except AttributeError:  # an object whose constructor failed
        return f"<unfinished {type(value).__name__}>"


def _seen_by_tracebacks(seen: traceback.TracebackException) -> Iterator[str]:
    yield from seen.format_exception_only()
    for frame in seen.stack:
        if not frame.filename.startswith(TESTS):
            yield from (f"{frame.name}: {name}={value}" for name, value in (frame.locals or {}).items())
    for relative in (seen.__cause__, seen.__context__):
        if relative is not None:
            yield from _seen_by_tracebacks(relative)


def seen_of_error(error: BaseException) -> list[str]:
    """Return what logs, users and error trackers see: messages, and all local variables but those of the tests."""
    # The standard library's own view, and then the same by hand: it follows neither a suppressed context nor slots.
    try:
        seen = traceback.TracebackException.from_exception(error, capture_locals=True, lookup_lines=False)
        texts = list(_seen_by_tracebacks(seen))
    except AttributeError:  # Python 3.11 cannot look at an object whose constructor failed
        texts = traceback.format_exception_only(error)
    for relative in _family(error):
        texts += [str(relative), repr(relative), repr(relative.args), repr(vars(relative)), *_pickled(relative)]
        for frame, _line in traceback.walk_tb(relative.__traceback__):
            if not frame.f_code.co_filename.startswith(TESTS):
                where = frame.f_code.co_qualname
                texts += [f"{where}: {name}={_shown(value)}" for name, value in frame.f_locals.items()]
    return texts


def _family(error: BaseException) -> Iterator[BaseException]:
    yield error
    for relative in (error.__cause__, error.__context__):
        if relative is not None:
            yield from _family(relative)


def seen_of_value(value: object) -> list[str]:
    """Return what shows of a value in a log or a queue. Recovery codes are shown by `str`, which is what it is for."""
    shown = [repr(value), f"{value!r}", f"{[value]}", *_pickled(value)]
    return shown if isinstance(value, RecoveryCodes | str) else [*shown, str(value), f"{value}"]


def _pickled(value: object) -> list[str]:
    try:
        return [pickle.dumps(value).decode("latin-1")]
    except TypeError as problem:  # by what carries a secret
        return [str(problem), repr(problem.args)]


class Net(logging.Handler):
    """Sees all that the library shows to anyone."""

    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts += [self.format(record), repr(record.args), repr(vars(record))]
        if record.exc_info and record.exc_info[1]:
            self.texts += seen_of_error(record.exc_info[1])

    def see_events(self, events: list[Event]) -> None:
        for event in events:
            self.texts += [*seen_of_value(event), repr(dict(event.detail)), event.kind.owasp]


def observe(outcome: type[BaseException] | None, net: Net, act: Callable[[], object]) -> None:
    """Go the way, come to its expected end, and catch what shows."""
    if outcome is None:
        net.texts += seen_of_value(act())
        return
    with pytest.raises(outcome) as caught:
        act()
    assert outcome is caught.type
    net.texts += seen_of_error(caught.value)
