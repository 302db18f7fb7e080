"""What is remembered of a user: written down and read back, erased when it expires, refused when it is not ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaks import frames, shown

from twofa import TOTP
from twofa._record.state import (
    SCHEMA,
    TOKEN_LIFETIME,
    Authenticator,
    Key,
    Pending,
    Record,
    RecoverySet,
    State,
    dump,
    load,
)
from twofa._record.throttle import Failures
from twofa.errors import RecordDamaged, RecordError, UnsupportedRecord

NOW = 1_800_000_000
CANARY = "Q0FOQVJZN0tRWE00VFpOOA=="
KEY = Key(CANARY, "SHA1", 6, 30)
PENDING = Pending(KEY, "handle", NOW + 600, 2)
DEVICE = Authenticator(KEY, NOW, NOW // 30, NOW, Failures(1, NOW, (NOW,)))
CODES = RecoverySet("argon2id:19456:2:1", 16, "012", CANARY, NOW, ((1, NOW),), Failures(2, NOW, (NOW, NOW)))
FULL = State("generation", PENDING, DEVICE, CODES, ("token", NOW))

times = st.integers(0, 2**40)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=44)
keys = st.builds(
    lambda secret, algorithm, digits, period: Key.of(TOTP(secret, algorithm=algorithm, digits=digits, period=period)),
    st.binary(min_size=16, max_size=64),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    st.integers(6, 8),
    st.integers(15, 120),
)
failures = st.builds(Failures, st.integers(0, 100), times, st.lists(times, max_size=100).map(tuple))
states = st.builds(
    State,
    st.none() | words,
    st.none() | st.builds(Pending, st.none() | keys, words, times, st.integers(0, 10)),
    st.none() | st.builds(Authenticator, keys, times, times, times, failures),
    st.none()
    | st.builds(
        RecoverySet,
        st.sampled_from(["argon2id:19456:2:1", "scrypt:131072:8:1", "sha256"]),
        st.integers(14, 32),
        st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", max_size=32),
        words,
        times,
        st.lists(st.tuples(st.integers(0, 31), times), max_size=32).map(tuple),
        failures,
    ),
    st.none() | st.tuples(words, times),
)


# --- writing and reading -------------------------------------------------------------------------------------------


@given(states, st.lists(words, max_size=4).map(tuple))
def test_every_state_comes_back(state: State, versions: tuple[str, ...]) -> None:
    """Whatever is remembered is read back as it was written, to the type of each part."""
    record = Record(state, versions)
    read = load(dump(record))

    assert record == read
    assert repr(_types(record)) == repr(_types(read))


def _types(value: Any) -> Any:
    return (type(value), [_types(part) for part in value]) if isinstance(value, tuple) else type(value)


def test_only_the_latest_versions_are_remembered() -> None:
    """Of a long line of versions the four latest are kept, so that a record does not grow."""
    assert ("e", "d", "c", "b") == load(dump(Record(State(), ("e", "d", "c", "b", "a")))).versions


def test_a_document_is_json_with_a_schema() -> None:
    """What is sealed is JSON in ASCII that names its schema."""
    document = dump(Record(FULL))

    assert document.isascii()
    assert SCHEMA == json.loads(document)["schema"]


@pytest.mark.parametrize("schema", [2, 3, 10**9])
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
    fields = json.loads(dump(Record(FULL, ("v",))))
    broken = {
        "empty": b"",
        "no JSON": b"{",
        "cut short": dump(Record(FULL))[:-1],
        "no UTF-8": b'{"schema":1,"state":"\xff"}',
        "a list": b"[1]",
        "a number": b"1",
        "null": b"null",
        "no schema": b"{}",
    }
    for name in sorted(fields.keys() - {"schema"}):
        broken[f"no {name}"] = json.dumps({key: value for key, value in fields.items() if key != name}).encode()
        broken[f"{name} is null"] = json.dumps(fields | {name: None}).encode()
        broken[f"{name} is a number"] = json.dumps(fields | {name: 5}).encode()
    for place, part in enumerate(fields["state"]):
        before, after = fields["state"][:place], fields["state"][place + 1 :]
        broken[f"part {place} is missing"] = json.dumps(fields | {"state": before + after}).encode()
        if 1 <= place <= 4:
            broken[f"part {place} is a number"] = json.dumps(fields | {"state": [*before, 5, *after]}).encode()
        if 1 <= place <= 4:
            broken[f"part {place} is too short"] = json.dumps(fields | {"state": [*before, part[:-1], *after]}).encode()
    return broken


@pytest.mark.parametrize("name", _broken())
def test_a_document_that_nobody_wrote_is_damaged(name: str) -> None:
    """P3: whatever is missing or of another form is refused, and never read as an empty state."""
    with pytest.raises(RecordDamaged) as refusal:
        load(_broken()[name])

    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    "document", [dump(Record(FULL))[:-1], dump(Record(FULL)).replace(b'"schema":1', b'"schema":2')]
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
        (State(pending=PENDING.changed(key=None)), "pending", False),
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
    assert live is (state.pending.key is not None)
    assert PENDING.changed(key=None) == state.pending.changed(key=None)


@pytest.mark.parametrize(("passed", "live"), [(0, True), (599, True), (600, False), (10**9, False)])
def test_a_verification_expires_after_ten_minutes(passed: int, live: bool) -> None:
    """The token of the last verification is erased when its ten minutes are over."""
    assert (FULL.token if live else None) == FULL.at(NOW + passed).token
    assert 600 == TOKEN_LIFETIME


def test_nothing_else_expires() -> None:
    """Authenticator, recovery codes and generation outlast any time; a state without the rest stays the same object."""
    later = FULL.at(NOW + 10**9)
    lasting = State("generation", None, DEVICE, CODES)

    assert (FULL.generation, FULL.authenticator, FULL.recovery) == (
        later.generation,
        later.authenticator,
        later.recovery,
    )
    assert lasting is lasting.at(NOW + 10**9)
    assert later == later.at(NOW + 10**9)


def test_recovery_codes_are_counted_down() -> None:
    """What remains is what was not spent; of a blocked set nothing does, and none of its hashes is kept."""
    assert 3 == CODES.changed(spent=()).remaining
    assert 2 == CODES.remaining
    assert 0 == CODES.blocked().remaining
    assert ("", "") == (CODES.blocked().slots, CODES.blocked().hashes)


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_a_key_is_the_calculator_that_it_was_made_of(algorithm: Any) -> None:
    """Secret and parameters of an authenticator survive being remembered."""
    totp = TOTP.generate(algorithm=algorithm, digits=8, period=60)
    again = Key.of(totp).totp()

    assert (totp.secret, algorithm, 8, 60) == (again.secret, again.algorithm, again.digits, again.period)
    assert totp.code(NOW) == again.code(NOW)


@pytest.mark.parametrize(
    "part", [FULL, Record(FULL), PENDING, DEVICE, CODES, KEY], ids=lambda part: type(part).__name__
)
def test_what_is_remembered_hides_itself(part: object) -> None:
    """P11: no part of a state shows its secret in a repr."""
    assert CANARY not in repr(part)
    assert repr(part).startswith(f"{type(part).__name__}(")


def test_parts_are_compared_by_content() -> None:
    """Two parts with the same content are equal and have one hash; of another content or kind, they are not."""
    other = KEY.changed()
    assert (other, hash(other)) == (KEY, hash(KEY))
    assert KEY.changed(digits=8) != KEY
    assert KEY != KEY.content()
