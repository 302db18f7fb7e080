"""One-time passwords: the arithmetic of RFC 4226 (HOTP) and RFC 6238 (TOTP), and nothing else.

`TwoFactor` adds protection against replay, throttling, storage and recovery. Whoever uses `TOTP` alone has to do all of
that.

Helpers that see a secret or a code return what is wrong with it instead of raising, so that no frame of a traceback
holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING, ClassVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from twofa import _base32, _entropy, key_uri
from twofa._hidden import Hidden, shown
from twofa._parameters import (
    ALGORITHMS,
    FEWEST_DIGITS,
    LONGEST_PERIOD,
    LONGEST_SECRET,
    MOST_DIGITS,
    SHORTEST_IMPORTED_SECRET,
    SHORTEST_PERIOD,
    SHORTEST_SECRET,
    WIDEST_WINDOW,
    Algorithm,
    problem_with_parameters,
    unknown_algorithm,
)
from twofa._text import HYPHENS
from twofa.errors import PolicyError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["TOTP", "Algorithm", "hotp", "read_code"]

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),  # noqa: S303  # what every app reads (RFC 4226); the weakness of SHA-1 is not one of its HMAC
    "SHA256": hashes.SHA256(),
    "SHA512": hashes.SHA512(),
}
_LONGEST_CODE_INPUT = 64
"""Characters. Longer input is refused before any work on it (ASVS 5.0 2.2.1)."""
_END_OF_COUNTERS = 1 << 64
"""A counter has eight bytes (RFC 4226 §5.1); no time in seconds comes near it."""

# Looked up once: unpacking runs three times in every login.
_four_bytes = Struct(">I").unpack_from


def hotp(secret: bytes, counter: int, *, digits: int = 6, algorithm: Algorithm = "SHA1") -> str:
    """Return the code for a counter from 0 to 2⁶⁴ − 1, with leading zeros (RFC 4226 §5.3).

    Raises `InvalidSecret` unless the secret has 16 to 128 bytes (§4 R6), `PolicyError` for other digits than 6 to 8
    (§5.3) or an unknown algorithm (RFC 6238 §1.2), `ValueError` for a counter out of range.
    """
    problem = problem_with_parameters(secret, algorithm, digits) or _problem_with_counter(counter)
    if problem is not None:
        del secret
        raise problem
    return f"{_truncated(HMAC(secret, _HASHES[algorithm]), counter) % 10**digits:0{digits}}"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class TOTP:
    """A time-based one-time password: a secret and how to calculate with it (RFC 6238).

    Immutable, equal to another with the same content. Hides its secret in `repr` and refuses to be pickled.
    """

    _secret: Hidden[bytes]
    algorithm: Algorithm
    """The hash function: `SHA1`, `SHA256` or `SHA512`."""
    digits: int
    """6 to 8."""
    period: int
    """Seconds of a time step, 15 to 120."""
    _keyed: HMAC = field(compare=False)
    """Keyed once and copied for each step: half the work of a new HMAC every time."""

    _shortest_secret: ClassVar[int] = SHORTEST_SECRET
    _takes_stray_bits: ClassVar[bool] = False

    def __init__(
        self, secret: bytes | str, *, algorithm: Algorithm = "SHA1", digits: int = 6, period: int = 30
    ) -> None:
        """Take a secret as bytes or in base32, where case, spaces, hyphens and missing padding do not matter.

        Raises `InvalidSecret` for text that is not exactly base32 (RFC 4648 §6) or a secret below 16 bytes (RFC 4226 §4
        R6), `PolicyError` for other digits than 6 to 8 (RFC 4226 §5.3), a period outside 15 to 120 seconds (NIST SP
        800-63B-4 §3.1.4.1) or an unknown algorithm (RFC 6238 §1.2).
        """
        # This runs at every login. The usual case passes in one condition; everything else is looked at closely.
        if not (
            type(secret) is bytes
            and self._shortest_secret <= len(secret) <= LONGEST_SECRET
            and algorithm in ALGORITHMS
            and type(digits) is int
            and FEWEST_DIGITS <= digits <= MOST_DIGITS
            and type(period) is int
            and SHORTEST_PERIOD <= period <= LONGEST_PERIOD
        ):
            read = self._checked(secret, algorithm, digits, period)
            del secret
            if isinstance(read, Exception):
                raise read
            secret = read
        fill = object.__setattr__
        fill(self, "_secret", Hidden(secret))
        fill(self, "algorithm", algorithm)
        fill(self, "digits", digits)
        fill(self, "period", period)
        fill(self, "_keyed", HMAC(secret, _HASHES[algorithm]))

    @classmethod
    def generate(cls, *, algorithm: Algorithm = "SHA1", digits: int = 6, period: int = 30) -> Self:
        """Return one with a new random secret, as long as the HMAC: 20, 32 or 64 bytes (RFC 6238 §5.1).

        Raises `PolicyError` as the constructor does. Some apps ignore or refuse other values than the defaults.
        """
        if algorithm not in ALGORITHMS:
            raise unknown_algorithm()
        length = _HASHES[algorithm].digest_size
        return cls(_entropy.random_bytes(length), algorithm=algorithm, digits=digits, period=period)

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Read an otpauth Key URI; `twofa.key_uri.parse` returns its label as well.

        Raises `InvalidKeyUri`, or `InvalidSecret` for a secret that is not base32 or below 128 bits (RFC 4226 §4 R6).
        """
        result = key_uri.read(uri)
        if isinstance(result, Exception):
            del uri
            raise result
        return cls(result.secret, algorithm=result.algorithm, digits=result.digits, period=result.period)

    @property
    def secret(self) -> bytes:
        """16 to 128 bytes."""
        return self._secret.value

    @property
    def base32(self) -> str:
        """The secret in unpadded upper-case base32 (RFC 4648 §6), as Key URIs carry it."""
        return _base32.encode(self.secret)

    def uri(self, *, account_name: str, issuer: str) -> str:
        """Return the otpauth Key URI for a QR code. Raises `InvalidKeyUri` for a label that no app could show."""
        return key_uri.write(self._secret, account_name, issuer, self.algorithm, self.digits, self.period)

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
        return f"{_truncated(self._keyed, self.step(at)) % 10**self.digits:0{self.digits}}"

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
            and 0 <= window <= WIDEST_WINDOW
            and (after is None or type(after) is int)
        ):
            problem = _problem_with_match(code, window, after) or _problem_with_time(at)
            if problem is not None:
                del code, at, window, after  # whichever place the code was put in
                raise problem
        keyed, digits = self._keyed, self.digits
        # Six plain digits are the usual case, and need no function call.
        number = int(code) if len(code) == digits and code.isdecimal() else read_code(code, digits)
        if number is None:
            return None
        now, modulus, found = int(at) // self.period, 10**digits, None
        # Every step is computed, whichever fits, so that the time tells nothing (ASVS 5.0 11.2.4). Codes are compared
        # as integers below 2³⁰. Python compares those in one go, so the time does not depend on how many digits of a
        # guess are right either.
        for step in range(now - window if now > window else 0, now + window + 1):
            mac = keyed.copy()  # written out, not `_truncated(…)`: three calls would cost a twentieth of the whole
            mac.update(step.to_bytes(8))
            digest = mac.finalize()
            right = (_four_bytes(digest, digest[-1] & 0xF)[0] & 0x7FFF_FFFF) % modulus
            if right == number and (after is None or step > after):
                found = step
        return found

    @classmethod
    def _checked(cls, secret: bytes | str, algorithm: object, digits: object, period: object) -> bytes | Exception:
        """Return the secret as bytes, or what is wrong with it or with its parameters."""
        read = _base32.decode(secret, stray_bits=cls._takes_stray_bits) if isinstance(secret, str) else secret
        if isinstance(read, Exception):
            return read
        return problem_with_parameters(read, algorithm, digits, period, shortest=cls._shortest_secret) or read

    def __repr__(self) -> str:
        if not hasattr(self, "_keyed"):  # looked at by a debugger where the constructor has refused something
            return "TOTP(<not made>)"
        return f"TOTP(<hidden>, algorithm={self.algorithm!r}, digits={self.digits}, period={self.period})"


