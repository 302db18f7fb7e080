"""The seal on a user's record: AES-256-GCM under a key of the user's own, bound to user and namespace.

A sealed record reads `twofa1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`. The ring's keys never encrypt: each user
has a subkey by HKDF-SHA256 (RFC 5869), so that no key comes near the 2³² random nonces that GCM allows (NIST SP 800-38D
§8.3). What a seal cannot do: whoever writes the database can still delete a record or put an old one back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from twofa import _entropy
from twofa._hidden import Hidden
from twofa._record import base64url
from twofa.errors import RecordDamaged, RecordError, UnknownKey, UnsupportedRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Seal"]

FORMAT = "twofa1"
_FAMILY = "twofa"
"""What every format's name begins with; a number follows."""
_LONGEST_NUMBER = 4
KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
KEY_ID_BYTES = 6


class Seal:
    """One user's seal, for the length of one call: each subkey is derived at most once, and is gone with the call."""

    __slots__ = ("_ciphers", "_context", "_keys", "_primary")

    def __init__(self, keys: Mapping[str, bytes], primary: str, user_id: str, namespace: str) -> None:
        self._keys, self._primary = keys, primary
        # Neither part can contain NUL, so no two pairs give the same bytes. Joined, not formatted: formatting asks a
        # subclass of `str` what to write, and one that writes the same for all users would give them all one seal.
        self._context = "\0".join((FORMAT, namespace, user_id)).encode()
        self._ciphers: dict[str, AESGCM] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Seal carries keys and cannot be pickled")

    def is_current(self, sealed: str) -> bool:
        """Whether the primary key sealed this record."""
        return sealed.startswith(f"{FORMAT}.{self._primary}.")

    def close(self, document: bytes) -> str:
        """Return `document` sealed under the primary key, with a fresh nonce."""
        hidden = Hidden(document)
        del document
        nonce = _entropy.random_bytes(_NONCE_BYTES)
        box = nonce + self._cipher(self._primary).encrypt(nonce, hidden.value, self._context)
        return f"{FORMAT}.{self._primary}.{base64url.encode(box)}"

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
        if mark != FORMAT:
            message = f"the stored record has the format {mark}: upgrade this instance of twofa"
            return UnsupportedRecord(message) if _is_a_later_format(mark) else RecordDamaged()
        box = base64url.decode(text)
        if box is None or len(box) < _NONCE_BYTES + _TAG_BYTES:
            return RecordDamaged()
        if key_id not in self._keys:
            return UnknownKey(key_id) if len(base64url.decode(key_id) or b"") == KEY_ID_BYTES else RecordDamaged()
        try:
            return self._cipher(key_id).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], self._context)
        except InvalidTag:
            return RecordDamaged()

    def _cipher(self, key_id: str) -> AESGCM:
        if key_id not in self._ciphers:
            self._ciphers[key_id] = AESGCM(derive(self._keys[key_id], self._context, KEY_BYTES))
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


def derive(key: bytes, info: bytes, length: int) -> bytes:
    # The keys are uniformly random already, so HKDF needs no extract step (RFC 5869 §3.3).
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)
