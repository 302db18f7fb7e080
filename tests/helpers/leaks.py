"""Where a secret could show when something fails: what error trackers collect from an exception."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _family(error: BaseException) -> Iterator[BaseException]:
    yield error
    for relative in (error.__cause__, error.__context__):
        if relative is not None:
            yield from _family(relative)


def _shown(value: object) -> str:
    # Trackers take containers to pieces, a named tuple too, whatever its own `repr` hides.
    if isinstance(value, Mapping):
        return " ".join(f"{_shown(key)}: {_shown(item)}" for key, item in value.items())
    if isinstance(value, Set | tuple | list):
        return " ".join(map(_shown, value))
    try:
        return repr(value)
    except AttributeError:  # an object whose constructor failed, as trackers meet it too
        return f"<unfinished {type(value).__name__}>"


def shown(error: BaseException) -> str:
    """Return all that a tracker shows: the messages, and the local variables of every frame but the test's own."""
    texts: list[str] = []
    for relative in _family(error):
        texts += [*traceback.format_exception_only(relative), repr(relative), repr(relative.__dict__)]
        for frame, _line in traceback.walk_tb(relative.__traceback__):
            if not frame.f_code.co_name.startswith("test_"):
                texts += [_shown(value) for value in frame.f_locals.values()]
    return "\n".join(texts)


def frames(error: BaseException) -> int:
    """Return how many frames `shown` looked into, so that a test can tell that there were any."""
    walked = (frame for relative in _family(error) for frame, _line in traceback.walk_tb(relative.__traceback__))
    return sum(1 for frame in walked if not frame.f_code.co_name.startswith("test_"))
