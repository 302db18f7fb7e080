"""Tokens that a client carries: each opens for its own purpose, namespace and user, and junk is no token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import hypothesis
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import strategies as st
from support import KEY, OTHER_KEY

from twofa import KeyRing
from twofa._record.browsers import KNOWN_FOR, LONGEST_TRUST, KnownBrowser, issue, open_for
from twofa._record.tokens import NONCE_BYTES, Purpose, open_token, seal_token

RING = KeyRing(KEY)
NONCE = bytes(range(NONCE_BYTES))
CONTENT = b'["user-42"]'
NOW = 1_800_000_000
DAY = 86_400
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _seal(purpose: Purpose = Purpose.SESSION, **changes: Any) -> str:
    return seal_token(RING, purpose, CONTENT, **{"namespace": "", "user_id": "", "nonce": NONCE} | changes)


def _open(token: object, purpose: Purpose = Purpose.SESSION, *, keys: KeyRing = RING, **changes: str) -> bytes | None:
    return open_token(keys, purpose, token, **{"namespace": "", "user_id": ""} | changes)


# --- the seal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", Purpose)
def test_what_was_sealed_opens(purpose: Purpose) -> None:
    """A token gives back, to the byte, what was sealed for its purpose, namespace and user."""
    for where in ({}, {"namespace": "shop"}, {"user_id": "ålice"}, {"namespace": "shop", "user_id": "ålice"}):
        assert CONTENT == _open(_seal(purpose, **where), purpose, **where)


def test_a_token_opens_with_nothing_but_the_documented_cryptography() -> None:
    """HKDF-Expand by hand and plain AES-256-GCM read a token, so that its form is what the module says."""
    mark, key_id, text = _seal().split(".")
    box = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    context = b"twofa1 session\0\0\0"
    raw = base64.urlsafe_b64decode(KEY + "=")
    key = hmac.digest(raw, context + box[:12] + b"\x01", hashlib.sha256)

    assert ("session1", RING.key_ids[0]) == (mark, key_id)
    assert CONTENT == AESGCM(key).decrypt(box[12:24], box[24:], context)


def test_a_token_opens_for_its_own_purpose_namespace_and_user_only() -> None:
    """Of all pairs of a token and a reader, only those open that agree in all three."""
    places = [
        (purpose, {"namespace": namespace, "user_id": user_id})
        for purpose in Purpose
        for namespace in ("", "a", "ab")
        for user_id in ("", "a", "b", "A")
    ]
    for purpose, where in places:
        token = _seal(purpose, **where)
        assert [(purpose, where)] == [other for other in places if _open(token, other[0], **other[1]) is not None]
        for other in set(Purpose) - {purpose}:
            assert _open(token.replace(purpose, other, 1), other, **where) is None


def test_a_record_is_no_token_and_a_token_no_record() -> None:
    """What is sealed for the database does not open as a token under any purpose."""
    record = RING.for_user("user-42").close(CONTENT)
    _, key_id, text = record.split(".")
    for purpose in Purpose:
        assert _open(record, purpose, user_id="user-42") is None
        assert _open(f"{purpose}1.{key_id}.{text}", purpose, user_id="user-42") is None


def test_any_symbol_changed_is_no_token() -> None:
    """Every other symbol of the alphabet in any one place, and every symbol left out, repeated or put behind."""
    token = _seal()
    for at, symbol in enumerate(token):
        for other in {*BASE64URL, ".", "=", " ", "\n", "é"} - {symbol}:
            assert _open(token[:at] + other + token[at + 1 :]) is None
        assert _open(token[:at] + token[at + 1 :]) is None
        assert _open(token[:at] + symbol + token[at:]) is None
    assert all(_open(token + extra) is None for extra in ("=", ".", " ", "\n", "A", "é"))


@hypothesis.given(
    st.one_of(
        st.text(),
        st.binary(),
        st.integers(),
        st.none(),
        st.lists(st.text()),
        st.text(alphabet=BASE64URL + ".=").map(lambda text: f"session1.{RING.key_ids[0]}.{text}"),
    )
)
def test_junk_is_no_token(junk: object) -> None:
    """Whatever a client sends in place of a token reads as none, and raises nothing."""
    assert _open(junk) is None


def test_a_string_of_a_kind_of_its_own_is_no_token() -> None:
    """A subclass of `str`, whose methods could answer anything, is not looked at; nor is a text of a megabyte."""

    class Text(str):
        __slots__ = ()

    assert _open(Text(_seal())) is None
    assert _open(_seal() + "A" * 1_000_000) is None


def test_a_token_outlives_a_rotation_of_the_keys_while_its_key_is_in_the_ring() -> None:
    """Under a new primary key a token still opens; once its key is dropped it is no token, and not an error."""
    token = _seal()

    assert CONTENT == _open(token, keys=KeyRing(OTHER_KEY, KEY))
    assert _open(token, keys=KeyRing(OTHER_KEY)) is None


def test_the_first_half_of_the_nonce_makes_the_key() -> None:
    """Two tokens that differ in that half alone have keys of their own: neither opens the other's ciphertext."""
    one, other = _seal(), _seal(nonce=b"\xff" + NONCE[1:])
    swapped = one[: len("session1.") + 8 + 1] + other.split(".")[2][:16] + one.split(".")[2][16:]

    assert CONTENT == _open(one) == _open(other)
    assert len(one) == len(swapped)
    assert _open(swapped) is None


