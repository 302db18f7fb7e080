"""What both faces do before and between their loops: check the arguments, take the time, draw the chance.

Everything that an operation may need is drawn here, once, before its record is read: a retry after a conflict must not
make another secret than the one that is shown.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from twofa import _entropy
from twofa._engine import operations as decisions
from twofa._engine.attempt import ResealRun, Run
from twofa._engine.operations import Call, NewSetup
from twofa._hidden import Hidden, Unexpected
from twofa._record.recovery import NewCodes, check_available
from twofa._record.state import Key
from twofa._text import storable
from twofa.otp import TOTP
from twofa.policy import Policy
from twofa.stores.protocol import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa._engine.operations import Operation
    from twofa._record.sealing import Seal
    from twofa.keys import KeyRing
    from twofa.proofs import Proof
    from twofa.results import RecoveryCodes, Setup, Status, Verification

T = TypeVar("T")

_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`."""

LONGEST_NAME = 255
"""Characters of a user id or a namespace."""
LONGEST_SOURCE = 256
_LAST_SECOND = 253_402_300_799 - 86_400
"""A day before the last second that a `datetime` can show, in the year 9999."""


class Core:
    """A face without its store."""

    def __init__(
        self, keys: KeyRing | Unexpected, issuer: str, policy: Policy, clock: Callable[[], float], namespace: str
    ) -> None:
        if isinstance(keys, Unexpected):
            raise TypeError(f"keys must be a KeyRing, such as KeyRing.from_env(name) reads, not {keys.kind}")
        _require(policy, Policy, "policy", "a Policy")
        if not callable(clock):
            raise TypeError("clock must be a function that returns Unix seconds, such as time.time")
        _require(issuer, str, "issuer", "the application's name as str")
        _check_label("account", issuer)
        _check_name(namespace, "namespace", shortest=0)
        check_available(policy.hashing)
        self._keys, self.issuer, self._policy = keys, issuer, policy
        self._clock, self._namespace = clock, namespace

    def now(self) -> int:
        """Return the time in whole Unix seconds; raises `ValueError` where the clock gives none (P3: fail closed)."""
        seconds = self._clock()
        _require(seconds, (int, float), "what clock returns", "Unix seconds, such as time.time returns")
        if not 0 <= seconds <= _LAST_SECOND:
            raise ValueError(f"the clock must return Unix seconds between 1970 and 9999, not {seconds!r}")
        return int(seconds)

    # --- one method an operation ---------------------------------------------------------------------------------

    def begin_setup(
        self,
        user_id: str,
        account_name: str,
        issuer: str | None,
        handle: Hidden[str] | None,
        proof: Proof | Unexpected | None,
        source: str | None,
    ) -> Run[Setup]:
        """Prepare a `begin_setup`."""
        call = self._call(user_id, source)
        if handle is not None:
            _check_text(handle, "handle")
        known = None if proof is None else _known(proof)
        return self._run(decisions.BeginSetup(call, self._new_setup(account_name, issuer), handle, known))

    def confirm_setup(
        self, user_id: str, code: Hidden[str], handle: Hidden[str], source: str | None
    ) -> Run[RecoveryCodes]:
        """Prepare a `confirm_setup`."""
        call = self._call(user_id, source)
        _check_text(code, "code")
        _check_text(handle, "handle, which begin_setup gave this session,")
        make, generation = NewCodes.draw(self._policy), _entropy.random_token()
        return self._run(decisions.ConfirmSetup(call, code, handle, make, generation))

    def cancel_setup(self, user_id: str, source: str | None) -> Run[None]:
        """Prepare a `cancel_setup`."""
        return self._run(decisions.CancelSetup(self._call(user_id, source)))

    def verify(self, user_id: str, code: Hidden[str], source: str | None) -> Run[Verification]:
        """Prepare a `verify`."""
        call = self._call(user_id, source)
        _check_text(code, "code")
        return self._run(decisions.Verify(call, code, Hidden(_entropy.random_token())))

    def redeem_recovery_code(self, user_id: str, code: Hidden[str], source: str | None) -> Run[Verification]:
        """Prepare a `redeem_recovery_code`."""
        call = self._call(user_id, source)
        _check_text(code, "code")
        return self._run(decisions.RedeemRecoveryCode(call, code, Hidden(_entropy.random_token())))

    def reset_recovery_codes(self, user_id: str, proof: Proof | Unexpected, source: str | None) -> Run[RecoveryCodes]:
        """Prepare a `reset_recovery_codes`."""
        call = self._call(user_id, source)
        known = _known(proof)
        make, generation = NewCodes.draw(self._policy), _entropy.random_token()
        return self._run(decisions.ResetRecoveryCodes(call, known, make, generation))

    def reset_authenticator(
        self, user_id: str, account_name: str, issuer: str | None, proof: Proof | Unexpected, source: str | None
    ) -> Run[Setup]:
        """Prepare a `reset_authenticator`."""
        call = self._call(user_id, source)
        known = _known(proof)
        new, generation = self._new_setup(account_name, issuer), _entropy.random_token()
        return self._run(decisions.ResetAuthenticator(call, known, new, generation))

    def disable(self, user_id: str, proof: Proof | Unexpected, source: str | None) -> Run[None]:
        """Prepare a `disable`."""
        call = self._call(user_id, source)
        known = _known(proof)
        return self._run(decisions.Disable(call, known, _entropy.random_token()))

    def forget(self, user_id: str, proof: Proof | Unexpected, source: str | None) -> Run[None]:
        """Prepare a `forget`."""
        call = self._call(user_id, source)
        known = _known(proof)
        return self._run(decisions.Forget(call, known))

    def status(self, user_id: str) -> Run[Status]:
        """Prepare a `status`."""
        return self._run(decisions.Look(self._call(user_id, None)))

    def reseal(self, user_id: str) -> Run[bool]:
        """Prepare a `reseal`."""
        operation = decisions.Reseal(self._call(user_id, None))
        return ResealRun(operation, self._seal(user_id), self._keys.is_current)

    # --- what they have in common --------------------------------------------------------------------------------

    def _call(self, user_id: str, source: str | None) -> Call:
        _check_name(user_id, "user_id", shortest=1)
        return Call(user_id, self.now(), _clean(source), self._policy)

    def _run(self, operation: Operation[T]) -> Run[T]:
        return Run(operation, self._seal(operation.call.user_id))

    def _seal(self, user_id: str) -> Seal:
        return self._keys.for_user(user_id, self._namespace)

    def _new_setup(self, account_name: str, issuer: str | None) -> NewSetup:
        label = self.issuer if issuer is None else issuer
        _require(account_name, str, "account_name", "what the user knows the account by, as str")
        _require(label, str, "issuer", "the application's name as str")
        _check_label(account_name, label)
        policy = self._policy
        totp = TOTP.generate(algorithm=policy.algorithm, digits=policy.digits, period=policy.period)
        return NewSetup(Key.of(totp), Hidden(_entropy.random_token()), account_name, label)


