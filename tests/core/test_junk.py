"""P10, cheap to refuse: whatever nonsense is sent, it costs no write, no slow hash and no work that grows with it."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, USER, CountingStore, World

from twofa import ByCode, ByRecoveryCode, ByVerification, Vouched
from twofa._record.recovery import Scheme
from twofa.errors import InvalidCode, InvalidKeyUri, MalformedCode, NoSetup, ProofRequired, Throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Phone

    from twofa import Setup

MEGABYTE = "1" * 2**20
TEXT_JUNK = {
    "empty": "",
    "one megabyte": MEGABYTE,
    "NUL": "123\x00456",
    "only NUL": "\0" * 6,
    "emoji": "🔑🔑🔑🔑🔑🔑",
    "keycap digits": "1️⃣2️⃣3️⃣",
    "too short": "12345",
    "too long": "1234567",
    "plus": "+12345",
    "minus": "-12345",
    "exponent": "1e5",
    "exponent of six": "1e5000",
    "hexadecimal": "0x1234",
    "decimal point": "12.345",
    "underscore": "1_2345",
    "superscripts": "²²²²²²",
    "fractions": "½½½½½½",
    "Roman numerals": "ⅥⅥⅥⅥⅥⅥ",
    "circled digits": "①②③④⑤⑥",
    "Chinese numerals": "一二三四五六",
    "lone surrogates": "\ud83d\udd11" * 3,
    "one lone surrogate": "12345\udc00",
    "65 characters": "123456" + " " * 59,
    "only spaces": " " * 6,
    "only hyphens": "------",
    "SQL": "' OR 1=1 --",
    "format": "%s{0}$1",
    "right-to-left": "\u202e123456",
    "zero-width": "123\u200b456",
}
TYPE_JUNK: dict[str, Any] = {
    "bytes": b"123456",
    "int": 123456,
    "float": 123456.0,
    "bool": True,
    "list": ["123456"],
    "dict": {"code": "123456"},
}


def _briefly(text: str) -> str:
    return f"{len(text)} of {text[:9]!a}"


CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")
GUARDED = ["begin_setup", "reset_recovery_codes", "reset_authenticator", "disable", "forget"]
named = pytest.mark.parametrize
text_junk = named("junk", TEXT_JUNK.values(), ids=list(TEXT_JUNK))
type_junk = named("junk", TYPE_JUNK.values(), ids=list(TYPE_JUNK))


class Site:
    """An enrolled user with a replacement under way, and meters on what calls cost."""

    def __init__(self, world: World, hashes: list[Scheme]) -> None:
        self.world, self.face, self._hashes = world, world.face, hashes
        self.phone, self.codes = world.enrol()
        self.setup = world.begin(proof=CAROL)
        assert isinstance(world.store, CountingStore)
        self.store = world.store
        self.reset()

    def reset(self) -> None:
        """Set the meters to zero."""
        self._loads, self._writes, self._events = self.store.loads, self.store.writes, len(self.world.events)
        self._hashes.clear()

    @property
    def cost(self) -> tuple[int, int]:
        """Writes and hashes since the meters were set to zero."""
        return self.store.writes - self._writes, len(self._hashes)

    @property
    def loads(self) -> int:
        """Reads since then."""
        return self.store.loads - self._loads

    def kinds(self) -> list[str]:
        """Return what the listener heard since then."""
        return self.world.kinds()[self._events :]

    def prove(self, operation: str, proof: object) -> object:
        """Call an operation that takes a proof."""
        label = {"account_name": ACCOUNT} if operation in {"begin_setup", "reset_authenticator"} else {}
        return getattr(self.face, operation)(USER, proof=proof, **label)


@pytest.fixture
def site(world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Both faces, on meters."""
    hashes: list[Scheme] = []
    digest = Scheme.digest

    def counted(scheme: Scheme, salt: bytes, code: Any) -> bytes:
        hashes.append(scheme)
        return digest(scheme, salt, code)

    monkeypatch.setattr(Scheme, "digest", counted)
    return Site(world, hashes)


def _ways_to_give_a_code(site: Site) -> dict[str, Callable[[Any], object]]:
    def as_proof(operation: str, kind: type[ByCode | ByRecoveryCode]) -> Callable[[Any], object]:
        return lambda code: site.prove(operation, kind(code))

    face = site.face
    return {
        "verify": lambda code: face.verify(USER, code),
        "redeem_recovery_code": lambda code: face.redeem_recovery_code(USER, code),
        "authenticate": lambda code: face.authenticate(USER, code),
        "confirm_setup": lambda code: face.confirm_setup(USER, code, handle=site.setup.handle),
        **{f"{name} by code": as_proof(name, ByCode) for name in GUARDED},
        **{f"{name} by recovery code": as_proof(name, ByRecoveryCode) for name in GUARDED},
    }


