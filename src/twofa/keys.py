"""The keys that seal every record. They come from outside, and belong apart from the database (ASVS 5.0 13.3.1)."""

from __future__ import annotations

import os
from typing import NoReturn

from twofa import _entropy
from twofa._record import base64url
from twofa._record.sealing import FORMAT, KEY_BYTES, KEY_ID_BYTES, Seal, derive
from twofa.errors import InvalidKey

__all__ = ["KeyRing"]

_RANDOM_ENOUGH = 10
"""Distinct bytes that 32 random ones have but for odds of one in 10³⁰; `"AAAA…"` and the like have fewer."""


class KeyRing:
    """The keys that seal records: the first one seals, all of them open (ASVS 5.0 11.2.2).

    To rotate: deploy the new key as an *older* one everywhere, then put it first, `reseal` every user, drop the old
    key.
    """

    __slots__ = ("_keys", "_primary")

    def __init__(self, primary: str, *older: str) -> None:
        """Take keys as `generate_key` makes them.

        Raises `InvalidKey` for anything else, or for the same key twice; the message says which one, never what it is.
        """
        self._keys: dict[str, bytes] = {}
        keys = _read_keys((primary, *older))
        del primary, older
        if isinstance(keys, InvalidKey):
            raise keys
        self._keys = keys
        self._primary = next(iter(keys))

    @classmethod
    def from_env(cls, name: str) -> KeyRing:
        """Read the keys, the primary first, separated by commas or spaces, from the environment variable `name`.

        Raises `InvalidKey` if the variable is missing, empty or holds anything but keys.
        """
        if len(base64url.decode(name) or b"") == KEY_BYTES:
            del name
            raise InvalidKey(
                "from_env takes the name of an environment variable, and this is a key: KeyRing(key) takes it"
            )
        keys = os.environ.get(name, "").replace(",", " ").split()
        if not keys:
            raise InvalidKey(f"the environment variable {name} holds no key: set it to KeyRing.generate_key()'s output")
        ring = _ring_or_problem(keys)
        del keys
        if isinstance(ring, InvalidKey):
            raise InvalidKey(f"environment variable {name}: {ring}")
        return ring

    @staticmethod
    def generate_key() -> str:
        """Return a new key: 32 random bytes in base64url, 43 characters. Keep it apart from the database."""
        return base64url.encode(_entropy.random_bytes(KEY_BYTES))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The public ids of the keys, the primary first; a sealed record names the one that opens it."""
        return tuple(self._keys)

    def for_user(self, user_id: str, namespace: str = "") -> Seal:
        """Return the seal of one user's record in one namespace."""
        return Seal(self._keys, self._primary, user_id, namespace)

    def subkey(self, key_id: str, purpose: bytes) -> bytes:
        """Return a key that serves one purpose only, derived from the ring's key of that id."""
        return derive(self._keys[key_id], purpose, KEY_BYTES)

    def is_current(self, sealed: str) -> bool:
        """Whether the primary key sealed this record."""
        return sealed.startswith(f"{FORMAT}.{self._primary}.")

    def __repr__(self) -> str:
        return f"KeyRing(key_ids={self.key_ids!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KeyRing carries keys and cannot be pickled: build it where it is used")


def _read_keys(keys: tuple[str, ...]) -> dict[str, bytes] | InvalidKey:
    ring: dict[str, bytes] = {}
    for place, key in enumerate(keys, start=1):
        raw = base64url.decode(key.rstrip("=")) if type(key) is str else None
        if raw is None or len(raw) != KEY_BYTES:
            return InvalidKey(
                f"key {place} is not 32 bytes in base64url, as str: make keys with KeyRing.generate_key()"
            )
        if len(set(raw)) < _RANDOM_ENOUGH:
            return InvalidKey(f"key {place} is not random: make keys with KeyRing.generate_key()")
        key_id = base64url.encode(derive(raw, b"twofa1 key id", KEY_ID_BYTES))
        if key_id in ring:
            return InvalidKey(f"key {place} is in the ring already: name each key once")
        ring[key_id] = raw
    return ring


def _ring_or_problem(keys: list[str]) -> KeyRing | InvalidKey:
    try:
        return KeyRing(*keys)
    except InvalidKey as problem:
        return problem