def check_parts(store: object, on_event: object, *, awaits: bool) -> None:
    """Raise `TypeError` for a store or a listener that is none, or is for the other face, before anyone signs in."""
    for name in ("load", "swap"):
        if not callable(getattr(store, name, None)) or isinstance(store, type):
            kind = type(store).__name__
            raise TypeError(f"store must be an object with load and swap, such as SQLiteStore(path), not a {kind}")
    if awaits and Store in type(store).__mro__:
        raise TypeError(f"{store!r} is a blocking store: pass ThreadedStore({store!r})")
    if on_event is not None and not callable(on_event):
        raise TypeError("on_event must be a function that takes an Event")
    if not awaits and any(map(_is_coroutine_function, (getattr(store, "load", None), on_event))):
        raise TypeError("a store or listener with coroutine functions needs AsyncTwoFactor")


def _is_coroutine_function(function: object) -> bool:
    # `inspect` would tell as much, at 8 ms of import.
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _COROUTINE)


def system_clock() -> float:
    """Return the system's Unix time."""
    return time.time()


def _require(value: object, kind: type | tuple[type, ...], name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def _check_text(hidden: Hidden[str], name: str) -> None:
    # The faces hide first and check then, so that even a code of the wrong type shows in no traceback.
    if not _is_text(hidden.value):
        raise TypeError(f"{name} must be str, not {type(hidden.value).__name__}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _known(proof: Proof | Unexpected) -> Proof:
    if isinstance(proof, Unexpected):
        raise TypeError(f"proof must be ByCode, ByRecoveryCode, ByVerification or Vouched, not {proof.kind}")
    return proof


def _check_label(account_name: str, issuer: str) -> None:
    from twofa import key_uri  # its patterns cost a tenth of the import, and a login never needs them

    key_uri.check_label(account_name, issuer)


def _check_name(name: str, what: str, shortest: int) -> None:
    _require(name, str, what, "str")
    if not shortest <= len(name) <= LONGEST_NAME:
        raise ValueError(f"{what} must have {shortest} to {LONGEST_NAME} characters, not {len(name)}")
    if not storable(name):
        raise ValueError(f"{what} must not contain NUL or unpaired surrogates")


def _clean(source: str | None) -> str | None:
    """Cut hostile text to size, and replace what some database would choke on."""
    if source is None:
        return None
    _require(source, str, "source", "str or None")
    return source[:LONGEST_SOURCE].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
