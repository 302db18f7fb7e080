"""The keys that seal every record. They come from outside, and belong apart from the database (ASVS 5.0 13.3.1).

A mistake with keys is likely to be made with a key in hand. So no message here shows what was passed, not even a name
that could be a key, and helpers return what is wrong instead of raising it, so that no frame of a traceback holds one.
"""

from __future__ import annotations

import os
import string
from typing import NoReturn

from twofa import _entropy
from twofa._record import base64url
from twofa._record.sealing import FORMAT, KEY_BYTES, KEY_ID_BYTES, Seal, derive
from twofa.errors import InvalidKey

__all__ = ["KeyRing"]

_KEY_LENGTH = 43
"""Characters of 32 bytes in base64url, without padding."""
_RANDOM_ENOUGH = 10
"""Distinct bytes that 32 random ones have but for odds of one in 10³⁰; `"AAAA…"` and the like have fewer."""
_LONGEST_NAME, _LONGEST_WORD = 64, 24
"""Characters of a variable's name that a message may show, and of one without an underscore: it could be a key."""
_SEPARATORS = {
    ",": "a comma",
    ";": "a semicolon",
    ":": "a colon",
    "|": "a vertical bar",
    " ": "a space",
    "\t": "a tab",
    "\n": "a line break",
    "\r": "a line break",
}
_QUOTES = "'\"`\u2018\u2019\u201c\u201d"
_MAKE_A_KEY = "python -c 'from twofa import KeyRing; print(KeyRing.generate_key())'"


class KeyRing:
    """The keys that seal records: the first one seals, all of them open (ASVS 5.0 11.2.2).

    To rotate: deploy the new key as an *older* one everywhere, then put it first, `reseal` every user, drop the old
    key.
    """

    __slots__ = ("_keys", "_primary")

    def __init__(self, primary: str, *older: str) -> None:
        """Take keys as `generate_key` makes them.

        Raises `InvalidKey` for anything else, or for the same key twice; the message says which one and what is wrong
        with it, never what it is.
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
        ring = _read_environment(name)
        del name
        if isinstance(ring, Exception):
            raise ring
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


def _read_keys(keys: tuple[object, ...]) -> dict[str, bytes] | InvalidKey:
    """Return the keys by their public ids, in the order in which they were given, or what is wrong with one."""
    ring: dict[str, bytes] = {}
    for number, key in enumerate(keys, start=1):
        # Some tools write base64url with its padding: that is the same key.
        raw = base64url.decode(key.rstrip("=")) if type(key) is str else None
        if raw is None or len(raw) != KEY_BYTES:
            return InvalidKey(f"key {number} {_problem_with_key(key)}")
        # Only the crudest mistakes are found here: a key of zeros, a word that is repeated. Whether a key is random can
        # not be seen from the key.
        if len(set(raw)) < _RANDOM_ENOUGH:
            return InvalidKey(f"key {number} is not random: make keys with KeyRing.generate_key()")
        key_id = base64url.encode(derive(raw, b"twofa1 key id", KEY_ID_BYTES))
        if key_id in ring:
            return InvalidKey(f"key {number} is in the ring already: name each key once")
        ring[key_id] = raw
    return ring


def _problem_with_key(key: object) -> str:
    """Return what is wrong with something that does not decode to a key, without showing any of it.

    The most telling mistake comes first: a list in quotation marks also has a wrong length, but saying so helps nobody.
    """
    if type(key) is not str:
        hint = ": pass each key as an argument of its own, KeyRing(*keys)" if type(key) in {list, tuple} else ""
        return f"is {type(key).__name__}, not str{hint}"
    text = key.rstrip("=")
    found = [name for symbol, name in _SEPARATORS.items() if symbol in text.strip()]
    if key.startswith("["):
        problem = "is a list as text: write the keys one after the other, with commas between them and nothing else"
    elif key and (key[0] in _QUOTES or key[-1] in _QUOTES):
        problem = "stands in quotation marks, which some tools take as part of it: remove them"
    elif found:
        problem = (
            f"contains {found[0]}: from_env separates keys at commas and spaces, and KeyRing takes each as an "
            "argument of its own"
        )
    elif text != text.strip():
        problem = "has white space around it, such as the line break at the end of a file: strip() it"
    elif len(text) > _KEY_LENGTH and set(text) <= set(string.hexdigits):
        problem = f"is in hexadecimal ({len(text)} digits), and a key is in base64url ({_KEY_LENGTH} characters)"
    elif "+" in text or "/" in text:
        problem = "is in standard base64, with + or /: base64url has - and _ in their place"
    elif not set(text) <= set(string.ascii_letters + string.digits + "-_"):
        problem = "has characters that base64url does not have: it consists of A-Z, a-z, 0-9, - and _"
    elif len(text) != _KEY_LENGTH:
        problem = f"has {len(text)} characters, and a key has {_KEY_LENGTH}"
    else:
        return "was mistyped: its last character cannot be the last one of a key"
    return f"{problem}. KeyRing.generate_key() makes keys"


def _read_environment(name: object) -> KeyRing | Exception:
    """Return the ring that a variable holds, or what is wrong with the variable or with its name."""
    if not isinstance(name, str):
        return TypeError(f"from_env takes the name of an environment variable as str, not {type(name).__name__}")
    # Looking up a name with a surrogate raises an error that shows the name.
    value = os.environ.get(name) if name.isascii() else None
    shown = f" {name}" if _may_be_shown(name) else ""
    if value is None and not shown:  # very likely this is not a name, but what os.environ holds under one
        return InvalidKey(
            "from_env takes the name of an environment variable, such as TWOFA_KEYS, and reads it itself. There is "
            "none of this name, which is not shown, since it could be a key: KeyRing(key) takes a key"
        )
    keys = (value or "").replace(",", " ").split()
    if not keys:
        return _no_key(shown)
    try:
        return KeyRing(*keys)
    except InvalidKey as problem:  # returned under the variable's name, by a frame that no traceback will show
        return InvalidKey(f"environment variable{shown}: {problem}")


def _may_be_shown(name: str) -> bool:
    """Whether this can only be a variable's name. A key has both cases, or is a long word without an underscore."""
    longest = _LONGEST_NAME if "_" in name else _LONGEST_WORD
    return name.isascii() and name.isidentifier() and len(name) <= longest and (name.isupper() or name.islower())


def _no_key(shown: str) -> InvalidKey:
    return InvalidKey(
        f"the environment variable{shown} holds no key. Make one, once, and keep it where your other secrets are:\n\n"
        f'    export{shown or " TWOFA_KEYS"}="$({_MAKE_A_KEY})"\n\n'
        "Do not make another one at each start: it would open no record of the start before."
    )
