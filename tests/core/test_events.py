"""The events: their vocabulary, their way into the log, and which of them each call leaves behind."""

from __future__ import annotations

import base64
import contextlib
import logging
import pickle
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pages import ROOT
from support import ACCOUNT, FAST, USER, InAKnownBrowser, World

from twofa import (
    ByCode,
    ByRecoveryCode,
    ByVerification,
    Change,
    Event,
    EventKind,
    KeyRing,
    Policy,
    Stored,
    Throttle,
    Vouched,
)
from twofa._engine.listening import log_event, log_listener_failure
from twofa._engine.operations.revoking import RevokeRecoveryCodes
from twofa.errors import InvalidCode, RecoveryCodesExhausted, TwoFactorError
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa import Setup
    from twofa.proofs import Proof

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")

OWASP_VOCABULARY = {
    # of the OWASP Logging Vocabulary Cheat Sheet, those that fit a second factor
    "authn_login_fail",
    "authn_login_fail_max",
    "authn_login_lock",
    "authn_password_change",
    "authn_login_success",
    "authn_token_created",
    "authn_token_expired",
    "authn_token_reuse",
    "authn_token_revoked",
    "crypt_decrypt_fail",
    "excess_rate_limit_exceeded",
    "input_validation_fail",
    "sensitive_read",
    "sequence_fail",
    "session_expired",
    "sys_crash",
    "user_deleted",
    "user_updated",
}
ALARMING = {
    EventKind.ATTACK_SUSPECTED,
    EventKind.OUTCOME_UNKNOWN,
    EventKind.STORE_CONTENTION,
    EventKind.STORE_FAILED,
    EventKind.AUTHENTICATOR_BLOCKED,
    EventKind.CODE_REJECTED,
    EventKind.CODE_REUSED,
    EventKind.RECORD_REFUSED,
    EventKind.RECOVERY_CODES_BLOCKED,
    EventKind.THROTTLED,
}

PICKLED_EVENT = (
    "gAJjdHdvZmEuZXZlbnRzCl9yZXZpdmUKcQAoWBIAAAByZWNvdmVyeV9jb2Rlc19sb3dxAVgHAAAAdXNlci00MnECY2RhdGV0aW1lCmRhdGV0aW1l"
    "CnEDY19jb2RlY3MKZW5jb2RlCnEEWAsAAAAHw6sBDwwAAAAAAHEFWAYAAABsYXRpbjFxBoZxB1JxCGNkYXRldGltZQp0aW1lem9uZQpxCWNkYXRl"
    "dGltZQp0aW1lZGVsdGEKcQpLAEsASwCHcQtScQyFcQ1ScQ6GcQ9ScRBYCQAAADE5Mi4wLjIuMXERfXESKFgJAAAAcmVtYWluaW5ncRNLA1gGAAAA"
    "cmVhc29ucRRYAQAAAHhxFVgEAAAAZmxhZ3EWiFgHAAAAbm90aGluZ3EXTnV0cRhScRku"
)
PICKLED_KIND = "gAJjdHdvZmEuZXZlbnRzCkV2ZW50S2luZApxAFgIAAAAZGlzYWJsZWRxAYVxAlJxAy4="


# --- the values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_has_an_owasp_name(kind: EventKind) -> None:
    """No kind is without a name in OWASP's vocabulary, and no name is made up."""
    assert kind.owasp in OWASP_VOCABULARY


def test_kinds_are_stable_words() -> None:
    """A kind is its own lower-case name as a string, which stores and hosts rely on."""
    assert all(kind.name.lower() == kind.value == str(kind) for kind in EventKind)
    assert 32 == len(EventKind)


def test_events_are_compared_and_hashed_by_content() -> None:
    """Each field counts for equality; equal events are one in a set."""
    fields: dict[str, Any] = {
        "kind": EventKind.CODE_REJECTED,
        "user_id": "u",
        "at": NOON,
        "source": "s",
        "detail": {"a": 1},
    }
    event = Event(**fields)
    changes: list[dict[str, Any]] = [
        {"kind": EventKind.CODE_REUSED},
        {"user_id": "v"},
        {"at": NOON + timedelta(seconds=1)},
        {"source": None},
        {"detail": {"a": 2}},
        {"detail": {}},
    ]
    others = [Event(**fields | changed) for changed in changes]

    assert event == Event(**fields)
    assert 1 == len({event, Event(**fields)})
    assert 7 == len({event, *others})


