"""The public face as type checkers see it: run by mypy and pyright with `make lint`, never executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, assert_type

import twofa
from twofa import (
    TOTP,
    Argon2id,
    AsyncStore,
    AsyncTwoFactor,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    Change,
    Event,
    EventKind,
    ExportedAuthenticator,
    KeyRing,
    Policy,
    RecoveryCodes,
    Scrypt,
    Setup,
    Status,
    Store,
    Stored,
    Throttle,
    TwoFactor,
    TwoFactorError,
    Verification,
    Vouched,
    hotp,
)
from twofa.errors import InvalidCode, Throttled, UnknownKey
from twofa.key_uri import KeyUri, parse
from twofa.qr import SVG
from twofa.stores import MemoryStore, SQLiteStore, ThreadedStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Algorithm = Literal["SHA1", "SHA256", "SHA512"]


class HostStore:
    """A host's own store needs no base class."""

    def load(self, user_id: str) -> Stored | None:
        return Stored(user_id, "document")

    def swap(self, user_id: str, change: Change) -> bool:
        return change.expected is None and bool(user_id)


class AsyncHostStore:
    """Nor does an asynchronous one."""

    async def load(self, user_id: str) -> Stored | None:
        return Stored(user_id, "document")

    async def swap(self, user_id: str, change: Change) -> bool:
        return change.expected is None and bool(user_id)


def listen(event: Event) -> None:
    """A listener sees kinds, times and plain values."""
    assert_type(event.kind, EventKind)
    assert_type(event.user_id, str)
    assert_type(event.at, datetime)
    assert_type(event.source, str | None)
    assert_type(event.detail, Mapping[str, str | int | bool | None])
    assert_type(event.kind.owasp, str)


async def listen_later(event: Event) -> None:
    """On the asynchronous face a listener may be a coroutine function."""
    assert_type(event, Event)


def blocking(face: TwoFactor) -> None:
    """Each method of the blocking face returns a value that says what it is."""
    setup = face.begin_setup("user-42", account_name="alice", issuer=None, proof=None, browser=None, source="192.0.2.7")
    assert_type(setup, Setup)
    assert_type(face.confirm_setup("user-42", "123456", handle=setup.handle), RecoveryCodes)
    assert_type(face.resume_setup("user-42", handle=setup.handle, account_name="alice"), Setup)
    assert_type(face.cancel_setup("user-42", handle=setup.handle), None)
    assert_type(face.authenticate("user-42", "123456", browser="token"), Verification)
    assert_type(face.browser_token("user-42", generation="a generation"), str)
    assert_type(face.acknowledge_recovery_codes("user-42"), None)
    assert_type(face.password_changed("user-42"), str)
    assert_type(face.end_sessions("user-42"), str)
    assert_type(face.events("user-42", limit=5), tuple[Event, ...])
    assert_type(face.verify("user-42", "123456"), Verification)
    assert_type(face.redeem_recovery_code("user-42", "7KQX"), Verification)
    assert_type(face.reset_recovery_codes("user-42", proof=ByCode("123456")), RecoveryCodes)
    assert_type(face.reset_authenticator("user-42", account_name="alice", proof=ByRecoveryCode("7KQX")), Setup)
    assert_type(face.disable("user-42", proof=Vouched(by="carol", reason="asked")), str | None)
    assert_type(face.forget("user-42", proof=ByVerification("token")), None)
    assert_type(face.status("user-42"), Status)
    assert_type(face.reseal("user-42"), bool)
    moved = face.import_authenticator(
        "user-42", b"secret", by="carol", reason="moved", algorithm="SHA256", recovery_codes=["12345678"]
    )
    assert_type(moved, str)
    exported = face.export_authenticator("user-42", account_name="alice", by="carol", reason="moving")
    assert_type(exported, ExportedAuthenticator)
    assert_type(exported.uri, str)
    assert_type(exported.secret, bytes)


async def awaiting(face: AsyncTwoFactor) -> None:
    """And so does each coroutine."""
    setup = await face.begin_setup("user-42", account_name="alice")
    assert_type(setup, Setup)
    assert_type(await face.confirm_setup("user-42", "123456", handle=setup.handle), RecoveryCodes)
    assert_type(await face.verify("user-42", "123456"), Verification)
    assert_type(await face.redeem_recovery_code("user-42", "7KQX"), Verification)
    assert_type(await face.reset_recovery_codes("user-42", proof=ByCode("123456")), RecoveryCodes)
    assert_type(await face.reset_authenticator("user-42", account_name="alice", proof=ByCode("123456")), Setup)
    assert_type(await face.authenticate("user-42", "123456", browser="token"), Verification)
    assert_type(await face.password_changed("user-42"), str)
    assert_type(await face.events("user-42"), tuple[Event, ...])
    assert_type(face.browser_token("user-42", generation="a generation"), str)
    assert_type(await face.status("user-42"), Status)
    assert_type(await face.reseal("user-42"), bool)
    assert_type(await face.import_authenticator("user-42", "BASE32", by="carol", reason="moved"), str)
    assert_type(
        await face.export_authenticator("user-42", account_name="alice", by="carol", reason="moving"),
        ExportedAuthenticator,
    )
    await face.cancel_setup("user-42")
    await face.disable("user-42", proof=ByCode("123456"))
    await face.forget("user-42", proof=ByCode("123456"))


