"""A complete second factor for any web application: TOTP, recovery codes, and every reset, over your own database."""

from twofa import errors
from twofa.asynchronous import AsyncTwoFactor
from twofa.blocking import TwoFactor
from twofa.errors import TwoFactorError
from twofa.events import Event, EventKind
from twofa.keys import KeyRing
from twofa.otp import TOTP, hotp
from twofa.policy import Argon2id, Policy, Scrypt, Throttle
from twofa.proofs import ByCode, ByRecoveryCode, ByVerification, Proof, Vouched
from twofa.results import ExportedAuthenticator, RecoveryCodes, Setup, Status, Verification
from twofa.stores.protocol import AsyncStore, Change, Store, Stored

__all__ = [
    "TOTP",
    "Argon2id",
    "AsyncStore",
    "AsyncTwoFactor",
    "ByCode",
    "ByRecoveryCode",
    "ByVerification",
    "Change",
    "Event",
    "EventKind",
    "ExportedAuthenticator",
    "KeyRing",
    "Policy",
    "Proof",
    "RecoveryCodes",
    "Scrypt",
    "Setup",
    "Status",
    "Store",
    "Stored",
    "Throttle",
    "TwoFactor",
    "TwoFactorError",
    "Verification",
    "Vouched",
    "errors",
    "hotp",
]