@pytest.mark.parametrize("detail", [{}, {"remaining": 3, "reason": "x", "flag": True, "nothing": None}])
def test_events_survive_pickling(detail: Any) -> None:
    """An event that goes through a queue comes back the same, of the same kind, and as unchangeable."""
    event = Event(EventKind.RECOVERY_CODES_LOW, "u", NOON, source="s", detail=detail)
    revived = pickle.loads(pickle.dumps(event))

    assert event == revived
    assert EventKind.RECOVERY_CODES_LOW is revived.kind
    assert isinstance(revived.detail, MappingProxyType)


def test_yesterdays_pickles_are_read() -> None:
    """P12: an event and a kind that the first version left in a queue are read as what they were."""
    event = Event(
        EventKind.RECOVERY_CODES_LOW,
        "user-42",
        NOON,
        source="192.0.2.1",
        detail={"remaining": 3, "reason": "x", "flag": True, "nothing": None},
    )

    assert event == pickle.loads(base64.b64decode(PICKLED_EVENT))
    assert EventKind.DISABLED is pickle.loads(base64.b64decode(PICKLED_KIND))


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("nonsense", ValueError, "there is no kind of event 'nonsense': EventKind has them all"),
        ("DISABLED", ValueError, "there is no kind of event 'DISABLED'"),
        ("n" * 100, ValueError, f"there is no kind of event '{'n' * 80}':"),
        (None, TypeError, "the kind of an event is an EventKind, not NoneType"),
        (20, TypeError, "the kind of an event is an EventKind, not int"),
    ],
)
def test_there_is_no_other_kind(kind: Any, error: type[Exception], message: str) -> None:
    """An event of a kind that does not exist cannot be made."""
    with pytest.raises(error, match=f"^{message}"):
        Event(kind, "u", NOON)


@pytest.mark.parametrize("kind", EventKind)
def test_a_kind_is_known_by_its_text(kind: EventKind) -> None:
    """A store that reads a kind as text need not look it up."""
    text: Any = str(kind)

    assert kind is Event(text, "u", NOON).kind


def test_an_event_of_a_newer_version_is_read() -> None:
    """P12: while servers are upgraded one by one, a pickle of a kind that is not known yet does not stop a queue."""
    event = Event(EventKind.RECOVERY_CODES_LOW, "u", NOON, source="s", detail={"remaining": 3})
    pickled = pickle.dumps(event, 0).replace(b"recovery_codes_low", b"abducted_by_aliens")

    expected = Event(EventKind.UNKNOWN, "u", NOON, source="s", detail={"remaining": 3, "kind": "abducted_by_aliens"})
    assert expected == pickle.loads(pickled)


def test_the_detail_cannot_be_changed() -> None:
    """Neither through the event nor through the mapping that it was made from."""
    given: dict[str, Any] = {"remaining": 3}
    event = Event(EventKind.RECOVERY_CODES_LOW, "u", NOON, detail=given)
    given["remaining"] = 10

    assert {"remaining": 3} == event.detail
    with pytest.raises(TypeError):
        event.detail["remaining"] = 10  # type: ignore[index]  # that it cannot be set is the point