# --- a browser that is known ---------------------------------------------------------------------------------------


def _issue(*, user_id: str = "user-42", namespace: str = "", **changes: Any) -> str:
    browser = KnownBrowser(**{"generation": "g1", "issued_at": NOW} | changes)
    return issue(RING, browser, user_id=user_id, namespace=namespace, nonce=NONCE)


def _known(token: object, now: int = NOW, **changes: Any) -> KnownBrowser | None:
    return open_for(RING, token, **{"user_id": "user-42", "namespace": "", "generation": "g1", "now": now} | changes)


def test_a_browser_is_known_to_the_user_who_signed_in_there() -> None:
    """The token says what was put into it, to its own user in its own namespace, and to nobody else."""
    token = _issue(trusted_until=NOW + DAY)

    assert KnownBrowser(generation="g1", issued_at=NOW, trusted_until=NOW + DAY) == _known(token)
    assert _known(token, user_id="user-43") is None
    assert _known(token, namespace="shop") is None


@pytest.mark.parametrize("generation", ["g2", "", None])
def test_a_browser_is_forgotten_with_the_generation(generation: str | None) -> None:
    """P7: any other generation than that of the token, none included, makes the browser a stranger."""
    assert _known(_issue(), generation=generation) is None


def test_a_browser_is_known_for_400_days() -> None:
    """From a minute before it was issued, since clocks differ, to the second before 400 days are over."""
    token = _issue()

    seconds = [-61, -60, 0, KNOWN_FOR - 1, KNOWN_FOR]
    assert [False, True, True, True, False] == [_known(token, NOW + after) is not None for after in seconds]


def test_trust_ends_on_time_and_after_90_days_at_the_latest() -> None:
    """A browser that is only known is never trusted; a trusted one up to the second, whatever the token asks for."""
    known = KnownBrowser(generation="g1", issued_at=NOW)
    trusted = KnownBrowser(generation="g1", issued_at=NOW, trusted_until=NOW + DAY)
    for_ever = KnownBrowser(generation="g1", issued_at=NOW, trusted_until=NOW + 1000 * DAY)

    assert not known.is_trusted(NOW)
    assert [True, False] == [trusted.is_trusted(NOW + after) for after in (DAY - 1, DAY)]
    assert [True, False] == [for_ever.is_trusted(NOW + after) for after in (LONGEST_TRUST - 1, LONGEST_TRUST)]


def test_a_browser_token_shows_nothing() -> None:
    """Neither the user nor the generation can be read from a token."""
    token = _issue(user_id="alice@example.com", generation="abcdef")
    text = token.split(".")[2]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    assert not any(word in token.encode() + raw for word in (b"alice", b"abcdef", str(NOW).encode(), b"["))
    assert json.dumps("abcdef") not in token
