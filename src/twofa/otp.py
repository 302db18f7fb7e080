"""One-time passwords: the arithmetic of RFC 4226 (HOTP) and RFC 6238 (TOTP), and nothing else.

Replay, throttling, storage and recovery are what `TwoFactor` adds. Whoever uses `TOTP` alone has to do all of that.

`base64` is imported where it is used, since a login never needs it. Helpers that see a secret or a code return what is
wrong with it instead of raising, so that no frame of a traceback holds it.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, get_args

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from twofa import _entropy
from twofa._values import Value
from twofa.errors import InvalidSecret, PolicyError
from twofa.policy import Algorithm

if TYPE_CHECKING:
    from typing import Self

    from twofa.key_uri import KeyUri

__all__ = ["TOTP", "Algorithm", "hotp", "read_code"]

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),  # noqa: S303  # what every app reads (RFC 4226); the weakness of SHA-1 is not one of its HMAC
    "SHA256": hashes.SHA256(),
    "SHA512": hashes.SHA512(),
}
_ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
_SHORTEST_SECRET = 16
"""Bytes; RFC 4226 §4 R6."""
_LONGEST_SECRET = 128
"""Bytes; the block of SHA-512, beyond which HMAC only hashes the key down."""
_FEWEST_DIGITS, _MOST_DIGITS = 6, 8
_SHORTEST_PERIOD, _LONGEST_PERIOD = 15, 120
_WIDEST_WINDOW = 2
_LONGEST_CODE_INPUT = 64
_LONGEST_SECRET_INPUT = 512
"""Characters: the longest secret has 205 in base32, which leaves room for spaces or hyphens between them."""
_END_OF_COUNTERS = 1 << 64
"""A counter has eight bytes (RFC 4226 §5.1); no time in seconds comes near it."""

_four_bytes = Struct(">I").unpack_from

_HYPHENS = dict.fromkeys(map(ord, "-\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"))
_SPACES = dict.fromkeys([*map(ord, " \u00a0\u1680\u202f\u205f\u3000"), *range(0x2000, 0x200B)])
_GROUPING = _SPACES | _HYPHENS
"""What people put between the symbols of a base32 secret. A line break is none: it means that more was copied."""
_IMPOSSIBLE_LENGTHS = frozenset({1, 3, 6})
"""Symbols of a last, incomplete group of eight that hold no whole number of bytes."""
_BASE32 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567")


def hotp(secret: bytes, counter: int, *, digits: int = 6, algorithm: Algorithm = "SHA1") -> str:
    """Return the code for a counter from 0 to 2⁶⁴ − 1, with leading zeros (RFC 4226 §5.3).

    Raises `InvalidSecret` unless the secret has 16 to 128 bytes (§4 R6), `PolicyError` for other digits than 6 to 8
    (§5.3) or an unknown algorithm (RFC 6238 §1.2), `ValueError` for a counter out of range.
    """
    problem = _problem_with_parameters(secret, algorithm, digits) or _problem_with_counter(counter)
    if problem is not None:
        del secret
        raise problem
    return f"{_truncated(HMAC(secret, _HASHES[algorithm]), counter) % 10**digits:0{digits}}"


class TOTP(Value):
    """A time-based one-time password: a secret and how to calculate with it (RFC 6238).

    Immutable, equal to another with the same content. Hides its secret in `repr` and refuses to be pickled.
    """

    __slots__ = ("_parts",)
    _hidden = frozenset({"_parts"})

    _parts: tuple[HMAC, bytes, Algorithm, int, int]
    """One slot filled once, since this object is built at every login. The HMAC is keyed once and copied for each step:
    half the work of a new one every time."""

    def __init__(
        self, secret: bytes | str, *, algorithm: Algorithm = "SHA1", digits: int = 6, period: int = 30
    ) -> None:
        """Take a secret as bytes or in base32, where case, spaces, hyphens and missing padding do not matter.

        Raises `InvalidSecret` for text that is not exactly base32 (RFC 4648 §6) or a secret below 16 bytes (RFC 4226 §4
        R6), `PolicyError` for other digits than 6 to 8 (RFC 4226 §5.3), a period outside 15 to 120 seconds (NIST SP
        800-63B-4 §3.1.4.1) or an unknown algorithm (RFC 6238 §1.2).
        """
        # This runs at every login: the usual case is seen at once, and only what is unusual is looked at closely.
        if not (
            type(secret) is bytes
            and _SHORTEST_SECRET <= len(secret) <= _LONGEST_SECRET
            and algorithm in _ALGORITHMS
            and type(digits) is int
            and _FEWEST_DIGITS <= digits <= _MOST_DIGITS
            and type(period) is int
            and _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD
        ):
            secret, problem = _read_base32(secret) if isinstance(secret, str) else (secret, None)
            problem = problem or _problem_with_parameters(secret, algorithm, digits, period)
            if problem is not None:
                del secret
                raise problem
        object.__setattr__(self, "_parts", (HMAC(secret, _HASHES[algorithm]), secret, algorithm, digits, period))

    @classmethod
    def generate(cls, *, algorithm: Algorithm = "SHA1", digits: int = 6, period: int = 30) -> Self:
        """Return one with a new random secret, as long as the HMAC: 20, 32 or 64 bytes (RFC 6238 §5.1).

        Raises `PolicyError` as the constructor does. Some apps ignore or refuse other values than the defaults.
        """
        if algorithm not in _ALGORITHMS:
            raise _unknown_algorithm()
        length = _HASHES[algorithm].digest_size
        return cls(_entropy.random_bytes(length), algorithm=algorithm, digits=digits, period=period)

    @classmethod
    def from_uri(cls, uri: str) -> TOTP:
        """Read an otpauth Key URI; its label is what `twofa.key_uri.parse` returns beside it.

        Raises `InvalidKeyUri`, or `InvalidSecret` for a secret that is not base32 or below 128 bits (RFC 4226 §4 R6).
        """
        from twofa import key_uri  # which knows this class

        result: KeyUri | Exception = key_uri.read(uri)
        if isinstance(result, Exception):
            del uri
            raise result
        return result.totp

    @property
    def secret(self) -> bytes:
        """16 to 128 bytes."""
        return self._parts[1]

    @property
    def algorithm(self) -> Algorithm:
        """The hash function: `SHA1`, `SHA256` or `SHA512`."""
        return self._parts[2]

    @property
    def digits(self) -> int:
        """Digits of a code, 6 to 8."""
        return self._parts[3]

    @property
    def period(self) -> int:
        """Seconds of a time step, 15 to 120."""
        return self._parts[4]

    @property
    def base32(self) -> str:
        """The secret in unpadded upper-case base32 (RFC 4648 §6), as Key URIs carry it."""
        return _write_base32(self.secret)

    def uri(self, *, account_name: str, issuer: str) -> str:
        """Return the otpauth Key URI for a QR code. Raises `InvalidKeyUri` for a label that no app could show."""
        from twofa import key_uri

        return key_uri.build(self, account_name=account_name, issuer=issuer)

    def step(self, at: float) -> int:
        """Return the time step that holds a Unix time in seconds; nothing ends in 2038 or 2106 (RFC 6238 §4.2).

        Raises `ValueError` for a time before 1970, NaN or infinity, `TypeError` for a `datetime`.
        """
        problem = _problem_with_time(at)
        if problem is not None:
            raise problem
        return int(at) // self.period

    def code(self, at: float) -> str:
        """Return the code for a Unix time in seconds, with leading zeros. Raises as `step` does."""
        keyed, _, _, digits, _ = self._parts
        return f"{_truncated(keyed, self.step(at)) % 10**digits:0{digits}}"

    def match(self, code: str, at: float, window: int = 1, after: int | None = None) -> int | None:
        """Return the latest time step within `window` of now that the code fits and that is later than `after`.

        `None` if there is none, or if the code is no code at all. Keep the returned step and pass it as `after` the
        next time, in one atomic step of your database, or the code can be used twice (RFC 6238 §5.2).

        Raises `PolicyError` for a window other than 0, 1 or 2 time steps (RFC 6238 §5.2 and §6), and as `step` does.
        """
        if not (
            type(code) is str
            and (type(at) is int or type(at) is float)
            and 0 <= at < _END_OF_COUNTERS
            and type(window) is int
            and 0 <= window <= _WIDEST_WINDOW
            and (after is None or type(after) is int)
        ):
            problem = _problem_with_match(code, window, after) or _problem_with_time(at)
            if problem is not None:
                del code, at, window, after  # whichever place the code was put in
                raise problem
        keyed, _, _, digits, period = self._parts
        # The usual case without a call.
        number = int(code) if len(code) == digits and code.isdecimal() else read_code(code, digits)
        if number is None:
            return None
        now, modulus, found = int(at) // period, 10**digits, None
        # Every step is computed, whichever fits (ASVS 5.0 11.2.4). Both numbers are below 2³⁰, one digit of Python's
        # integers, so that they are compared whole, and how much of a guess is right changes nothing in the time.
        for step in range(now - window if now > window else 0, now + window + 1):
            mac = keyed.copy()  # as in `_truncated`: three calls would cost a twentieth of the whole
            mac.update(step.to_bytes(8))
            digest = mac.finalize()
            right = (_four_bytes(digest, digest[-1] & 0xF)[0] & 0x7FFF_FFFF) % modulus
            if right == number and (after is None or step > after):
                found = step
        return found

    def __repr__(self) -> str:
        if not hasattr(self, "_parts"):  # looked at by a debugger where the constructor has refused something
            return "TOTP(<not made>)"
        return f"TOTP(<hidden>, algorithm={self.algorithm!r}, digits={self.digits}, period={self.period})"

    def _content(self) -> tuple[object, ...]:
        return self._parts[1:]  # an HMAC is equal to nothing but itself


def read_code(text: str, digits: int) -> int | None:
    """Return what was typed as a number, or `None` unless it is exactly `digits` decimal digits.

    Spaces and hyphens do not matter. Decimal digits of any script are read by their value: people type codes on
    Persian, Arabic and Thai keyboards. Input beyond 64 characters is not looked at (ASVS 5.0 2.2.1).
    """
    if len(text) != digits:
        if len(text) > _LONGEST_CODE_INPUT:
            return None
        text = "".join(text.split()).translate(_HYPHENS)
    return int(text) if len(text) == digits and text.isdecimal() else None


def _truncated(keyed: HMAC, counter: int) -> int:
    """Return the 31 bits of dynamic truncation (RFC 4226 §5.3)."""
    mac = keyed.copy()
    mac.update(counter.to_bytes(8))
    digest = mac.finalize()
    return int(_four_bytes(digest, digest[-1] & 0xF)[0]) & 0x7FFF_FFFF


def _problem_with_parameters(
    secret: object, algorithm: object, digits: object, period: object = 30
) -> Exception | None:
    if not isinstance(secret, bytes):
        return TypeError(f"a secret is bytes, or for TOTP base32 text as str, not {type(secret).__name__}")
    if not _SHORTEST_SECRET <= len(secret) <= _LONGEST_SECRET:
        return InvalidSecret(
            f"a secret has {_SHORTEST_SECRET} to {_LONGEST_SECRET} bytes, that is at least 128 bits (RFC 4226 §4 R6), "
            f"but this one has {len(secret)} bytes"
        )
    if algorithm not in _ALGORITHMS:
        return _unknown_algorithm()
    if type(digits) is not int or not _FEWEST_DIGITS <= digits <= _MOST_DIGITS:
        return PolicyError(f"digits must be 6, 7 or 8 (RFC 4226 §5.3), not {_shown(digits)}")
    if type(period) is not int or not _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD:
        return PolicyError(f"period must be 15 to 120 seconds (NIST SP 800-63B-4 §3.1.4.1), not {_shown(period)}")
    return None


def _unknown_algorithm() -> PolicyError:
    return PolicyError(f"algorithm must be one of {', '.join(_ALGORITHMS)} (RFC 6238 §1.2)")


def _problem_with_counter(counter: object) -> Exception | None:
    if type(counter) is not int:
        return TypeError(f"a counter is a whole number, not {type(counter).__name__}")
    if not 0 <= counter < _END_OF_COUNTERS:
        return ValueError("a counter is a whole number from 0 to 2**64 - 1 (RFC 4226 §5.1)")
    return None


def _problem_with_time(at: object) -> Exception | None:
    if not isinstance(at, (int, float)) or isinstance(at, bool):
        return TypeError(
            f"a time is Unix seconds, such as time.time() or datetime.timestamp(), not {type(at).__name__}"
        )
    if not 0 <= at < _END_OF_COUNTERS:
        return ValueError(f"a time is Unix seconds since 1970 (RFC 6238 §4.2), not {_shown(at)}")
    return None


def _problem_with_match(code: object, window: object, after: object) -> Exception | None:
    if not isinstance(code, str):
        return TypeError(f"a code is str, not {type(code).__name__}: as a number it would lose its leading zeros")
    if type(window) is not int or not 0 <= window <= _WIDEST_WINDOW:
        return PolicyError(f"window must be 0, 1 or 2 time steps (RFC 6238 §5.2 and §6), not {_shown(window)}")
    if after is not None and type(after) is not int:
        return TypeError(f"after is the last accepted time step or None, not {type(after).__name__}")
    return None


def _shown(value: object) -> str:
    """Return a wrong number as it is, and only the type of anything else, which may be a misplaced secret."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value) if type(value) is int and abs(value) < _END_OF_COUNTERS else type(value).__name__