# --- the log -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EventKind)
def test_what_may_be_an_attack_is_a_warning(kind: EventKind, caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record of the logger `twofa`: a warning where someone may be guessing, else for information."""
    event = Event(kind, "u", NOON, source="192.0.2.1", detail={"remaining": 3})
    with caplog.at_level(logging.INFO, "twofa"):
        log_event(event)

    [record] = caplog.records
    assert ("twofa", logging.WARNING if kind in ALARMING else logging.INFO) == (record.name, record.levelno)
    assert f"{kind.value} user='u' source='192.0.2.1' {{'remaining': 3}}" == record.getMessage()
    assert event == record.__dict__["twofa_event"]


def test_a_voucher_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """ASVS 5.0 6.4.4: what was done on the host's word stands out in the log, whatever it was."""
    with caplog.at_level(logging.INFO, "twofa"):
        log_event(Event(EventKind.DISABLED, "u", NOON, detail={"proof": "vouched", "by": "carol"}))
        log_event(Event(EventKind.DISABLED, "u", NOON, detail={"proof": "totp"}))

    assert [logging.WARNING, logging.INFO] == [record.levelno for record in caplog.records]


def test_a_log_that_is_off_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Below the logger's level nothing is recorded."""
    with caplog.at_level(logging.ERROR, "twofa"):
        log_event(Event(EventKind.CODE_ACCEPTED, "u", NOON))
        log_event(Event(EventKind.CODE_REJECTED, "u", NOON))

    assert [] == caplog.records


HOSTILE = "mallory\r\n2027-01-15 code_accepted user='alice'\x1b[2J\u2028\u202e\x00\ud800"


@pytest.mark.parametrize("field", ["user_id", "source", "detail"])
def test_no_line_can_be_forged(field: str, caplog: pytest.LogCaptureFixture) -> None:
    """ASVS 5.0 16.4.1: line breaks, terminal codes and marks of direction arrive escaped, on one line."""
    fields: dict[str, Any] = {"user_id": "u", "source": None, "detail": {}}
    fields[field] = {"reason": HOSTILE} if field == "detail" else HOSTILE
    with caplog.at_level(logging.INFO, "twofa"):
        log_event(Event(EventKind.DISABLED, at=NOON, **fields))
        try:
            raise RuntimeError("listener")
        except RuntimeError:
            log_listener_failure(Event(EventKind.DISABLED, at=NOON, **fields))

    for message in (record.getMessage() for record in caplog.records):
        assert message.isprintable()
        assert message.encode("utf-8")
        assert field == "source" or message.startswith(("disabled user=", "the listener failed on disabled"))


# --- which events each call leaves ---------------------------------------------------------------------------------


class Scene:
    """An enrolled user of a face that blocks early, and what may happen before the call that is looked at."""

    def __init__(self, kind: str) -> None:
        self.world = World(kind)
        self.world.face = self.world.new_face(Policy(recovery_code_length=24, throttle=Throttle(block_after=7)))
        self.phone, self.codes = self.world.enrol()
        self.face: Any = InAKnownBrowser(self.world.face, self.world.browser())
        self.setup: Setup | None = None

    def wait(self, seconds: int) -> Scene:
        self.world.clock.advance(seconds)
        return self

    def wrong(self, times: int) -> Scene:
        for _ in range(times):
            with pytest.raises(InvalidCode):
                self.face.verify(USER, self.phone.wrong_code())
        return self

    def wrong_recovery(self, times: int) -> Scene:
        for _ in range(times):
            with pytest.raises(InvalidCode):
                self.face.redeem_recovery_code(USER, "0" * 24)
        return self

    def spend(self, count: int) -> Scene:
        for code in self.codes[:count]:
            self.face.redeem_recovery_code(USER, code)
        return self

    def begin(self, *, wrong: int = 0) -> Scene:
        self.setup = self.world.begin(proof=CAROL)
        for _ in range(wrong):
            with pytest.raises(InvalidCode):
                self.confirm("wrong")
        return self

    def confirm(self, code: str = "right", handle: str | None = None) -> object:
        assert self.setup is not None
        phone = self.world.phone(self.setup)
        typed = {"right": phone.code(), "wrong": phone.wrong_code()}.get(code, code)
        return self.face.confirm_setup(USER, typed, handle=handle or self.setup.handle)

    def confirm_first(self, user_id: str) -> object:
        setup = self.world.begin(user_id)
        self.world.events.pop()
        return self.face.confirm_setup(user_id, self.world.phone(setup).code(), handle=setup.handle)

    def show(self) -> object:
        assert self.setup is not None
        return self.world.resume(self.setup)

    def reset_codes(self, proof: Proof) -> object:
        return self.face.reset_recovery_codes(USER, proof=proof)

    def reset_app(self) -> object:
        return self.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(self.phone.code()))

    def revoke_codes(self) -> object:
        face: Any = self.world.face
        later = self.world.clock.now + 1
        word = {"by": "ops:carol", "reason": "backup restored", "source": None}
        return face._carry_out(RevokeRecoveryCodes.prepare(face._settings, USER, before=later, **word))

    def strangers(self, times: int) -> Scene:
        for _ in range(times):
            with pytest.raises(InvalidCode):
                self.world.face.verify(USER, self.phone.wrong_code())
        return self

    def fail(self, how: str) -> Scene:
        def swap(_user_id: str, _change: Change) -> bool:
            if how == "no":
                return False
            raise ConnectionError("the database is gone")

        def load(_user_id: str) -> Stored | None:
            raise ConnectionError("the database is gone")

        store: Any = self.world.store
        store.swap = swap
        if how == "load":
            store.load = load
        return self

    def damage(self) -> Scene:
        stored = self.world.record()
        assert stored is not None
        assert self.world.store.swap(USER, Change(stored.version, Stored("f" * 32, stored.document[:-1])))
        return self


Act: TypeAlias = "Callable[[Scene], object]"


def _nothing(_scene: Scene) -> None:
    """Nothing happened before."""


