"""Sealed strings that a client carries: a browser's session, a login ticket, a browser that is known.

A token reads `<purpose>1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`, AES-256-GCM. Nobody without the key ring can
make, read or alter one, and it opens only for the purpose, namespace and user that it was sealed for. The first half of
its 24 random bytes goes into its key (HKDF-SHA256, RFC 5869), so that every token has a key of its own, and the second
half is the nonce: however many tokens a site issues, it stays below the 2³² that one key may seal with random nonces
(NIST SP 800-38D §8.3). Deriving a key takes under 2 µs, less than a cache would save.

A token says nothing about the present. Whoever opens one compares the time and the generation inside with today's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from twofa._record import base64url

if TYPE_CHECKING:
    from twofa.keys import KeyRing

__all__ = ["NONCE_BYTES", "Purpose", "open_token", "seal_token"]

NONCE_BYTES = 24
"""Random bytes that each token needs: 12 for its key, 12 for its nonce (as in C2SP's XAES-256-GCM)."""

_KEY_SALT_BYTES = 12
_TAG_BYTES = 16
_LONGEST = 4096
"""Characters that are read at all: the size up to which browsers keep a cookie (RFC 6265 §6.1)."""


class Purpose(StrEnum):
    """What a token is for; it opens for nothing else."""

    SESSION = "session"
    """The state that a host keeps in a browser's session."""
    BEARER = "bearer"
    """The same state, carried by an API's client."""
    TICKET = "ticket"
    """A user whose password was right, on the way to the second factor."""
    BROWSER = "browser"
    """A browser in which the user has signed in before."""


def seal_token(
    keys: KeyRing, purpose: Purpose, content: bytes, *, namespace: str, user_id: str = "", nonce: bytes
) -> str:
    """Return `content` sealed under the ring's primary key, for one purpose.

    `nonce` is `NONCE_BYTES` random bytes, used for nothing else. `user_id` is for tokens that are only ever opened for
    a user who is known by then; the others carry the user inside.
    """
    key_id = keys.key_ids[0]
    context = _context(purpose, namespace, user_id)
    key = keys.subkey(key_id, context + nonce[:_KEY_SALT_BYTES])
    box = nonce + AESGCM(key).encrypt(nonce[_KEY_SALT_BYTES:], content, context)
    return f"{purpose}1.{key_id}.{base64url.encode(box)}"


def open_token(keys: KeyRing, purpose: Purpose, token: object, *, namespace: str, user_id: str = "") -> bytes | None:
    """Return what was sealed in `token`, or `None` for anything that `seal_token` did not return for the same purpose.

    A client can send anything, so nothing is raised: a token that was damaged, belongs to someone else, was sealed
    under a key that has left the ring, or is not even text, is no token.
    """
    if type(token) is not str or len(token) > _LONGEST:
        return None
    mark, _, rest = token.partition(".")
    key_id, _, text = rest.partition(".")
    box = base64url.decode(text)
    if mark != f"{purpose}1" or key_id not in keys.key_ids or box is None or len(box) < NONCE_BYTES + _TAG_BYTES:
        return None
    context = _context(purpose, namespace, user_id)
    key = keys.subkey(key_id, context + box[:_KEY_SALT_BYTES])
    try:
        return AESGCM(key).decrypt(box[_KEY_SALT_BYTES:NONCE_BYTES], box[NONCE_BYTES:], context)
    except InvalidTag:
        return None


def _context(purpose: Purpose, namespace: str, user_id: str) -> bytes:
    # No part can contain NUL, so no two triples give the same bytes, and none those of a user's record.
    # Joined, not formatted: a subclass of `str` decides what formatting writes, and could give all users one context.
    return "\0".join((f"twofa1 {purpose}", namespace, user_id, "")).encode()
