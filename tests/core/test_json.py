"""What a client may see: values and errors as JSON, with the status and the headers of an HTTP answer."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import flask
import pytest
from django.template import Context, Engine
from jinja2 import Environment
from markupsafe import Markup, escape
from pages import ROOT
from support import KEY, USER, World

from twofa import ByCode, Event, EventKind, KeyRing, errors, qr
from twofa._hidden import Hidden
from twofa.errors import (
    AlreadyEnrolled,
    CodeRequired,
    CodeReused,
    CrossSiteRequest,
    InvalidCode,
    InvalidKey,
    InvalidKeyUri,
    InvalidSecret,
    MalformedCode,
    NoSetup,
    NotEnrolled,
    OutcomeUnknown,
    PolicyError,
    ProofRequired,
    RecordDamaged,
    RecordError,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SetupExpired,
    SignInRequired,
    StoreContention,
    Throttled,
    TwoFactorError,
    UnknownKey,
    UnsupportedRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2027, 1, 15, 12, 0, 30, tzinfo=UTC)


def _through_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return what a client reads; what JSON cannot carry as it is comes back as something else, or raises."""
    read: dict[str, Any] = json.loads(json.dumps(value))
    return read


# --- values --------------------------------------------------------------------------------------------------------


def test_a_status_as_json(world: World) -> None:
    """Every field under its own name, times as RFC 3339 text, `None` as null."""
    phone, _ = world.enrol()
    with pytest.raises(InvalidCode):
        world.face.verify(USER, phone.wrong_code())
    status = world.face.status(USER)
    told = status.to_dict()

    assert told == _through_json(told)
    assert [field.name for field in fields(status)] == list(told)
    assert {"required": True, "state": "active", "recovery_codes_remaining": 10, "failures": 1}.items() <= told.items()
    assert {"algorithm": "SHA1", "digits": 6, "period": 30, "retry_at": None}.items() <= told.items()
    assert told["confirmed_at"].endswith("Z")
    assert status.confirmed_at == datetime.fromisoformat(told["confirmed_at"])
    assert status.generation == told["generation"]


def test_a_status_of_nobody_as_json(world: World) -> None:
    """Someone who never enrolled has the same fields."""
    world.enrol()

    nobody = world.face.status("nobody").to_dict()

    assert nobody == _through_json(nobody)
    assert world.face.status(USER).to_dict().keys() == nobody.keys()
    assert {"required": False, "state": "none", "confirmed_at": None}.items() <= nobody.items()


def test_a_verification_as_json(world: World) -> None:
    """Every field but the token, which belongs into the session."""
    phone, codes = world.enrol()
    for verification in (world.login(phone), world.face.redeem_recovery_code(USER, codes[0])):
        told = verification.to_dict()

        assert told == _through_json(told)
        assert {field.name for field in fields(verification)} - {"_token"} == told.keys()
        assert (USER, verification.method) == (told["user_id"], told["method"])
        assert verification.at == datetime.fromisoformat(told["at"])
        assert verification.token not in json.dumps(told)


def test_a_setup_as_json(world: World) -> None:
    """What the user is to scan or to type in, and until when, but not the handle."""
    setup = world.begin()
    told = setup.to_dict()

    assert told == _through_json(told)
    assert {"uri", "manual_key", "expires_at", "generation"} == told.keys()
    assert (setup.uri, setup.manual_key, setup.generation) == (told["uri"], told["manual_key"], told["generation"])
    assert setup.expires_at == datetime.fromisoformat(told["expires_at"])
    assert setup.handle not in json.dumps(told)


def test_recovery_codes_as_json(world: World) -> None:
    """They are a sequence of strings, so that `list` is what JSON takes."""
    _, codes = world.enrol()

    assert list(codes) == json.loads(json.dumps(list(codes)))


def test_an_event_as_json() -> None:
    """Every field, the kind as text and the detail as an object."""
    event = Event(EventKind.THROTTLED, USER, NOON, source="192.0.2.1", detail={"retry_at": 1_800_000_030, "x": None})
    told = event.to_dict()

    assert told == _through_json(told)
    assert {
        "kind": "throttled",
        "user_id": USER,
        "at": "2027-01-15T12:00:30Z",
        "source": "192.0.2.1",
        "detail": {"retry_at": 1_800_000_030, "x": None},
    } == told
    assert str is type(told["kind"])


def test_every_event_as_json(world: World) -> None:
    """Whatever happens can be told as JSON."""
    phone, codes = world.enrol()
    with pytest.raises(MalformedCode):
        world.face.verify(USER, "")
    world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))

    assert len(codes) == 10
    assert len(world.events) >= 6
    for event in world.events:
        assert event.to_dict() == _through_json(event.to_dict())