BRANCHES: dict[str, tuple[list[str], Act, Act]] = {
    # what happens: the events that it leaves, what happened before, and the call that is looked at
    "right code": (["code_accepted"], _nothing, lambda s: s.face.verify(USER, s.phone.code())),
    "right code of an app that is ahead": (
        ["code_accepted"],
        _nothing,
        lambda s: s.face.verify(USER, s.phone.code(1)),
    ),
    "wrong code": (["code_rejected"], _nothing, lambda s: s.face.verify(USER, s.phone.wrong_code())),
    "malformed code": (["code_malformed"], _nothing, lambda s: s.face.verify(USER, "junk")),
    "reused code": (["code_reused"], lambda s: s.wait(-30), lambda s: s.face.verify(USER, s.phone.code())),
    "wait": (["throttled"], lambda s: s.wrong(5), lambda s: s.face.verify(USER, s.phone.code())),
    "last wrong code": (
        ["code_rejected", "authenticator_blocked"],
        lambda s: s.wrong(5).wait(30).wrong(1).wait(60),
        lambda s: s.face.verify(USER, s.phone.wrong_code()),
    ),
    "stranger": (["refused"], _nothing, lambda s: s.face.verify("nobody", "123456")),
    "damaged record": (["record_refused"], lambda s: s.damage(), lambda s: s.face.verify(USER, s.phone.code())),
    "damaged record, looked at": (["record_refused"], lambda s: s.damage(), lambda s: s.face.status(USER)),
    "damaged record, to reseal": (["record_refused"], lambda s: s.damage(), lambda s: s.face.reseal(USER)),
    "right recovery code": (
        ["recovery_code_used"],
        _nothing,
        lambda s: s.face.redeem_recovery_code(USER, s.codes[0]),
    ),
    "recovery code, three left": (
        ["recovery_code_used", "recovery_codes_low"],
        lambda s: s.spend(6),
        lambda s: s.face.redeem_recovery_code(USER, s.codes[6]),
    ),
    "recovery code, none left": (
        ["refused"],
        lambda s: s.spend(10),
        lambda s: s.face.redeem_recovery_code(USER, s.codes[0]),
    ),
    "wrong recovery code": (["code_rejected"], _nothing, lambda s: s.face.redeem_recovery_code(USER, "0" * 24)),
    "recovery code of no slot": (["code_rejected"], _nothing, lambda s: s.face.redeem_recovery_code(USER, "Z" * 24)),
    "malformed recovery code": (["code_malformed"], _nothing, lambda s: s.face.redeem_recovery_code(USER, "junk")),
    "reused recovery code": (
        ["code_reused"],
        lambda s: s.spend(1),
        lambda s: s.face.redeem_recovery_code(USER, s.codes[0]),
    ),
    "wait for a recovery code": (
        ["throttled"],
        lambda s: s.wrong_recovery(5),
        lambda s: s.face.redeem_recovery_code(USER, s.codes[0]),
    ),
    "last wrong recovery code": (
        ["recovery_codes_blocked", "code_rejected"],
        lambda s: s.wrong_recovery(5).wait(30).wrong_recovery(1).wait(60),
        lambda s: s.face.redeem_recovery_code(USER, "0" * 24),
    ),
    "begin": (["setup_begun"], _nothing, lambda s: s.world.begin("new")),
    "begin by code": (
        ["code_accepted", "setup_begun"],
        _nothing,
        lambda s: s.world.begin(proof=ByCode(s.phone.code())),
    ),
    "begin without proof": (["refused"], _nothing, lambda s: s.world.begin()),
    "begin, live handle": ([], lambda s: s.begin(), lambda s: s.show()),
    "confirm": (["authenticator_confirmed", "recovery_codes_issued"], lambda s: s.begin(), lambda s: s.confirm()),
    "confirm the first": (
        ["authenticator_confirmed", "recovery_codes_issued"],
        _nothing,
        lambda s: s.confirm_first("new"),
    ),
    "confirm, wrong code": (["setup_rejected"], lambda s: s.begin(), lambda s: s.confirm("wrong")),
    "confirm, tenth wrong code": (
        ["setup_rejected", "setup_cancelled"],
        lambda s: s.begin(wrong=9),
        lambda s: s.confirm("wrong"),
    ),
    "confirm, malformed code": (["code_malformed"], lambda s: s.begin(), lambda s: s.confirm("junk")),
    "confirm, too late": (["setup_expired"], lambda s: s.begin().wait(600), lambda s: s.confirm()),
    "confirm, wrong handle": (["refused"], lambda s: s.begin(), lambda s: s.confirm(handle="another session's")),
    "cancel": (["setup_cancelled"], lambda s: s.begin(), lambda s: s.face.cancel_setup(USER)),
    "cancel nothing": ([], _nothing, lambda s: s.face.cancel_setup(USER)),
    "new recovery codes": (
        ["code_accepted", "recovery_codes_issued"],
        _nothing,
        lambda s: s.reset_codes(ByCode(s.phone.code())),
    ),
    "new recovery codes by one of them": (
        ["recovery_code_used", "recovery_codes_issued"],
        _nothing,
        lambda s: s.reset_codes(ByRecoveryCode(s.codes[0])),
    ),
    "new recovery codes, vouched": (["recovery_codes_issued"], _nothing, lambda s: s.reset_codes(CAROL)),
    "new recovery codes, stale verification": (
        ["refused"],
        _nothing,
        lambda s: s.reset_codes(ByVerification("stale")),
    ),
    "reset": (["code_accepted", "authenticator_reset"], _nothing, lambda s: s.reset_app()),
    "reset without codes": (["refused"], lambda s: s.spend(10), lambda s: s.reset_app()),
    "disable": (
        ["code_accepted", "disabled"],
        _nothing,
        lambda s: s.face.disable(USER, proof=ByCode(s.phone.code())),
    ),
    "disable nothing": ([], _nothing, lambda s: s.face.disable("nobody", proof=CAROL)),
    "disable what is pending": (
        ["setup_cancelled"],
        lambda s: s.world.begin("new"),
        lambda s: s.face.disable("new", proof=CAROL),
    ),
    "twentieth wrong code of strangers": (
        ["code_rejected", "attack_suspected"],
        lambda s: s.strangers(2),
        lambda s: s.world.face.verify(USER, s.phone.wrong_code()),
    ),
    "strangers refused": (
        ["throttled"],
        lambda s: s.strangers(4),
        lambda s: s.world.face.verify(USER, s.phone.code()),
    ),
    "codes acknowledged": (
        ["recovery_codes_acknowledged"],
        lambda s: s.reset_codes(CAROL),
        lambda s: s.face.acknowledge_recovery_codes(USER),
    ),
    "codes acknowledged again": ([], _nothing, lambda s: s.face.acknowledge_recovery_codes(USER)),
    "password changed": (["password_changed"], _nothing, lambda s: s.face.password_changed(USER)),
    "sessions ended": (["sessions_ended"], _nothing, lambda s: s.face.end_sessions("nobody")),
    "a store that is down": (["store_failed"], lambda s: s.fail("load"), lambda s: s.face.status(USER)),
    "a swap that fails": (
        ["outcome_unknown"],
        lambda s: s.fail("swap"),
        lambda s: s.face.verify(USER, s.phone.code()),
    ),
    "a record that keeps changing": (
        ["store_contention"],
        lambda s: s.fail("no"),
        lambda s: s.face.verify(USER, s.phone.code()),
    ),
    "imported": (
        ["authenticator_imported"],
        _nothing,
        lambda s: s.face.import_authenticator("new", bytes(range(20)), by="ops", reason="moved"),
    ),
    "imported again": (
        ["refused"],
        _nothing,
        lambda s: s.face.import_authenticator(USER, bytes(range(20)), by="ops", reason="moved"),
    ),
    "exported": (
        ["authenticator_exported"],
        _nothing,
        lambda s: s.face.export_authenticator(USER, account_name=ACCOUNT, by="ops", reason="moving"),
    ),
    "revoked by the operator": (
        ["recovery_codes_revoked"],
        _nothing,
        lambda s: s.revoke_codes(),
    ),
    "forget": (["forgotten"], _nothing, lambda s: s.face.forget(USER, proof=CAROL)),
    "status": ([], _nothing, lambda s: s.face.status(USER)),
    "reseal": ([], _nothing, lambda s: s.face.reseal(USER)),
}


