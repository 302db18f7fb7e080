"""Base64url without padding, in the one spelling that RFC 4648 §5 allows for given bytes."""

from __future__ import annotations

import binascii

__all__ = ["decode", "encode"]

_FROM_STANDARD = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/!!")
"""The two symbols that base64url does not have become two that base64 does not have either."""


def encode(raw: bytes) -> str:
    """Return `raw` in base64url, without padding."""
    return binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(_FROM_STANDARD).decode()


def decode(text: str) -> bytes | None:
    """Return the bytes that `encode` would spell as `text`, or `None` if there are none."""
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD)
        raw = binascii.a2b_base64(standard + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    # The decoder skips foreign characters and ignores trailing bits: only what encodes back is what was written.
    return raw if binascii.b2a_base64(raw, newline=False).rstrip(b"=") == standard else None