def _read_base32(text: str) -> tuple[bytes, Exception | None]:
    """Decode strictly but for case, spaces, hyphens and padding; return the problem beside nothing."""
    from base64 import b32decode

    problem = _problem_with_base32(text)
    if problem is not None:
        return b"", problem
    symbols = _symbols(text)
    raw = b32decode(symbols + "=" * (-len(symbols) % 8))
    if _write_base32(raw) == symbols:
        return raw, None
    return b"", InvalidSecret("the base32 secret has stray bits at its end (RFC 4648 §3.5): its last symbol is wrong")


def _problem_with_base32(text: str) -> InvalidSecret | None:
    if len(text) > _LONGEST_SECRET_INPUT:
        return InvalidSecret(f"a base32 secret has at most {_LONGEST_SECRET_INPUT} characters, spaces included")
    for position, symbol in enumerate(text.strip(), 1):
        if symbol not in _BASE32 and symbol != "=" and ord(symbol) not in _GROUPING:
            return InvalidSecret(
                f"character {position} of the base32 secret is {symbol!r}, which is not in its alphabet: "
                "A to Z and 2 to 7, but not 0, 1, 8 or 9 (RFC 4648 §6)"
            )
    symbols = _symbols(text)
    if "=" in symbols:
        return InvalidSecret("the base32 secret has padding (=) before its end (RFC 4648 §6): are these two secrets?")
    if len(symbols) % 8 in _IMPOSSIBLE_LENGTHS:
        return InvalidSecret(
            f"no base32 secret has {len(symbols)} symbols (RFC 4648 §6): it was cut short, or mistyped"
        )
    return None


def _symbols(text: str) -> str:
    return text.strip().translate(_GROUPING).rstrip("=").upper()


def _write_base32(raw: bytes) -> str:
    from base64 import b32encode

    return b32encode(raw).decode("ascii").rstrip("=")
