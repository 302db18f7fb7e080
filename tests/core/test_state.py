"""What is remembered of a user: written down and read back, erased when it expires, refused when it is not ours."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaks import frames, shown

from twofa import TOTP
from twofa._record.document import SCHEMA, dump, load
from twofa._record.state import (
    VERIFICATION_LIFETIME,
    Authenticator,
    EnrolledTOTP,
    FreshVerification,
    Pending,
    Record,
    RecoverySet,
    State,
)
from twofa._record.throttle import Failures, Lane
from twofa.errors import RecordDamaged, RecordError, UnsupportedRecord

NOW = 1_800_000_000
CANARY = "Q0FOQVJZN0tRWE00VFpOOA=="
TOTP_ENROLLED = EnrolledTOTP(secret=CANARY, algorithm="SHA1", digits=6, period=30)
PENDING = Pending(totp=TOTP_ENROLLED, handle="handle", expires_at=NOW + 600, wrong_codes=2)
FAILED = Failures(
    consecutive=3,
    known=Lane(in_a_row=1, last=NOW, recent=(NOW,)),
    strangers=Lane(in_a_row=2, last=NOW, recent=(NOW - 9, NOW)),
    block_after=100,
    since_grant=1,
    grants=(NOW - 99,),
    suspected_at=NOW,
)
DEVICE = Authenticator(totp=TOTP_ENROLLED, confirmed_at=NOW, last_step=NOW // 30, last_used_at=NOW, failures=FAILED)
CODES = RecoverySet(
    scheme="argon2id:19456:2",
    length=16,
    slots="012",
    hashes=CANARY,
    issued_at=NOW,
    spent=((1, NOW),),
    failures=FAILED,
    acknowledged=True,
)
FULL = State(
    generation="generation",
    pending=PENDING,
    authenticator=DEVICE,
    recovery=CODES,
    verification=FreshVerification(token="token", at=NOW),
)

times = st.integers(0, 2**40)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=44)
enrolled = st.builds(
    lambda secret, algorithm, digits, period: EnrolledTOTP.of(
        TOTP(secret, algorithm=algorithm, digits=digits, period=period)
    ),
    st.binary(min_size=16, max_size=64),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    st.integers(6, 8),
    st.integers(15, 120),
)
lanes = st.builds(
    Lane,
    in_a_row=st.integers(0, 100),
    last=times,
    recent=st.lists(times, max_size=100, unique=True).map(lambda each: tuple(sorted(each))),
)
failures = st.builds(
    Failures,
    consecutive=st.integers(0, 100),
    known=lanes,
    strangers=lanes,
    block_after=st.integers(0, 100),
    since_grant=st.integers(0, 9),
    grants=st.lists(times, max_size=2).map(tuple),
    suspected_at=times,
)
states = st.builds(
    State,
    generation=st.none() | words,
    pending=st.none()
    | st.builds(Pending, totp=st.none() | enrolled, handle=words, expires_at=times, wrong_codes=st.integers(0, 10)),
    authenticator=st.none()
    | st.builds(
        Authenticator, totp=enrolled, confirmed_at=times, last_step=times, last_used_at=times, failures=failures
    ),
    recovery=st.none()
    | st.builds(
        RecoverySet,
        scheme=st.sampled_from(["argon2id:19456:2", "scrypt:131072:8:1", "sha256"]),
        length=st.integers(14, 32),
        slots=st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", max_size=32),
        hashes=words,
        issued_at=times,
        spent=st.lists(st.tuples(st.integers(0, 31), times), max_size=32).map(tuple),
        failures=failures,
        acknowledged=st.booleans(),
    ),
    verification=st.none() | st.builds(FreshVerification, token=words, at=times),
)


# --- writing and reading -------------------------------------------------------------------------------------------


@given(states, st.lists(words, max_size=4).map(tuple))
def test_every_state_comes_back(state: State, versions: tuple[str, ...]) -> None:
    """Whatever is remembered is read back as it was written, to the type of each part."""
    record = Record(state=state, versions=versions)
    read = load(dump(record))

    assert record == read
    assert repr(_types(record)) == repr(_types(read))


def _types(value: Any) -> Any:
    if is_dataclass(value):
        return type(value), [_types(getattr(value, field.name)) for field in fields(value)]
    return (type(value), [_types(part) for part in value]) if isinstance(value, tuple) else type(value)


def test_only_the_latest_versions_are_remembered() -> None:
    """Of a long line of versions the four latest are kept, so that a record does not grow."""
    assert ("e", "d", "c", "b") == load(dump(Record(state=State(), versions=("e", "d", "c", "b", "a")))).versions


def test_a_document_is_json_with_a_schema() -> None:
    """What is sealed is JSON in ASCII that names its schema."""
    document = dump(Record(state=FULL))

    assert document.isascii()
    assert SCHEMA == json.loads(document)["schema"]


@pytest.mark.parametrize("schema", [3, 4, 10**9])
def test_a_newer_schema_is_refused_by_its_number(schema: int) -> None:
    """A record of a newer version is refused with its schema, what is read here, and what to do."""
    with pytest.raises(UnsupportedRecord, match=f"has schema {schema}, and this version .* up to {SCHEMA}: upgrade"):
        load(json.dumps({"schema": schema, "whatever": "comes"}).encode())


@pytest.mark.parametrize("schema", [0, -1, None, True, "1", 1.5, [1], {}])
def test_a_schema_that_never_was_is_refused(schema: object) -> None:
    """A schema older than the first, or none at all, is refused with a message of its own."""
    with pytest.raises(UnsupportedRecord, match="a schema that no version of twofa wrote: restore a backup"):
        load(json.dumps({"schema": schema}).encode())


def _broken() -> dict[str, bytes]:
    content = json.loads(dump(Record(state=FULL, versions=("v",))))
    broken = {
        "empty": b"",
        "no JSON": b"{",
        "cut short": dump(Record(state=FULL))[:-1],
        "no UTF-8": b'{"schema":1,"state":"\xff"}',
        "a list": b"[1]",
        "a number": b"1",
        "null": b"null",
        "no schema": b"{}",
    }
    for name in sorted(content.keys() - {"schema"}):
        broken[f"no {name}"] = json.dumps({key: value for key, value in content.items() if key != name}).encode()
        broken[f"{name} is null"] = json.dumps(content | {name: None}).encode()
        broken[f"{name} is a number"] = json.dumps(content | {name: 5}).encode()
    for place, part in enumerate(content["state"]):
        before, after = content["state"][:place], content["state"][place + 1 :]
        broken[f"part {place} is missing"] = json.dumps(content | {"state": before + after}).encode()
        if 1 <= place <= 4:
            broken[f"part {place} is a number"] = json.dumps(content | {"state": [*before, 5, *after]}).encode()
        if 1 <= place <= 4:
            broken[f"part {place} is too short"] = json.dumps(
                content | {"state": [*before, part[:-1], *after]}
            ).encode()
    return broken


@pytest.mark.parametrize("name", _broken())
def test_a_document_that_nobody_wrote_is_damaged(name: str) -> None:
    """P3: whatever is missing or of another form is refused, and never read as an empty state."""
    with pytest.raises(RecordDamaged) as refusal:
        load(_broken()[name])

    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    "document", [dump(Record(state=FULL))[:-1], dump(Record(state=FULL)).replace(b'"schema":2', b'"schema":3')]
)
def test_a_refused_document_is_in_no_local_variable(document: bytes) -> None:
    """P11: no frame of the refusal's traceback shows the document or its secret."""
    assert CANARY.encode() in document
    with pytest.raises(RecordError) as refusal:
        load(document)

    assert frames(refusal.value) >= 1
    assert CANARY not in shown(refusal.value)


