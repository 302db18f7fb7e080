"""What every value of the public face shares: immutable, compared by content, and safe to log.

Hand-written rather than `dataclasses`: importing that module costs a web worker's start about as much as the whole of
this library does, and building a frozen one costs several microseconds of every login. For the same reason `datetime`
and `hmac` are imported where they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, NoReturn, TypeVar

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")


class Value:
    """An immutable record whose fields are its `__slots__`."""

    __slots__: ClassVar[tuple[str, ...]] = ()

    _hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that carry a secret: shown as `<hidden>`, and never pickled."""

    def _fill(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: {name!r} cannot be deleted")

    def __repr__(self) -> str:
        shown = (
            (name, "<hidden>" if name in self._hidden else repr(getattr(self, name, ...))) for name in self.__slots__
        )
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in shown)})"

    def _content(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._content()))

    def __reduce__(self) -> str | tuple[object, ...]:
        if self._hidden:
            raise TypeError(f"a {type(self).__name__} carries a secret and cannot be pickled or copied elsewhere")
        return _revive, (type(self), dict(zip(self.__slots__, self._content(), strict=True)))


def _revive(kind: type[Value], fields: dict[str, object]) -> Value:
    value = kind.__new__(kind)
    value._fill(**fields)  # pyright: ignore[reportPrivateUsage]  # pickle's way back in, beside the class
    return value


class Hidden(Generic[T]):
    """Something that a stack trace with local variables, a log line or a pickle must not show; usually text.

    The faces wrap what they are given before they look at it, so that no frame of this library holds it bare when
    something fails, be it only the check of its type.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<hidden>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("hidden text cannot be pickled")


class Unexpected:
    """What remains of an argument of a wrong type: a bare code instead of a proof must show in no traceback either."""

    __slots__ = ("kind",)

    def __init__(self, value: object) -> None:
        self.kind = type(value).__name__


def expected(value: T, *kinds: type) -> T | Unexpected:
    """Return `value` if it is of one of the kinds, or else only the name of its type."""
    return value if isinstance(value, kinds) else Unexpected(value)


def utc(seconds: int) -> datetime:
    """Return the aware UTC time of a whole number of Unix seconds."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC)


def same(kept: bytes, offered: bytes) -> bool:
    """Compare secrets in a time that does not depend on where they differ (ASVS 5.0 11.2.4)."""
    import hmac

    return hmac.compare_digest(kept, offered)


def storable(text: str) -> bool:
    """Whether every database takes the text: no NUL, no unpaired surrogate."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= symbol <= "\udfff" for symbol in text)