def _asked(operation: str, reason: str) -> dict[str, Any]:
    return {"operation": operation, "reason": reason}


def _wrong(operation: str, method: str, failures: int, reason: str = "invalid_code") -> dict[str, Any]:
    return {"operation": operation, "method": method, "reason": reason, "failures": failures, "retry_at": None}


BY_CAROL = {"proof": "vouched", "by": CAROL.by, "reason": CAROL.reason}

DETAILS: dict[str, list[dict[str, Any]]] = {
    # the whole detail of each event; `retry_at` in seconds from now
    "right code": [{"operation": "verify", "step_offset": 0}],
    "right code of an app that is ahead": [{"operation": "verify", "step_offset": 1}],
    "wrong code": [_wrong("verify", "totp", 1)],
    "malformed code": [_asked("verify", "malformed_code")],
    "reused code": [_asked("verify", "code_reused")],
    "wait": [{"operation": "verify", "retry_at": 30}],
    "last wrong code": [_wrong("verify", "totp", 7), {}],
    "stranger": [_asked("verify", "not_enrolled")],
    "damaged record": [_asked("verify", "record_damaged")],
    "damaged record, looked at": [_asked("status", "record_damaged")],
    "damaged record, to reseal": [_asked("reseal", "record_damaged")],
    "right recovery code": [{"operation": "redeem_recovery_code", "remaining": 9}],
    "recovery code, three left": [{"operation": "redeem_recovery_code", "remaining": 3}, {"remaining": 3}],
    "recovery code, none left": [_asked("redeem_recovery_code", "recovery_codes_exhausted")],
    "wrong recovery code": [_wrong("redeem_recovery_code", "recovery_code", 1)],
    "recovery code of no slot": [_wrong("redeem_recovery_code", "recovery_code", 1)],
    "malformed recovery code": [_asked("redeem_recovery_code", "malformed_code")],
    "reused recovery code": [_wrong("redeem_recovery_code", "recovery_code", 1, "code_reused")],
    "wait for a recovery code": [{"operation": "redeem_recovery_code", "retry_at": 30}],
    "last wrong recovery code": [{}, _wrong("redeem_recovery_code", "recovery_code", 7)],
    "begin": [{"replaces": False}],
    "begin by code": [{"operation": "begin_setup", "step_offset": 0}, {"replaces": True, "proof": "totp"}],
    "begin without proof": [_asked("begin_setup", "proof_required")],
    "confirm": [{"replaced": True}, {"count": 10}],
    "confirm the first": [{"replaced": False}, {"count": 10}],
    "confirm, wrong code": [{"reason": "invalid_code", "failures": 1}],
    "confirm, tenth wrong code": [{"reason": "invalid_code", "failures": 10}, {"reason": "wrong_codes"}],
    "confirm, malformed code": [_asked("confirm_setup", "malformed_code")],
    "confirm, too late": [_asked("confirm_setup", "setup_expired")],
    "confirm, wrong handle": [_asked("confirm_setup", "no_setup")],
    "cancel": [{"reason": "asked"}],
    "new recovery codes": [
        {"operation": "reset_recovery_codes", "step_offset": 0},
        {"count": 10, "proof": "totp"},
    ],
    "new recovery codes by one of them": [
        {"operation": "reset_recovery_codes", "remaining": 9},
        {"count": 10, "proof": "recovery_code"},
    ],
    "new recovery codes, vouched": [{"count": 10, **BY_CAROL}],
    "new recovery codes, stale verification": [_asked("reset_recovery_codes", "proof_required")],
    "reset": [{"operation": "reset_authenticator", "step_offset": 0}, {"proof": "totp"}],
    "reset without codes": [_asked("reset_authenticator", "recovery_codes_exhausted")],
    "disable": [{"operation": "disable", "step_offset": 0}, {"proof": "totp"}],
    "disable what is pending": [{"reason": "disabled"}],
    "twentieth wrong code of strangers": [_wrong("verify", "totp", 3), {"method": "totp", "failures": 3}],
    "strangers refused": [{"operation": "verify", "retry_at": 30 * 86_400}],
    "codes acknowledged": [{}],
    "password changed": [{}],
    "sessions ended": [{}],
    "a store that is down": [_asked("status", "ConnectionError")],
    "a swap that fails": [_asked("verify", "ConnectionError")],
    "a record that keeps changing": [{"operation": "verify"}],
    "imported": [
        {"recovery_codes": 0, "short_secret": False, "proof": "vouched", "by": "ops", "reason": "moved"},
    ],
    "imported again": [_asked("import_authenticator", "already_enrolled")],
    "exported": [{"proof": "vouched", "by": "ops", "reason": "moving"}],
    "revoked by the operator": [{"count": 10, "proof": "vouched", "by": "ops:carol", "reason": "backup restored"}],
    "forget": [BY_CAROL],
}