def constructing(run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
    """Every store fits its face, by its shape alone; settings are keyword-only and typed."""
    keys = KeyRing.from_env("TWOFA_KEYS")
    assert_type(keys, KeyRing)
    assert_type(keys.key_ids, tuple[str, ...])
    assert_type(KeyRing.generate_key(), str)
    policy = Policy(algorithm="SHA256", hashing=Scrypt(), throttle=Throttle(), recovery_codes=8)
    assert_type(policy.hashing, Argon2id | Scrypt)
    assert_type(policy.algorithm, Algorithm)
    assert_type(Policy.strict(), Policy)
    for store in (HostStore(), MemoryStore(), SQLiteStore("app.db")):
        TwoFactor(store, keys=keys, issuer="Example", policy=policy, on_event=listen, namespace="shop")
    for slow in (AsyncHostStore(), ThreadedStore(HostStore())):
        AsyncTwoFactor(slow, keys=keys, issuer="Example", on_event=listen_later, run_blocking=run)


def protocols(store: Store, later: AsyncStore, host: HostStore) -> None:
    """The two protocols are what a host implements."""
    assert_type(store.load("user-42"), Stored | None)
    assert_type(store.swap("user-42", Change(None, Stored("version", "document"))), bool)
    stores: list[Store] = [host, MemoryStore()]
    later_stores: list[AsyncStore] = [later, ThreadedStore(host)]
    assert_type((stores, later_stores), tuple[list[Store], list[AsyncStore]])


def shapes(setup: Setup, verification: Verification, codes: RecoveryCodes, status: Status) -> None:
    """What the faces return, field by field."""
    assert_type(setup.handle, str)
    assert_type(setup.uri, str)
    assert_type(setup.manual_key, str)
    assert_type(setup.expires_at, datetime)
    assert_type(setup.generation, str | None)
    assert_type(setup.qr_svg(), SVG)
    assert_type(setup.qr_svg().__html__(), str)
    assert_type(setup.to_dict(), dict[str, Any])
    assert_type(setup.qr_png(), bytes)
    assert_type(setup.qr_data_uri(), str)
    assert_type(setup.qr_text(), str)

    assert_type(verification.method, Literal["totp", "recovery_code"])
    assert_type(verification.at, datetime)
    assert_type(verification.recovery_codes_remaining, int)
    assert_type(verification.step_offset, int | None)
    assert_type(verification.failed_before, int)
    assert_type(verification.token, str)
    assert_type(verification.generation, str)

    as_sequence: Sequence[str] = codes
    assert_type(as_sequence[0], str)
    assert_type(codes[0], str)
    assert_type(codes[1:], tuple[str, ...])
    assert_type(list(codes), list[str])
    assert_type(codes.text(), str)
    assert_type(codes.generation, str)

    assert_type(status.required, bool)
    assert_type(status.state, Literal["none", "pending", "active", "reenrol"])
    assert_type(status.setup_expires_at, datetime | None)
    assert_type(status.confirmed_at, datetime | None)
    assert_type(status.last_used_at, datetime | None)
    assert_type(status.recovery_codes_remaining, int)
    assert_type(status.recovery_codes_issued_at, datetime | None)
    assert_type(status.retry_at, datetime | None)
    assert_type(status.recovery_retry_at, datetime | None)
    assert_type(status.generation, str | None)
    assert_type(status.algorithm, Algorithm | None)
    assert_type(status.digits, int | None)
    assert_type(status.period, int | None)


def failing(face: TwoFactor) -> str:
    """Each error carries what its handler needs."""
    try:
        face.verify("user-42", "123456")
    except Throttled as wait:
        assert_type(wait.retry_at, datetime)
    except InvalidCode as refusal:
        assert_type(refusal.retry_at, datetime | None)
    except UnknownKey as lost:
        assert_type(lost.key_id, str)
    except TwoFactorError as problem:
        return assert_type(problem.code, str)
    return twofa.TwoFactorError.code


def arithmetic(code: str, at: float) -> None:
    """The tier for those who want nothing but numbers."""
    totp = TOTP.generate(algorithm="SHA512", digits=8, period=60)
    assert_type(totp, TOTP)
    assert_type(totp.code(at), str)
    assert_type(totp.match(code, at, window=1, after=None), int | None)
    assert_type(totp.step(at), int)
    assert_type(totp.uri(account_name="alice", issuer="Example"), str)
    assert_type(TOTP.from_uri("otpauth://totp/…"), TOTP)
    assert_type(totp.secret, bytes)
    assert_type(totp.algorithm, Algorithm)
    assert_type(hotp(b"sixteen bytes at least", 1, digits=6), str)
    assert_type(parse("otpauth://totp/…"), KeyUri)


def mistakes(face: TwoFactor, setup: Setup) -> None:
    """What a type checker refuses before anyone runs it: an ignore that is not needed any more is an error itself."""
    face.verify("user-42", 123456)  # type: ignore[arg-type]  # a code is text
    face.verify(42, "123456")  # type: ignore[arg-type]  # so is a user id
    face.disable("user-42")  # type: ignore[call-arg]  # a change needs a proof
    face.disable("user-42", proof=None)  # type: ignore[arg-type]  # and None is none
    face.disable("user-42", proof="123456")  # type: ignore[arg-type]  # nor is a bare code
    face.confirm_setup("user-42", "123456")  # type: ignore[call-arg]  # without its handle nothing is confirmed
    face.begin_setup("user-42", "alice")  # type: ignore[call-arg]  # names are named
    Policy(algorithm="MD5")  # type: ignore[arg-type]  # an algorithm that is none
    Policy("SHA1")  # type: ignore[call-arg]  # settings are keyword-only
    TwoFactor(AsyncHostStore(), keys=KeyRing("key"), issuer="Example")  # type: ignore[arg-type]  # another face's store
    AsyncTwoFactor(HostStore(), keys=KeyRing("key"), issuer="Example")  # type: ignore[arg-type]  # and the other way
    if face.verify("user-42", "123456"):
        assert_type(setup, Setup)