@pytest.mark.parametrize("hours", [-5, 0, 5.5])
def test_times_are_told_in_utc(hours: float) -> None:
    """A time of another zone, from a host's own store, is told as the same instant in UTC."""
    at = NOON.astimezone(timezone(timedelta(hours=hours)))

    assert "2027-01-15T12:00:30Z" == Event(EventKind.DISABLED, USER, at).to_dict()["at"]
    assert {"Retry-After": "Fri, 15 Jan 2027 12:00:30 GMT"} == Throttled(at).http_headers


def test_no_hidden_field_is_told(world: World) -> None:
    """P11: of what a value hides, only a set-up tells anything: what its user is to scan or to type."""
    phone, codes = world.enrol()
    for value in (world.login(phone), world.face.status(USER)):
        hidden = [getattr(value, field.name) for field in fields(value)]
        secrets = [each.value for each in hidden if isinstance(each, Hidden)]
        assert not any(secret in json.dumps(value.to_dict()) for secret in secrets)
    assert not hasattr(codes, "to_dict")


# --- errors --------------------------------------------------------------------------------------------------------

STATUSES: dict[type[TwoFactorError], int] = {
    TwoFactorError: 500,
    InvalidCode: 422,
    MalformedCode: 422,
    CodeReused: 422,
    Throttled: 429,
    AlreadyEnrolled: 409,
    NotEnrolled: 409,
    ReenrolmentRequired: 409,
    NoSetup: 410,
    SetupExpired: 410,
    RecoveryCodesExhausted: 409,
    ProofRequired: 403,
    SignInRequired: 401,
    CodeRequired: 401,
    CrossSiteRequest: 403,
    RecordError: 503,
    RecordDamaged: 503,
    UnknownKey: 503,
    UnsupportedRecord: 503,
    StoreContention: 503,
    OutcomeUnknown: 503,
    InvalidKeyUri: 422,
    InvalidSecret: 422,
    InvalidKey: 500,
    PolicyError: 500,
}


def _made(kind: type[TwoFactorError]) -> TwoFactorError:
    makes: dict[type[TwoFactorError], Callable[[], TwoFactorError]] = {
        Throttled: lambda: Throttled(NOON),
        UnknownKey: lambda: UnknownKey("AbCd_-12"),
    }
    return makes.get(kind, kind)()


def test_every_error_has_a_status() -> None:
    """The table above has all of them, as the page on JSON has."""
    assert {getattr(errors, name) for name in errors.__all__} == STATUSES.keys()
    assert STATUSES == {kind: kind.http_status for kind in STATUSES}


def test_the_page_on_json_has_every_error() -> None:
    """The table in the documentation names each error that can be raised, with its status."""
    page = (ROOT / "docs" / "json-and-http.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{3}) \| ([a-z_`, ]+) \|", page, re.MULTILINE)
    said = {code: int(status) for status, codes in rows for code in re.findall("[a-z_]+", codes)}

    bases = {TwoFactorError, RecordError}  # which are caught, never raised
    assert {kind.code: status for kind, status in STATUSES.items() if kind not in bases} == said


@pytest.mark.parametrize("kind", STATUSES)
def test_every_error_as_json(kind: type[TwoFactorError]) -> None:
    """The same for all: a code for programs, a message for people, and when to try again; more for a sign-in."""
    error = _made(kind)
    told = error.to_dict()

    more = {SignInRequired: ["reason"], CodeRequired: ["reason", "recovery_only"]}.get(kind, [])
    assert ["code", "message", "retry_at", *more] == list(told)
    assert told == _through_json(told)
    assert kind.code == told["code"]
    assert ("2027-01-15T12:00:30Z" if kind is Throttled else None) == told["retry_at"]
    assert len(told["message"]) >= 12


@pytest.mark.parametrize("kind", STATUSES)
def test_no_client_is_told_what_to_call(kind: type[TwoFactorError]) -> None:
    """A message for people names no method, parameter or key, and has no instruction for whoever runs the site."""
    message = _made(kind).to_dict()["message"] or ""

    assert not any(sign in message for sign in ("_", "()", "=", "`", "AbCd", "backup", "by hand", "ring", "namespace"))