def _detail(event: Event) -> dict[str, Any]:
    """Return the detail of an event, with the end of a wait in seconds from then."""
    detail = dict(event.detail)
    if detail.get("retry_at") is not None:
        detail["retry_at"] -= int(event.at.timestamp())
    return detail


@pytest.mark.parametrize("kind", ["blocking", "awaiting"])
@pytest.mark.parametrize("branch", BRANCHES)
def test_every_branch_leaves_its_events(branch: str, kind: str) -> None:
    """Each call tells its listener of exactly what happened: once, for its user, at its time, in every detail."""
    expected, happen, call = BRANCHES[branch]
    scene = Scene(kind)
    happen(scene)
    before, reason = len(scene.world.events), ""
    try:
        call(scene)
    except (TwoFactorError, ConnectionError) as refusal:
        reason = getattr(refusal, "code", "")
    events = scene.world.events[before:]

    assert expected == [str(event.kind) for event in events]
    assert DETAILS.get(branch, []) == [_detail(event) for event in events]
    assert all(scene.world.clock.now == event.at.timestamp() for event in events)
    assert all(event.user_id in {USER, "new", "nobody"} for event in events)
    if expected == ["refused"]:
        assert reason == events[0].detail["reason"]


@pytest.mark.parametrize("proof", ["totp", "recovery_code", "verification", "vouched"])
@pytest.mark.parametrize(
    "operation", ["begin_setup", "reset_recovery_codes", "reset_authenticator", "disable", "forget"]
)
def test_every_change_records_its_proof(operation: str, proof: str) -> None:
    """P9: the event of each change says what proved that the owner was asking, or whose word it was, and no more."""
    scene = Scene("blocking")
    given: dict[str, Any] = {
        "totp": lambda: ByCode(scene.phone.code()),
        "recovery_code": lambda: ByRecoveryCode(scene.codes[0]),
        "verification": lambda: ByVerification(scene.world.login(scene.phone).token),
        "vouched": lambda: CAROL,
    }
    more = {"begin_setup": {"replaces": True}, "reset_recovery_codes": {"count": 10}}.get(operation, {})
    label = {"account_name": ACCOUNT} if operation in {"begin_setup", "reset_authenticator"} else {}

    getattr(scene.face, operation)(USER, proof=given[proof](), **label)

    recorded = BY_CAROL if proof == "vouched" else {"proof": proof}
    assert {**recorded, **more} == scene.world.events[-1].detail