# --- what it means -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "name", "protected"),
    [
        (State(), "none", False),
        (State(generation="tombstone"), "none", False),
        (State(pending=PENDING), "pending", False),
        (State(pending=replace(PENDING, totp=None)), "pending", False),
        (State(authenticator=DEVICE, recovery=CODES), "active", True),
        (FULL, "active", True),
        (State(recovery=CODES), "reenrol", True),
        (State(recovery=CODES.blocked()), "reenrol", True),
        (State(pending=PENDING, recovery=CODES), "reenrol", True),
    ],
)
def test_every_state_has_its_name(state: State, name: str, protected: bool) -> None:
    """A set of recovery codes is what protects an account, even an empty one; the authenticator makes it active."""
    assert name == state.name
    assert protected is state.protected


@pytest.mark.parametrize(("passed", "live"), [(0, True), (599, True), (600, False), (10**9, False)])
def test_a_setup_expires_with_its_last_second(passed: int, live: bool) -> None:
    """When its time is over only the secret of a set-up is erased, so that its holder still hears why."""
    state = FULL.at(NOW + passed)

    assert state.pending is not None
    assert live is (state.pending.totp is not None)
    assert replace(PENDING, totp=None) == replace(state.pending, totp=None)


@pytest.mark.parametrize(("passed", "live"), [(0, True), (599, True), (600, False), (10**9, False)])
def test_a_verification_expires_after_ten_minutes(passed: int, live: bool) -> None:
    """The token of the last verification is erased when its ten minutes are over."""
    assert (FULL.verification if live else None) == FULL.at(NOW + passed).verification
    assert 600 == VERIFICATION_LIFETIME


def test_nothing_else_expires() -> None:
    """Authenticator, recovery codes and generation outlast any time; a state without the rest stays the same object."""
    later = FULL.at(NOW + 10**9)
    lasting = State(generation="generation", authenticator=DEVICE, recovery=CODES)

    assert (FULL.generation, FULL.authenticator, FULL.recovery) == (
        later.generation,
        later.authenticator,
        later.recovery,
    )
    assert lasting is lasting.at(NOW + 10**9)
    assert later == later.at(NOW + 10**9)


def test_recovery_codes_are_counted_down() -> None:
    """What remains is what was not spent; of a blocked set nothing does, and none of its hashes is kept."""
    assert 3 == replace(CODES, spent=()).remaining
    assert 2 == CODES.remaining
    assert 0 == CODES.blocked().remaining
    assert ("", "") == (CODES.blocked().slots, CODES.blocked().hashes)


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_an_enrolled_secret_is_the_calculator_that_it_was_made_of(algorithm: Any) -> None:
    """Secret and parameters of an authenticator survive being remembered."""
    totp = TOTP.generate(algorithm=algorithm, digits=8, period=60)
    again = EnrolledTOTP.of(totp).calculator()

    assert (totp.secret, algorithm, 8, 60) == (again.secret, again.algorithm, again.digits, again.period)
    assert totp.code(NOW) == again.code(NOW)


@pytest.mark.parametrize(
    "part", [FULL, Record(state=FULL), PENDING, DEVICE, CODES, TOTP_ENROLLED], ids=lambda part: type(part).__name__
)
def test_what_is_remembered_hides_itself(part: object) -> None:
    """P11: no part of a state shows its secret in a repr."""
    assert CANARY not in repr(part)
    assert repr(part).startswith(f"{type(part).__name__}(")


def test_only_what_is_remembered_can_be_written() -> None:
    """A value of another kind inside a state is a mistake in the library, and is not written as something else."""
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        dump(Record(state=replace(FULL, generation=set())))  # type: ignore[arg-type]
