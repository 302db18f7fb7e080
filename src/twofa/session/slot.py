"""Where a browser's state is kept: one string under one key of whatever the host keeps per browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from twofa import _entropy
from twofa._record.tokens import NONCE_BYTES
from twofa.session.identity import UNSAID, Unsaid
from twofa.session.state import open_state, seal_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa._engine.settings import Settings
    from twofa._record.tokens import Purpose
    from twofa.session.state import SessionState

__all__ = ["KEY", "HostSession", "Rotation", "Slot", "find_rotation"]

KEY = "twofa"
"""The one key that this layer uses in a host's session."""

Rotation: TypeAlias = "Callable[[], object] | Literal[Unsaid.UNSAID] | None"
"""What gives a session a new id: a function, `None` where the cookie itself is the session, or left out."""


class HostSession(Protocol):
    """What a host keeps per browser: Flask's `session`, Django's or Starlette's `request.session`, or a `dict`."""

    def get(self, key: str, /) -> Any:
        """Return what is kept under `key`, or `None`."""
        ...

    def __setitem__(self, key: str, value: str, /) -> None:
        """Keep `value` under `key`."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class Slot:
    """One browser's place for its state."""

    __slots__ = ("_held", "_purpose", "_settings")

    def __init__(self, held: HostSession, purpose: Purpose, settings: Settings) -> None:
        self._held, self._purpose, self._settings = held, purpose, settings

    @property
    def text(self) -> str | None:
        """The string itself."""
        text = self._held.get(KEY)
        return text if isinstance(text, str) else None

    def read(self) -> SessionState | None:
        """Return the state that is kept, or `None` for anything that is none."""
        text, settings = self.text, self._settings
        return None if text is None else open_state(settings.keys, self._purpose, text, namespace=settings.namespace)

    def write(self, state: SessionState) -> None:
        """Keep `state` instead of what was there."""
        settings, nonce = self._settings, _entropy.random_bytes(NONCE_BYTES)
        self._held[KEY] = seal_state(settings.keys, self._purpose, state, namespace=settings.namespace, nonce=nonce)

    def blank(self) -> None:
        """Forget the state, and leave the rest: some sessions get no new id while there is nothing in them."""
        self._held[KEY] = ""

    def clear(self) -> None:
        """Forget the state, and everything else that the host keeps for this browser."""
        self._held.clear()


def find_rotation(held: HostSession, rotate: Rotation, *names: str) -> Callable[[], object] | None:
    """Return what gives the session a new id: what the host says, or else the session's own method of such a name.

    Raises `TypeError` where neither is there. Without a new id, a session that an attacker planted in the browser
    before the sign-in would be the attacker's afterwards, so this must not be forgotten.
    """
    if rotate is not UNSAID:
        if rotate is not None and not callable(rotate):
            raise TypeError(f"rotate must be a function without arguments, or None, not {type(rotate).__name__}")
        return rotate
    for name in names:
        method: object = getattr(held, name, None)
        if callable(method):
            return method
    raise TypeError(
        f"say how a {type(held).__name__} gets a new id: rotate=None if the cookie itself is the session, as in "
        "Flask's and Starlette's own; otherwise rotate=function, which gives the session on the server another id"
    )