@pytest.mark.parametrize("kind", [RecordError, RecordDamaged, UnsupportedRecord, InvalidKey, PolicyError])
def test_what_is_inside_is_not_told(kind: type[TwoFactorError]) -> None:
    """What an error says to developers about records, keys and settings stays in the log."""
    error = kind("the stored record has schema 9, sealed with key AbCd_-12")

    assert "schema 9" in str(error)
    assert "schema" not in json.dumps(error.to_dict())


@pytest.mark.parametrize("recovery_only", [False, True])
def test_a_page_is_told_which_code_is_owed(recovery_only: bool) -> None:
    """A page that is drawn in the browser can label its field by this."""
    told = CodeRequired(recovery_only).to_dict()

    assert ("code_owed", recovery_only) == (told["reason"], told["recovery_only"])
    assert "ended" == SignInRequired("ended").to_dict()["reason"]


@pytest.mark.parametrize("kind", [InvalidCode, MalformedCode, CodeReused])
def test_a_wrong_code_may_say_when_to_try_again(kind: type[InvalidCode]) -> None:
    """Where a wrong code starts a wait, its end is in the answer's body and headers, otherwise in neither."""
    assert "2027-01-15T12:00:30Z" == kind(NOON).to_dict()["retry_at"]
    assert {"Retry-After": "Fri, 15 Jan 2027 12:00:30 GMT"} == kind(NOON).http_headers
    assert kind().to_dict()["retry_at"] is None
    assert {} == kind().http_headers == NotEnrolled().http_headers


def test_retry_after_is_a_date_that_others_read() -> None:
    """The standard library reads the header back as the same instant, whatever the language of the machine is."""
    assert NOON == parsedate_to_datetime(Throttled(NOON).http_headers["Retry-After"])


@pytest.mark.parametrize("kind", [InvalidCode, MalformedCode])
def test_a_setup_speaks_of_the_new_entry_only(kind: type[InvalidCode]) -> None:
    """The message for a wrong code in a set-up does not speak of recovery codes, even after a pickle."""
    for error in (kind(in_setup=True), pickle.loads(pickle.dumps(kind(in_setup=True)))):
        assert "recovery" not in str(error)
        assert str(error) == error.to_dict()["message"]
    assert "recovery" in str(kind())


@pytest.mark.parametrize("code", ["000000", "no code"])
def test_a_wrong_code_in_a_setup_speaks_of_no_recovery_code(world: World, code: str) -> None:
    """Through the face too: nobody who sets up an app has recovery codes yet."""
    setup = world.begin()

    with pytest.raises(InvalidCode) as refusal:
        world.face.confirm_setup(USER, code, handle=setup.handle)
    assert "recovery" not in str(refusal.value)


# --- the QR code in a page -----------------------------------------------------------------------------------------


def test_a_template_takes_the_picture_as_it_is(world: World) -> None:
    """Jinja with autoescape, MarkupSafe, Flask's and Django's templates put the element into a page without a filter."""
    setup = world.begin()
    svg = setup.qr_svg()
    page = Environment(autoescape=True).from_string("<p>{{ setup.qr_svg() }}</p>").render(setup=setup)

    assert f"<p>{svg}</p>" == page
    assert Markup(svg) == escape(svg)
    with flask.Flask("host").app_context():
        assert svg == flask.render_template_string("{{ svg }}", svg=svg)
    assert f"<p>{svg}</p>" == Engine().from_string("<p>{{ setup.qr_svg }}</p>").render(Context({"setup": setup}))


def test_a_title_stays_escaped_in_a_template() -> None:
    """The title was escaped when the picture was made, so a template may take the element as it is."""
    svg = qr.svg("otpauth://totp/x", title="<script>alert(1)</script>")

    assert "<script>" not in escape(svg)
    assert "&lt;script&gt;" in escape(svg)


def test_the_picture_is_text() -> None:
    """It is a string that JSON and files take, and `__html__` gives a plain one."""
    svg = qr.svg("otpauth://totp/x")

    assert isinstance(svg, str)
    assert str is type(svg.__html__())
    assert svg == svg.__html__() == json.loads(json.dumps(svg))


def test_a_broken_store_is_told_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a driver said, an address or a statement, is in the traceback and not in the answer."""
    world = World("blocking", keys=KeyRing(KEY))
    phone, _ = world.enrol()

    def swap(*_: object) -> bool:
        raise ConnectionError("could not connect to db.internal:5432 as twofa")

    monkeypatch.setattr(world.store, "swap", swap)
    with pytest.raises(OutcomeUnknown) as failure:
        world.face.verify(USER, phone.code())

    assert "db.internal" in str(failure.value.__cause__)
    assert "db.internal" not in json.dumps(failure.value.to_dict()) + str(failure.value)