class LenientTOTP(TOTP):
    """A `TOTP` that somebody has in their phone already, perhaps one that another library made.

    Takes secrets from 10 bytes on, and base32 with stray bits at its end: too little for a new one, but to refuse it
    would lock its owner out (P12).
    """

    __slots__ = ()

    _shortest_secret = SHORTEST_IMPORTED_SECRET
    _takes_stray_bits = True


def read_code(text: str, digits: int) -> int | None:
    """Return what was typed as a number, or `None` unless it is exactly `digits` decimal digits.

    Spaces and hyphens do not matter. Decimal digits of any script are read by their value: people type codes on
    Persian, Arabic and Thai keyboards. Input beyond 64 characters is not looked at (ASVS 5.0 2.2.1).
    """
    if len(text) != digits:
        if len(text) > _LONGEST_CODE_INPUT:
            return None
        text = "".join(text.split()).translate(HYPHENS)
    return int(text) if len(text) == digits and text.isdecimal() else None


def _truncated(keyed: HMAC, counter: int) -> int:
    """Return the 31 bits of dynamic truncation (RFC 4226 §5.3)."""
    mac = keyed.copy()
    mac.update(counter.to_bytes(8))
    digest = mac.finalize()
    return int(_four_bytes(digest, digest[-1] & 0xF)[0]) & 0x7FFF_FFFF


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
        return ValueError(f"a time is Unix seconds since 1970 (RFC 6238 §4.2), not {shown(at)}")
    return None


def _problem_with_match(code: object, window: object, after: object) -> Exception | None:
    if not isinstance(code, str):
        return TypeError(f"a code is str, not {type(code).__name__}: as a number it would lose its leading zeros")
    if type(window) is not int or not 0 <= window <= WIDEST_WINDOW:
        return PolicyError(f"window must be 0, 1 or 2 time steps (RFC 6238 §5.2 and §6), not {shown(window)}")
    if after is not None and type(after) is not int:
        return TypeError(f"after is the last accepted time step or None, not {type(after).__name__}")
    return None