@pytest.mark.parametrize("left", ["app", "recovery codes"])
def test_a_counted_attempt_is_recorded_in_every_detail(left: str) -> None:
    """What goes into the audit trail before slow work names the operation, the kind of code, and the failures."""
    scene = Scene("blocking").wrong(2)
    proof = ByCode(scene.phone.code()) if left == "app" else ByRecoveryCode(scene.codes[0])
    scene.reset_codes(proof)

    [counted] = [event for event in scene.world.store.events(USER) if event.kind is EventKind.ATTEMPT_COUNTED]
    method, failures = ("totp", 3) if left == "app" else ("recovery_code", 1)
    assert {"operation": "reset_recovery_codes", "method": method, "failures": failures} == counted.detail


def test_the_branches_cover_every_kind() -> None:
    """Every kind of event is left by some branch, but for two.

    One stands for kinds of newer versions. The other is for the audit trail alone: see below.
    """
    told = {kind for expected, _, _ in BRANCHES.values() for kind in expected}
    assert set(EventKind) - {EventKind.UNKNOWN, EventKind.ATTEMPT_COUNTED} == told


@pytest.mark.parametrize(
    ("source", "kept"), [(None, None), ("192.0.2.1", "192.0.2.1"), ("x" * 300, "x" * 256), ("a\0b", "a\ufffdb")]
)
def test_the_source_is_recorded(source: str | None, kept: str | None) -> None:
    """What the host says of a request's origin is on its event, cut at 256 characters and free of NUL."""
    world = World("blocking")
    world.begin(source=source)

    assert kept == world.events[-1].source


def test_a_voucher_is_on_the_event() -> None:
    """Who vouched and why is on record with what it allowed."""
    world = World("blocking")
    world.enrol()
    world.face.disable(USER, proof=CAROL)

    assert {"proof": "vouched", "by": CAROL.by, "reason": CAROL.reason} == world.events[-1].detail


def test_an_unreadable_record_is_told_of() -> None:
    """A record under a missing key is an event worth an alarm, with the error's code and no trace of the record."""
    world = World("blocking", policy=FAST)
    world.enrol()
    stranger = world.new_face(keys=KeyRing(KeyRing.generate_key()))
    with pytest.raises(TwoFactorError) as refusal:
        stranger.verify(USER, "123456")

    assert "unknown_key" == refusal.value.code
    assert {"operation": "verify", "reason": "unknown_key"} == world.events[-1].detail