# --- codes ---------------------------------------------------------------------------------------------------------


@named("junk", [*TEXT_JUNK.values(), None], ids=[*TEXT_JUNK, "a missing form field"])
def test_a_code_that_is_none_is_malformed(junk: str | None, site: Site) -> None:
    """Wherever a code can be given, junk is `MalformedCode`: heard of, but neither written, counted nor hashed."""
    before = site.face.status(USER)
    for name, give in _ways_to_give_a_code(site).items():
        site.reset()
        with pytest.raises(MalformedCode) as refusal:
            give(junk)
        assert refusal.value.retry_at is None
        assert (0, 0) == site.cost, name
        assert ["code_malformed"] == site.kinds(), name

    assert before == site.face.status(USER)
    assert 0 == site.world.login(site.phone).failed_before


@type_junk
def test_a_code_of_another_type_is_a_type_error(junk: Any, site: Site) -> None:
    """What is no text is a mistake in the host's code: a `TypeError` before anything is read."""
    for name, give in _ways_to_give_a_code(site).items():
        if junk is None and " by " not in name:
            continue  # a form without the field: see the next test
        site.reset()
        with pytest.raises(TypeError):
            give(junk)
        assert (0, 0) == site.cost, name
        assert 0 == site.loads, name
        assert [] == site.kinds(), name


def test_a_missing_form_field_is_a_malformed_code(site: Site) -> None:
    """`form.get("code")` is `None` where the form has no such field: the user's mistake, not a server's error."""
    for give in (site.face.verify, site.face.redeem_recovery_code, site.face.authenticate):
        site.reset()
        with pytest.raises(MalformedCode):
            give(USER, None)
        assert (0, 0) == site.cost


def _in_digits_from(zero: str) -> Callable[[str], str]:
    return lambda code: "".join(chr(ord(zero) + int(digit)) for digit in code)


READABLE: dict[str, Callable[[str], str]] = {
    "full-width": _in_digits_from("０"),
    "Arabic": _in_digits_from("٠"),
    "Persian": _in_digits_from("۰"),
    "Devanagari": _in_digits_from("०"),
    "Thai": _in_digits_from("๐"),
    "mathematical bold": _in_digits_from("𝟎"),
    "mixed scripts": lambda code: _in_digits_from("０")(code[:3]) + code[3:],
    "grouped": lambda code: f"{code[:3]} {code[3:]}",
    "no-break space": lambda code: f"{code[:3]}\u00a0{code[3:]}",
    "hyphen": lambda code: f"{code[:3]}-{code[3:]}",
    "en dash": lambda code: f"{code[:3]}–{code[3:]}",
    "pasted line": lambda code: f"\t{code}\r\n",
    "64 characters": lambda code: code.ljust(64),
}


@named("spell", READABLE.values(), ids=list(READABLE))
def test_a_code_is_read_as_people_type_it(spell: Callable[[str], str], site: Site) -> None:
    """Decimal digits of any script, spaces and hyphens are how people type: the right code is right."""
    code = site.phone.code()

    assert "totp" == site.face.verify(USER, spell(code)).method
    site.world.clock.advance(30)
    with pytest.raises(InvalidCode) as refusal:
        site.face.verify(USER, spell(site.phone.wrong_code()))
    assert InvalidCode is refusal.type  # read, and wrong


# --- recovery codes ------------------------------------------------------------------------------------------------

RECOVERY_JUNK: dict[str, Callable[[str], str]] = {
    "one symbol short": lambda code: code[:-1],
    "one symbol more": lambda code: f"{code}0",
    "a letter that is none": lambda code: f"{code[:-1]}U",
    "a letter from outside": lambda code: f"{code[:-1]}Ä",
    "a look-alike letter": lambda code: f"{code[:-1]}А",  # Cyrillic
    "a full-width letter": lambda code: f"{code[:-1]}Ａ",
    "an Arabic digit": lambda code: f"{code[:-1]}٣",
    "a long s": lambda code: f"{code[:-1]}ſ",  # upper() makes an S of it
    "an sharp s": lambda code: f"{code[:-2]}ß",  # upper() makes two letters of it
    "a surrogate": lambda code: f"{code[:-1]}\udc00",
    "a NUL": lambda code: f"{code}\0",
    "65 characters": lambda code: code.ljust(65),
    "a plus": lambda code: f"+{code[:-1]}",
    "a megabyte": lambda code: code * 2**15,
}


