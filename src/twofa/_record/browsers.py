"""The token of a browser in which a user has signed in before.

Attempts that come with one are counted apart from strangers' attempts, so that someone who has only the password cannot
make the owner wait. A token can also say until when the browser is trusted: till then the password is enough there.
It ends with the account's generation, so every reset and every new authenticator ends it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twofa._record.throttle import CLOCK_SKEW
from twofa._record.tokens import Purpose, open_token, seal_token

if TYPE_CHECKING:
    from twofa.keys import KeyRing

__all__ = ["KNOWN_FOR", "LONGEST_TRUST", "KnownBrowser", "genuine", "issue", "open_for"]

KNOWN_FOR = 400 * 86_400
"""Seconds that a browser stays known: the longest that browsers keep a cookie (RFC 6265bis §5.5)."""

LONGEST_TRUST = 90 * 86_400
"""Seconds that a browser can be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBrowser:
    """What a browser's token says. Times are Unix seconds."""

    generation: str | None
    """The account's generation when the token was issued."""
    issued_at: int
    trusted_until: int = 0
    """Until when the password is enough in this browser; 0 if it never is."""

    def is_trusted(self, now: int) -> bool:
        """Whether the user's password is enough in this browser."""
        return now < min(self.trusted_until, self.issued_at + LONGEST_TRUST)


def issue(keys: KeyRing, browser: KnownBrowser, *, user_id: str, namespace: str, nonce: bytes) -> str:
    """Return a token for one user's browser; `nonce` is `tokens.NONCE_BYTES` random bytes."""
    content = json.dumps([browser.generation, browser.issued_at, browser.trusted_until]).encode()
    return seal_token(keys, Purpose.BROWSER, content, namespace=namespace, user_id=user_id, nonce=nonce)


def open_for(
    keys: KeyRing, token: object, *, user_id: str, namespace: str, generation: str | None, now: int
) -> KnownBrowser | None:
    """Return what a token says, or `None` unless it makes this browser known to this user today.

    That takes what `genuine` asks for, and that the token was issued under the account's present `generation`.
    """
    browser = genuine(keys, token, user_id=user_id, namespace=namespace, now=now)
    return browser if browser is not None and browser.generation == generation else None


def genuine(keys: KeyRing, token: object, *, user_id: str, namespace: str, now: int) -> KnownBrowser | None:
    """Return what a token says, or `None` unless it was issued for this user, and not more than 400 days ago.

    A token from the future, beyond what two machines' clocks may differ, is none.
    """
    content = open_token(keys, Purpose.BROWSER, token, namespace=namespace, user_id=user_id)
    if content is None:
        return None
    generation, issued_at, trusted_until = json.loads(content)
    browser = KnownBrowser(generation=generation, issued_at=issued_at, trusted_until=trusted_until)
    return browser if issued_at - CLOCK_SKEW <= now < issued_at + KNOWN_FOR else None