# --- what the audit trail has ----------------------------------------------------------------------------------------


def _trail(store: Any) -> list[str]:
    return [str(event.kind) for event in store.events(USER)]


def test_a_counted_attempt_is_on_record_before_it_is_looked_at() -> None:
    """P2: the write that counts a slow attempt carries its event; the listener hears of the outcome alone."""
    store = MemoryStore()
    world = World("blocking", store=store)
    world.enrol()
    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, "0" * 24)

    assert ["attempt_counted", "code_rejected"] == _trail(store)[-2:]
    assert ["code_rejected"] == world.kinds()[-1:]
    detail = {"operation": "redeem_recovery_code", "method": "recovery_code", "failures": 1}
    assert detail == store.events(USER)[-2].detail


def test_an_attempt_whose_caller_goes_away_blocks_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that leaves during each hash uses up the attempts, leaves an event for each, and blocks the set."""
    store = MemoryStore()
    world = World("blocking", store=store, policy=replace(FAST, throttle=Throttle(block_after=7)))
    _, codes = world.enrol()
    browser = world.browser()

    def gone(_job: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("twofa._engine.hashing.Job.run", gone)
        for _ in range(7):
            until = world.face.status(USER, browser=browser).recovery_retry_at
            world.clock.now = int(until.timestamp()) if until else world.clock.now
            with pytest.raises(KeyboardInterrupt):
                world.face.redeem_recovery_code(USER, codes[0], browser=browser)

    assert 0 == world.face.status(USER).recovery_codes_remaining
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[0], browser=browser)
    assert [*["attempt_counted"] * 7, "recovery_codes_blocked"] == _trail(store)[-8:]


def test_the_hundredth_attempt_that_is_right_lets_the_owner_in() -> None:
    """The last attempt before the block is looked at, and a right code takes its count back."""
    world = World("blocking", policy=replace(FAST, throttle=Throttle(block_after=3)))
    _, codes = world.enrol()
    browser = world.browser()
    for _ in range(2):
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "0" * 24, browser=browser)

    assert 9 == world.face.redeem_recovery_code(USER, codes[1], browser=browser).recovery_codes_remaining
    assert 8 == world.face.redeem_recovery_code(USER, codes[2], browser=browser).recovery_codes_remaining


def test_events_are_read_newest_first(world: World) -> None:
    """A page shows the latest ones, from the store's own audit trail."""
    phone, _ = world.enrol()
    world.login(phone)

    events = world.face.events(USER, limit=2)

    assert ["code_accepted", "recovery_codes_acknowledged"] == [str(event.kind) for event in events]
    assert 5 == len(world.face.events(USER))
    assert () == world.face.events(USER, limit=0) == world.face.events("nobody")


def test_a_store_without_a_trail_says_so() -> None:
    """`events` needs a store that keeps them."""

    class Bare:
        load = swap = staticmethod(lambda *_arguments: None)

    face = World("blocking", store=Bare()).face  # type: ignore[arg-type]  # no trail is the point
    with pytest.raises(TypeError, match="keeps no audit trail"):
        face.events(USER)


# --- the page on events --------------------------------------------------------------------------------------------


def _documented() -> dict[str, tuple[str, str, set[str]]]:
    """Return what docs/events.md says of each kind: its name in OWASP's vocabulary, its level, the names in its detail."""
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\w ]+) \|([^|]*)\|[^|]+\|$", page, re.MULTILINE)
    return {kind: (owasp, level, set(re.findall(r"`(\w+)`", names))) for kind, owasp, level, names in rows}


def test_the_page_on_events_has_every_kind() -> None:
    """Each kind has a row in docs/events.md, with its name in OWASP's vocabulary and the level of its log line."""
    levels = {True: "warning", False: "info"}
    told = {str(kind): (kind.owasp, levels[kind in ALARMING]) for kind in EventKind}
    told["attempt_counted"] = (EventKind.ATTEMPT_COUNTED.owasp, "not logged")

    assert told == {kind: (owasp, level) for kind, (owasp, level, _) in _documented().items()}


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_page_on_events_names_every_detail(branch: str) -> None:
    """Whatever a call leaves in an event's detail is named in the row of its kind."""
    documented = _documented()
    _, happen, call = BRANCHES[branch]
    scene = Scene("blocking")
    happen(scene)
    before = len(scene.world.events)
    with contextlib.suppress(TwoFactorError, ConnectionError):
        call(scene)

    for event in scene.world.events[before:]:
        assert set(event.detail) <= documented[event.kind][2], event