@named("spoil", RECOVERY_JUNK.values(), ids=list(RECOVERY_JUNK))
def test_a_recovery_code_that_is_none_is_malformed(spoil: Callable[[str], str], site: Site) -> None:
    """A recovery code with anything wrong in its form costs no hash, though its slot may be right."""
    spoilt = spoil(site.codes[0])
    with pytest.raises(MalformedCode):
        site.face.redeem_recovery_code(USER, spoilt)
    with pytest.raises(MalformedCode):
        site.prove("disable", ByRecoveryCode(spoilt))
    assert (0, 0) == site.cost

    assert 0 == site.face.redeem_recovery_code(USER, site.codes[0]).failed_before


READABLE_RECOVERY: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "no hyphens": lambda code: code.replace("-", ""),
    "spaces": lambda code: code.replace("-", " "),
    "no-break spaces": lambda code: code.replace("-", "\u00a0"),
    "non-breaking hyphens": lambda code: code.replace("-", "\u2011"),
    "em dashes": lambda code: code.replace("-", "—"),
    "letters for digits": lambda code: code.replace("0", "O").replace("1", "l"),
    "other letters for digits": lambda code: code.replace("0", "o").replace("1", "I"),
    "one line of a download": lambda code: f"{code}\r\n",
    "64 characters": lambda code: code.ljust(64),
}


@named("spell", READABLE_RECOVERY.values(), ids=list(READABLE_RECOVERY))
def test_a_recovery_code_is_read_as_people_type_it(spell: Callable[[str], str], site: Site) -> None:
    """Case, spaces, hyphens of any kind, and the letters that look like digits do not matter."""
    for left, code in zip((9, 8, 7), site.codes[:3], strict=True):
        assert left == site.face.redeem_recovery_code(USER, spell(code)).recovery_codes_remaining


def test_an_attempt_costs_one_hash_and_an_empty_slot_none(site: Site) -> None:
    """A hit, a miss and a reuse cost one hash each; a slot that the set does not have costs none, but is counted."""
    miss = f"{site.codes[1][:-1]}{'0' if site.codes[1][-1] != '0' else '1'}"
    costs: dict[str, tuple[int, int]] = {}
    attempts = {"hit": site.codes[0], "reuse": site.codes[0], "miss": miss, "no slot": f"Z{site.codes[0][1:]}"}
    for name, code in attempts.items():
        site.reset()
        try:
            site.face.redeem_recovery_code(USER, code)
        except InvalidCode:
            assert name != "hit"
        costs[name] = site.cost

    assert {"hit": (2, 1), "reuse": (2, 1), "miss": (2, 1), "no slot": (1, 0)} == costs


# --- waits ---------------------------------------------------------------------------------------------------------


@named("method", ["totp", "recovery_code"])
def test_an_attempt_during_a_wait_costs_nothing(method: str, site: Site) -> None:
    """Right, wrong and as a proof: while a wait lasts nothing is evaluated, hashed, counted or written."""
    right, wrong = (
        (site.phone.code(), site.phone.wrong_code()) if method == "totp" else (site.codes[0], "0" * len(site.codes[0]))
    )
    wrong = wrong[: len(right.replace("-", ""))]
    check = site.face.verify if method == "totp" else site.face.redeem_recovery_code
    proof = ByCode if method == "totp" else ByRecoveryCode
    for _ in range(5):
        with pytest.raises(InvalidCode):
            check(USER, wrong)
    record = site.world.record()
    status = site.face.status(USER)
    until = status.retry_at if method == "totp" else status.recovery_retry_at
    site.reset()

    for _ in range(20):
        for code in (right, wrong):
            with pytest.raises(Throttled) as refusal:
                check(USER, code)
            assert until == refusal.value.retry_at
    for operation in GUARDED:
        with pytest.raises(Throttled):
            site.prove(operation, proof(right))
    with pytest.raises(MalformedCode):  # its form is looked at before the wait
        check(USER, "junk")

    assert (0, 0) == site.cost
    assert record == site.world.record()
    assert {"throttled", "code_malformed"} == set(site.kinds())


# --- handles and tokens --------------------------------------------------------------------------------------------


