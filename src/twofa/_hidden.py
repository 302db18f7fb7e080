"""How a secret stays out of sight: out of reprs, log lines, JSON, pickles, and the local variables of a traceback.

A value that carries a secret keeps it in a field of type `Hidden`. Everything else follows from that: the generated
`repr` shows `<hidden>`, and pickling, deep copies and `dataclasses.asdict` are refused.
"""

from __future__ import annotations

import hmac
from typing import Generic, NoReturn, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Hidden(Generic[T_co]):
    """A secret that a stack trace with local variables, a log line or a pickle must not show; usually text.

    The faces wrap what they are given before they look at it. So no frame of this library holds it bare when something
    fails, not even when the check of its type does.
    """

    __slots__ = ("value",)

    def __init__(self, value: T_co) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<hidden>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and self.value == cast("Hidden[object]", other).value

    def __hash__(self) -> int:
        return hash((Hidden, self.value))

    def __reduce__(self) -> NoReturn:
        # Web frameworks turn any dataclass into JSON with `asdict`. That would send a token to the browser; it copies
        # field by field, so it ends here too.
        raise TypeError("this carries a secret and cannot be pickled or copied elsewhere")


class Unexpected:
    """What is kept of an argument of the wrong type: a bare code in place of a proof must not show in a traceback."""

    __slots__ = ("kind",)

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__


def expected(value: T, *kinds: type) -> T | Unexpected:
    """Return `value` if it is of one of these types, or else only the name of its type."""
    return value if isinstance(value, kinds) else Unexpected(value)


def same(kept: bytes, offered: bytes) -> bool:
    """Compare secrets in a time that does not depend on where they differ (ASVS 5.0 11.2.4)."""
    return hmac.compare_digest(kept, offered)


def shown(value: object) -> str:
    """Return a wrong number as it is, and only the type of anything else: it may be a secret in the wrong place."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value) if type(value) is int and abs(value) < _LONGEST_NUMBER else type(value).__name__


_LONGEST_NUMBER = 1 << 64
"""No setting or time comes near it, but a secret that was read as a number may."""
