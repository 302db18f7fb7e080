"""The seal on a user's record: AES-256-GCM under a key of the user's own, bound to user and namespace.

A sealed record reads `twofa1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`. The ring's keys never encrypt: each user
has a subkey by HKDF-SHA256 (RFC 5869), so that no key comes near the 2³² random nonces that GCM allows (NIST SP 800-38D
§8.3). What a seal cannot do: whoever writes the database can still delete a record or put an old one back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from twofa import _entropy
from twofa._record import base64url
from twofa._values import Hidden
from twofa.errors import InvalidKey, RecordDamaged, RecordError, UnknownKey, UnsupportedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KeyRing", "Seal"]

_FORMAT = "twofa1"
_FAMILY = "twofa"
"""What every format's name begins with; a number follows."""
_LONGEST_NUMBER = 4
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID_BYTES = 6
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
        if len(base64url.decode(name) or b"") == _KEY_BYTES:
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
        return base64url.encode(_entropy.random_bytes(_KEY_BYTES))

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The public ids of the keys, the primary first; a sealed record names the one that opens it."""
        return tuple(self._keys)

    def for_user(self, user_id: str, namespace: str = "") -> Seal:
        """Return the seal of one user's record in one namespace."""
        return Seal(self._keys, self._primary, user_id, namespace)

    def subkey(self, key_id: str, purpose: bytes) -> bytes:
        """Return a key that serves one purpose only, derived from the ring's key of that id."""
        return _derive(self._keys[key_id], purpose, _KEY_BYTES)

    def is_current(self, sealed: str) -> bool:
        """Whether the primary key sealed this record."""
        return sealed.startswith(f"{_FORMAT}.{self._primary}.")

    def __repr__(self) -> str:
        return f"KeyRing(key_ids={self.key_ids!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a KeyRing carries keys and cannot be pickled: build it where it is used")


class Seal:
    """One user's seal, for the length of one call: each subkey is derived at most once, and is gone with the call."""

    __slots__ = ("_ciphers", "_context", "_keys", "_primary")

    def __init__(self, keys: Mapping[str, bytes], primary: str, user_id: str, namespace: str) -> None:
        self._keys, self._primary = keys, primary
        # Neither part can contain NUL, so no two pairs give the same bytes.
        self._context = f"{_FORMAT}\0{namespace}\0{user_id}".encode()
        self._ciphers: dict[str, AESGCM] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Seal carries keys and cannot be pickled")

    def close(self, document: bytes) -> str:
        """Return `document` sealed under the primary key, with a fresh nonce."""
        hidden = Hidden(document)
        del document
        nonce = _entropy.random_bytes(_NONCE_BYTES)
        box = nonce + self._cipher(self._primary).encrypt(nonce, hidden.value, self._context)
        return f"{_FORMAT}.{self._primary}.{base64url.encode(box)}"

    def open(self, sealed: str) -> bytes:
        """Return the document that `close` was given.

        Raises `UnknownKey` if its key is not in the ring, `UnsupportedRecord` for a newer format, and `RecordDamaged`
        for anything that is not, to the bit, what was sealed for this user in this namespace.
        """
        opened = self._open(sealed)
        if isinstance(opened, bytes):
            return opened
        raise opened

    def _open(self, sealed: str) -> bytes | RecordError:
        mark, key_id, text = _take_apart(sealed)
        if mark != _FORMAT:
            message = f"the stored record has the format {mark}: upgrade this instance of twofa"
            return UnsupportedRecord(message) if _is_a_later_format(mark) else RecordDamaged()
        box = base64url.decode(text)
        if box is None or len(box) < _NONCE_BYTES + _TAG_BYTES:
            return RecordDamaged()
        if key_id not in self._keys:
            return UnknownKey(key_id) if len(base64url.decode(key_id) or b"") == _KEY_ID_BYTES else RecordDamaged()
        try:
            return self._cipher(key_id).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], self._context)
        except InvalidTag:
            return RecordDamaged()

    def _cipher(self, key_id: str) -> AESGCM:
        if key_id not in self._ciphers:
            self._ciphers[key_id] = AESGCM(_derive(self._keys[key_id], self._context, _KEY_BYTES))
        return self._ciphers[key_id]


def _is_a_later_format(mark: str) -> bool:
    number = mark.removeprefix(_FAMILY)
    counts = number.isascii() and number.isdecimal() and not number.startswith("0")
    return counts and number != mark and len(number) <= _LONGEST_NUMBER


def _take_apart(sealed: str) -> tuple[str, str, str]:
    parts = sealed.split(".")
    if len(parts) == 3:  # noqa: PLR2004  # format, key id and content, as above
        return parts[0], parts[1], parts[2]
    return parts[0], "", ""


def _derive(key: bytes, info: bytes, length: int) -> bytes:
    # The keys are uniformly random already, so HKDF needs no extract step (RFC 5869 §3.3).
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def _read_keys(keys: tuple[str, ...]) -> dict[str, bytes] | InvalidKey:
    ring: dict[str, bytes] = {}
    for place, key in enumerate(keys, start=1):
        raw = base64url.decode(key.rstrip("=")) if type(key) is str else None
        if raw is None or len(raw) != _KEY_BYTES:
            return InvalidKey(
                f"key {place} is not 32 bytes in base64url, as str: make keys with KeyRing.generate_key()"
            )
        if len(set(raw)) < _RANDOM_ENOUGH:
            return InvalidKey(f"key {place} is not random: make keys with KeyRing.generate_key()")
        key_id = base64url.encode(_derive(raw, b"twofa1 key id", _KEY_ID_BYTES))
        if key_id in ring:
            return InvalidKey(f"key {place} is in the ring already: name each key once")
        ring[key_id] = raw
    return ring


def _ring_or_problem(keys: list[str]) -> KeyRing | InvalidKey:
    try:
        return KeyRing(*keys)
    except InvalidKey as problem:
        return problem