@named("junk", [*TEXT_JUNK.values(), None], ids=[*TEXT_JUNK, "a session without one"])
def test_a_handle_that_is_none_opens_nothing(junk: str | None, site: Site) -> None:
    """A made-up handle confirms nothing, shows no secret and writes nothing."""
    code = site.world.phone(site.setup).code()
    with pytest.raises(NoSetup):
        site.face.confirm_setup(USER, code, handle=junk)
    with pytest.raises(NoSetup):
        site.face.resume_setup(USER, handle=junk, account_name=ACCOUNT)

    assert (0, 0) == site.cost
    assert 10 == len(site.face.confirm_setup(USER, code, handle=site.setup.handle))


@text_junk
def test_a_token_that_is_none_proves_nothing(junk: str, site: Site) -> None:
    """A made-up token is no proof, and the real one still is."""
    token = site.world.login(site.phone).token
    for operation in GUARDED:
        site.reset()
        with pytest.raises(ProofRequired):
            site.prove(operation, ByVerification(junk))
        assert (0, 0) == site.cost

    site.prove("begin_setup", ByVerification(token))


@type_junk
def test_handles_tokens_and_proofs_of_another_type_are_type_errors(junk: Any, site: Site) -> None:
    """A `TypeError` before anything is read."""
    calls: list[Callable[[], object]] = [
        lambda: site.face.confirm_setup(USER, "123456", handle=junk),
        lambda: site.face.resume_setup(USER, handle=junk, account_name=ACCOUNT),
        lambda: ByVerification(junk),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    for operation in GUARDED:
        with pytest.raises(TypeError):
            site.prove(operation, junk)

    assert 0 == site.loads


@pytest.mark.parametrize("operation", GUARDED)
def test_no_proof_is_no_proof(operation: str, site: Site) -> None:
    """`None` in its place is refused like one that does not serve, so that a session may have none to offer."""
    with pytest.raises(ProofRequired):
        site.prove(operation, None)

    assert (0, 0) == site.cost


# --- user ids, sources, account names ------------------------------------------------------------------------------


def _calls(site: Site, user_id: Any) -> list[Callable[[], object]]:
    face = site.face
    return [
        lambda: face.begin_setup(user_id, account_name=ACCOUNT),
        lambda: face.confirm_setup(user_id, "123456", handle="x"),
        lambda: face.cancel_setup(user_id),
        lambda: face.verify(user_id, "123456"),
        lambda: face.redeem_recovery_code(user_id, "123456"),
        lambda: face.reset_recovery_codes(user_id, proof=CAROL),
        lambda: face.reset_authenticator(user_id, account_name=ACCOUNT, proof=CAROL),
        lambda: face.disable(user_id, proof=CAROL),
        lambda: face.forget(user_id, proof=CAROL),
        lambda: face.status(user_id),
        lambda: face.reseal(user_id),
    ]


@named("user_id", ["", "u" * 256, MEGABYTE, "user\x00", "\ud800", "user-\udfff"], ids=_briefly)
def test_a_user_id_that_no_database_takes_is_refused(user_id: str, site: Site) -> None:
    """Empty, over-long, with NUL or surrogates: a `ValueError` from every method, before anything is read."""
    for call in _calls(site, user_id):
        with pytest.raises(ValueError, match="user_id"):
            call()

    assert 0 == site.loads
    assert (0, 0) == site.cost


class Redacted(str):
    """A user id of a framework that keeps ids out of its logs."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "[redacted]"


def test_a_user_id_is_exactly_text(site: Site) -> None:
    """P8: a kind of `str` that may write two users alike is refused by every method, before anything is read."""
    for call in _calls(site, Redacted(USER)):
        with pytest.raises(TypeError, match=r"^user_id must be exactly str, not Redacted$"):
            call()

    assert 0 == site.loads


def test_a_number_as_a_user_id_is_told_what_to_pass(site: Site) -> None:
    """The likely mistake is the primary key of a table: the message says how to pass it."""
    with pytest.raises(TypeError, match=r"^user_id must be str, not int: pass str\(user\.id\), here '42'$"):
        site.face.status(42)  # type: ignore[arg-type]  # the wrong type is the point


@type_junk
def test_a_user_id_of_another_type_is_a_type_error(junk: Any, site: Site) -> None:
    """From every method, before anything is read: 42 and "42" are not the same user."""
    for call in _calls(site, junk):
        with pytest.raises(TypeError, match="user_id"):
            call()

    assert 0 == site.loads


@named("user_id", ["u", "u" * 255, "🔑" * 255, "' OR 1=1 --", "١٢٣", " ", "%", "a\nb", "Ünïcödé"], ids=ascii)
def test_any_other_user_id_is_a_user(user_id: str, world: World) -> None:
    """Length counts characters, and odd ones are as good as others."""
    phone, _ = world.enrol(user_id)

    assert "totp" == world.login(phone, user_id).method
    assert user_id == world.events[-1].user_id


@named(
    ("source", "kept"),
    [
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("s" * 257, "s" * 256),
        (MEGABYTE, "1" * 256),
        ("🔑" * 300, "🔑" * 256),
        ("a\0b", "a\ufffdb"),
        ("a\nb\r\x1b[31m", "a\nb\r\x1b[31m"),
        ("a\ud800b", "a?b"),
    ],
    ids=["empty", "usual", "257", "megabyte", "emoji", "NUL", "control characters", "surrogate"],
)
def test_a_source_is_cut_and_cleaned(source: str, kept: str, site: Site) -> None:
    """Hostile text is kept to 256 characters that every database takes, and changes no outcome."""
    site.face.verify(USER, site.phone.code(), source=source)

    assert kept == site.world.events[-1].source
    assert kept == site.store.events(USER)[-1].source


@named("source", [b"192.0.2.7", 5, ["192.0.2.7"]], ids=repr)
def test_a_source_of_another_type_is_a_type_error(source: Any, site: Site) -> None:
    """Before anything is read."""
    with pytest.raises(TypeError, match="source"):
        site.face.verify(USER, site.phone.code(), source=source)

    assert 0 == site.loads


@named("name", ["", "a:b", "a\0", "a\nb", " a", "\ud800", MEGABYTE, "🔑" * 100], ids=_briefly)
def test_an_account_name_that_no_app_shows_is_refused(name: str, site: Site) -> None:
    """Refused by name before anything is read, as account name and as issuer."""
    calls: list[Callable[[], object]] = [
        lambda: site.face.begin_setup(USER, account_name=name, proof=CAROL),
        lambda: site.face.begin_setup(USER, account_name=ACCOUNT, issuer=name, proof=CAROL),
        lambda: site.face.reset_authenticator(USER, account_name=name, proof=CAROL),
    ]
    for call in calls:
        with pytest.raises(InvalidKeyUri):
            call()

    assert 0 == site.loads


@named("name", ["🔑", "١٢٣", "Jürgen O'Brien <j@example.com>", "a" * 330, "%41", "a+b&c=d"], ids=ascii)
def test_any_other_account_name_is_shown(name: str, world: World) -> None:
    """An account name goes through the QR code unharmed, whatever stands in it."""
    import pyotp

    setup = world.face.begin_setup(USER, account_name=name)

    assert name == pyotp.parse_uri(setup.uri).name


# --- work that does not grow ---------------------------------------------------------------------------------------


@named("what", ["code", "recovery code", "proof", "user id", "source", "handle", "token"])
def test_a_megabyte_is_refused_without_being_copied(what: str, site: Site) -> None:
    """A megabyte of junk costs no memory of its size: it is cut or refused by its length, before any other look."""
    phone, setup = site.phone, site.setup
    site.face.status(USER)  # whatever is imported or cached at the first call
    calls: dict[str, tuple[type[Exception], Callable[[], object]]] = {
        "code": (MalformedCode, lambda: site.face.verify(USER, MEGABYTE)),
        "recovery code": (MalformedCode, lambda: site.face.redeem_recovery_code(USER, MEGABYTE)),
        "proof": (MalformedCode, lambda: site.face.disable(USER, proof=ByCode(MEGABYTE))),
        "user id": (ValueError, lambda: site.face.verify(MEGABYTE, "123456")),
        "source": (InvalidCode, lambda: site.face.verify(USER, phone.wrong_code(), source=MEGABYTE)),
        "handle": (NoSetup, lambda: site.face.confirm_setup(USER, _right(site, setup), handle=MEGABYTE)),
        "token": (ProofRequired, lambda: site.face.disable(USER, proof=ByVerification(MEGABYTE))),
    }
    refusal, call = calls[what]
    if what == "token":
        site.world.login(phone)
    with pytest.raises(refusal):
        call()

    tracemalloc.start()
    try:
        with pytest.raises(refusal):
            call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < len(MEGABYTE) // 2


def _right(site: Site, setup: Setup) -> str:
    phone: Phone = site.world.phone(setup)
    return phone.code()
