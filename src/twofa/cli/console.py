"""What an operator sees: text for people or JSON for programs, and how far a long command has come."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextlib import AbstractContextManager
    from typing import TextIO

    from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 5.0
"""How often the plain counter writes a line: often enough for a person, rarely enough for a log file."""


class Console:
    """Where a command writes: results to `out`, the rest to `err`. With `as_json` each result is a line of JSON."""

    def __init__(
        self, out: TextIO, err: TextIO, *, as_json: bool = False, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._err = out, err
        self.as_json = as_json
        self._monotonic = monotonic
        self._progress = Progress()

    def show(self, text: str, data: Mapping[str, object]) -> None:
        """Show a result: the text to people, the data to programs."""
        self._write(self._out, json.dumps(data) if self.as_json else text)

    def remark(self, text: str) -> None:
        """Tell people something that is not part of the result."""
        if not self.as_json:
            self._write(self._err, text)

    def fail(self, message: str, code: str) -> None:
        """Say why there is no result. A program finds it where it would have found the result."""
        if self.as_json:
            self.show(message, {"error": code, "message": message})
        else:
            self.remark(message)

    @contextmanager
    def progress(self, doing: str) -> Generator[Progress]:
        """Show people how many users are done meanwhile: by a bar on a terminal, if `tqdm` is there, or by lines."""
        self._progress = self._new_progress(doing)
        try:
            yield self._progress
        finally:
            self._progress.close()
            self._progress = Progress()

    def _new_progress(self, doing: str) -> Progress:
        if self.as_json:
            return Progress()
        if self._err.isatty():
            try:
                from tqdm import tqdm  # comes with the extra twofa-core[cli]
            except ImportError:
                pass
            else:
                return Bar(tqdm(desc=doing, unit=" users", file=self._err))
        return Lines(lambda line: self._write(self._err, line), doing, self._monotonic)

    def _write(self, file: TextIO, line: str) -> None:
        with self._progress.out_of_the_way():
            file.write(f"{line}\n")
            file.flush()  # whoever follows a log file, or a pipe, is not kept waiting


class Progress:
    """How many users are done. This one shows nothing."""

    def advance(self, users: int) -> None:
        """Count users that are done."""

    def out_of_the_way(self) -> AbstractContextManager[object]:
        """Return a context in which something else can be written."""
        return nullcontext()

    def close(self) -> None:
        """Stop showing it."""


class Lines(Progress):
    """A line with the count every few seconds."""

    def __init__(self, write: Callable[[str], None], doing: str, monotonic: Callable[[], float]) -> None:
        self._write, self._doing, self._monotonic = write, doing, monotonic
        self._users = 0
        self._next_line = monotonic() + _SECONDS_BETWEEN_LINES

    def advance(self, users: int) -> None:
        """Count, and write a line if it is time for one."""
        self._users += users
        now = self._monotonic()
        if now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES
            self._write(f"{self._doing}: {self._users:,} users")


class Bar(Progress):
    """A bar of `tqdm`'s. It has no end, since a store does not know how many users it holds."""

    def __init__(self, bar: tqdm[NoReturn]) -> None:
        self._bar = bar

    def advance(self, users: int) -> None:
        """Move the bar."""
        self._bar.update(users)

    def out_of_the_way(self) -> AbstractContextManager[object]:
        """Take the bar off the screen while something else is written."""
        return self._bar.external_write_mode(file=self._bar.fp)

    def close(self) -> None:
        """Leave the last count on the screen."""
        self._bar.close()


def printable(text: str) -> str:
    """Return text from outside so that it can neither control a terminal nor change the order of a line."""
    return "".join(symbol if symbol.isprintable() else symbol.encode("unicode_escape").decode() for symbol in text)


def first_line(problem: Exception) -> str:
    """Return what an exception is in one line. In SQLAlchemy's, the statement with its parameters follows."""
    return f"{type(problem).__name__}: {problem}".splitlines()[0]
