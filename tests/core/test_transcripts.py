"""Every cell of the state table, as a transcript, on both faces; and the way back in from every dead end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support import ACCOUNT, FAST, USER, World

from twofa import ByCode, ByRecoveryCode, ByVerification, Policy, Throttle, Vouched
from twofa._engine.operations.changes import Disable
from twofa._engine.operations.sign_in import Authenticate
from twofa._engine.operations.ways_back import without_a_way_back
from twofa._engine.transitions import STATES, TABLE, Requirement
from twofa._hidden import Hidden
from twofa._record.state import State
from twofa.errors import (
    AlreadyEnrolled,
    CodeReused,
    InvalidCode,
    NoSetup,
    NotEnrolled,
    ProofRequired,
    RecoveryCodesExhausted,
    ReenrolmentRequired,
    SetupExpired,
    Throttled,
)

if TYPE_CHECKING:
    from support import Phone

    from twofa import RecoveryCodes, Setup

CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")
WORD = {"by": "ops:carol", "reason": "moved"}


class Story:
    """A world with one user, brought into a state."""

    def __init__(self, world: World, state: str, *, with_setup: bool = False) -> None:
        self.world, self.face = world, world.face
        self.setup: Setup | None = None
        self.phone: Phone | None = None
        self.codes: RecoveryCodes | None = None
        if state == "pending":
            self.setup = world.begin()
        if state in {"active", "reenrol"}:
            self.phone, self.codes = world.enrol()
        if state == "active" and with_setup:
            self.setup = world.begin(proof=ByCode(self.phone.code()))
            world.clock.advance(30)
        if state == "reenrol":
            self.setup = self.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)
            if not with_setup:
                self.face.cancel_setup(USER)
                self.setup = None
        assert state == self.state()

    def state(self) -> str:
        return self.face.status(USER).state

    def proof(self) -> Any:
        """A proof that serves in this state."""
        return ByRecoveryCode(self.codes[0]) if self.codes else CAROL

    def leave_one_code(self) -> None:
        """Spend recovery codes until one is left."""
        for code in self.codes[:-1]:
            self.face.redeem_recovery_code(USER, code)
        self.codes = self.codes[-1:]

    def call(self, operation: str) -> Any:
        """Perform the operation with arguments that are right wherever there are right ones."""
        code = self.phone.code() if self.phone else "123456"
        recovery_code = self.codes[0] if self.codes else "0KQX-M4TZ-N8BW-2HJV-7KQX-M4TZ"
        setup_code = self.world.phone(self.setup).code() if self.setup else "123456"
        handle = self.setup.handle if self.setup else "no such handle"
        calls = {
            "begin_setup": lambda: self.face.begin_setup(USER, account_name=ACCOUNT, proof=self.proof()),
            "confirm_setup": lambda: self.face.confirm_setup(USER, setup_code, handle=handle),
            "resume_setup": lambda: self.face.resume_setup(USER, handle=handle, account_name=ACCOUNT),
            "cancel_setup": lambda: self.face.cancel_setup(USER),
            "verify": lambda: self.face.verify(USER, code),
            "redeem_recovery_code": lambda: self.face.redeem_recovery_code(USER, recovery_code),
            "authenticate": lambda: self.face.authenticate(USER, recovery_code),
            "acknowledge_recovery_codes": lambda: self.face.acknowledge_recovery_codes(USER),
            "password_changed": lambda: self.face.password_changed(USER),
            "end_sessions": lambda: self.face.end_sessions(USER),
            "reset_recovery_codes": lambda: self.face.reset_recovery_codes(USER, proof=self.proof()),
            "reset_authenticator": lambda: self.face.reset_authenticator(
                USER, account_name=ACCOUNT, proof=self.proof()
            ),
            "disable": lambda: self.face.disable(USER, proof=self.proof()),
            "forget": lambda: self.face.forget(USER, proof=self.proof()),
            "import_authenticator": lambda: self.face.import_authenticator(USER, bytes(range(20)), **WORD),
            "export_authenticator": lambda: self.face.export_authenticator(USER, account_name=ACCOUNT, **WORD),
        }
        return calls[operation]()


NOTHING, N, R = "nothing", NotEnrolled, ReenrolmentRequired
DESIGN = {
    # operation: what happens in none, pending, active and reenrol; a state name is where success leads
    "begin_setup": ("pending", "pending", "active", "reenrol"),
    "confirm_setup": (NoSetup, "active", "active", "active"),
    "resume_setup": (NoSetup, "pending", "active", "reenrol"),
    "cancel_setup": (NOTHING, "none", "active", "reenrol"),
    "verify": (N, N, "active", R),
    "redeem_recovery_code": (N, N, "active", "reenrol"),
    "authenticate": (N, N, "active", "reenrol"),
    "acknowledge_recovery_codes": (N, N, "active", "reenrol"),
    "password_changed": ("none", "none", "active", "reenrol"),
    "end_sessions": ("none", "none", "active", "reenrol"),
    "reset_recovery_codes": (N, N, "active", "reenrol"),
    "reset_authenticator": (N, N, "reenrol", "reenrol"),
    "disable": (NOTHING, "none", "none", "none"),
    "forget": (NOTHING, "none", "none", "none"),
    "import_authenticator": ("active", "active", AlreadyEnrolled, AlreadyEnrolled),
    "export_authenticator": (N, N, "active", R),
}
GATES = {
    # operation: what it needs where it is no error, in none, pending, active and reenrol
    "begin_setup": ("nothing", "nothing", "proof", "proof"),
    "confirm_setup": ("", "code", "code", "code"),
    "resume_setup": ("", "code", "code", "code"),
    "cancel_setup": ("no effect", "nothing", "nothing", "nothing"),
    "verify": ("", "", "code", ""),
    "redeem_recovery_code": ("", "", "code", "code"),
    "authenticate": ("", "", "code", "code"),
    "acknowledge_recovery_codes": ("", "", "nothing", "nothing"),
    "password_changed": ("nothing", "nothing", "nothing", "nothing"),
    "end_sessions": ("nothing", "nothing", "nothing", "nothing"),
    "reset_recovery_codes": ("", "", "proof", "proof"),
    "reset_authenticator": ("", "", "proof", "proof"),
    "disable": ("no effect", "nothing", "proof", "proof"),
    "forget": ("nothing", "nothing", "proof", "proof"),
    "import_authenticator": ("nothing", "nothing", "", ""),
    "export_authenticator": ("", "", "nothing", ""),
}
CELLS = [
    (operation, state, expected)
    for operation, row in DESIGN.items()
    for state, expected in zip(STATES, row, strict=True)
]


@pytest.mark.parametrize(("operation", "state", "expected"), CELLS)
def test_every_cell(operation: str, state: str, expected: Any, world: World) -> None:
    """In each state each operation leads where the table says, or raises its error and moves nothing."""
    story = Story(world, state, with_setup=operation in {"confirm_setup", "resume_setup"})
    before = world.record()

    if operation == "reset_recovery_codes" and state == "reenrol":
        story.leave_one_code()
        before = world.record()
    if isinstance(expected, str):
        story.call(operation)
        assert (state if expected == NOTHING else expected) == story.state()
    else:
        with pytest.raises(expected):
            story.call(operation)
        assert before == world.record()
        assert state == story.state()
    if expected == NOTHING:
        assert before == world.record()


@pytest.mark.parametrize(("operation", "state", "expected"), CELLS)
def test_the_table_is_the_designs(operation: str, state: str, expected: Any) -> None:
    """The table that the code obeys says what the transcripts expect: what a call needs, and where it leads."""
    gate, cell = GATES[operation][STATES.index(state)], TABLE[operation][state]

    if isinstance(expected, str):
        assert Requirement(gate) is cell.requires
        assert (state if expected == NOTHING else expected) == cell.to
    else:
        assert (expected, state, "") == (cell.requires, cell.to, gate)


def test_the_table_has_no_other_rows() -> None:
    """Every operation of the table has its transcripts."""
    assert set(DESIGN) == set(GATES) == set(TABLE)


@pytest.mark.parametrize("state", ["none", "pending"])
@pytest.mark.parametrize("operation", ["disable", "forget"])
@pytest.mark.parametrize(
    "proof",
    [None, ByCode("000000"), ByRecoveryCode("0" * 24), ByVerification("no such token"), CAROL],
    ids=lambda proof: type(proof).__name__,
)
def test_what_protects_nothing_goes_without_a_proof(operation: str, state: str, proof: Any, world: World) -> None:
    """Where no second factor is, `disable` and `forget` ask for nothing, look at nothing and count nothing."""
    story = Story(world, state)
    story.proof = lambda: proof

    story.call(operation)

    assert "none" == story.state()
    assert [] == [kind for kind in world.kinds() if kind not in {"setup_begun", "setup_cancelled", "forgotten"}]
    if operation == "forget":
        assert {} == dict(world.events[-1].detail)


@pytest.mark.parametrize("state", ["active", "reenrol"])
@pytest.mark.parametrize(
    "operation", ["begin_setup", "reset_recovery_codes", "reset_authenticator", "disable", "forget"]
)
@pytest.mark.parametrize("proof", ["wrong code", "wrong recovery code", "stale verification"])
def test_a_protected_account_changes_only_with_a_proof(operation: str, state: str, proof: str, world: World) -> None:
    """P9: without a valid proof every change is refused, and at most the attempt is counted."""
    story = Story(world, state)
    if operation == "reset_recovery_codes" and state == "reenrol":
        story.leave_one_code()
    before = world.face.status(USER)
    wrong = {
        "wrong code": ByCode(story.phone.wrong_code()),
        "wrong recovery code": ByRecoveryCode("0" * 24),
        "stale verification": ByVerification("no such token"),
    }[proof]
    refusal = ProofRequired if proof == "stale verification" else InvalidCode
    if proof == "wrong code" and state == "reenrol":
        refusal = ReenrolmentRequired
    if operation == "reset_recovery_codes" and state == "reenrol" and proof != "wrong recovery code":
        refusal = ReenrolmentRequired  # whatever the proof: a code is left, so the next step is to set up an app
    story.proof = lambda: wrong

    with pytest.raises(refusal):
        story.call(operation)

    counted = int(refusal is InvalidCode)
    assert replace(before, failures=counted) == world.face.status(USER)


@pytest.mark.parametrize("state", ["active", "reenrol"])
def test_begin_setup_on_a_protected_account_needs_a_proof(state: str, world: World) -> None:
    """P9: a forgotten proof is refused by name, and writes nothing."""
    Story(world, state)
    before = world.record()

    with pytest.raises(ProofRequired):
        world.begin()

    assert before == world.record()


@pytest.mark.parametrize("state", ["none", "pending"])
def test_an_unprotected_account_spends_no_proof(state: str, world: World) -> None:
    """Where nothing is protected a proof is ignored, right or wrong."""
    Story(world, state)

    assert world.begin(proof=ByCode("junk")).uri.startswith("otpauth://totp/")


# --- a set-up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "active", "reenrol"])
def test_a_live_handle_shows_the_same_secret_again(state: str, world: World) -> None:
    """A reloaded page keeps the QR code: same secret, same expiry, no proof, no write, no event."""
    story = Story(world, state, with_setup=True)
    before, events = world.record(), len(world.events)
    world.clock.advance(30)

    assert story.setup == world.resume(story.setup)
    assert before == world.record()
    assert events == len(world.events)


def test_the_second_session_never_sees_the_first_ones_secret(world: World) -> None:
    """P9: two sessions set up at once; the later one gets a secret of its own and the earlier one dies."""
    first, second = world.begin(), world.begin()

    assert first.manual_key != second.manual_key
    with pytest.raises(NoSetup):
        world.face.confirm_setup(USER, world.phone(first).code(), handle=first.handle)
    with pytest.raises(NoSetup):
        world.face.confirm_setup(USER, world.phone(second).code(), handle=first.handle)
    assert 10 == len(world.face.confirm_setup(USER, world.phone(second).code(), handle=second.handle))


def test_a_wrong_code_keeps_the_setup_alive(world: World) -> None:
    """A mistyped code is refused, and the same QR code can still be confirmed."""
    setup = world.begin()
    with pytest.raises(InvalidCode):
        world.face.confirm_setup(USER, world.phone(setup).wrong_code(), handle=setup.handle)

    world.confirm(world.resume(setup))

    assert "active" == world.face.status(USER).state


@pytest.mark.parametrize("state", ["pending", "active", "reenrol"])
def test_a_setup_dies_after_ten_wrong_codes(state: str, world: World) -> None:
    """The eleventh try finds no set-up, even with the right code; what was there before is untouched."""
    story = Story(world, state, with_setup=True)
    phone = world.phone(story.setup)
    for _ in range(10):
        with pytest.raises(InvalidCode):
            world.face.confirm_setup(USER, phone.wrong_code(), handle=story.setup.handle)

    with pytest.raises(NoSetup):
        world.face.confirm_setup(USER, phone.code(), handle=story.setup.handle)

    assert ("none" if state == "pending" else state) == story.state()
    if state == "active":
        world.login(story.phone)


@pytest.mark.parametrize("state", ["pending", "active", "reenrol"])
def test_a_setup_expires_after_ten_minutes(state: str, world: World) -> None:
    """An expired set-up says so as often as it is asked, erases its secret once, and touches nothing else."""
    story = Story(world, state, with_setup=True)
    phone, old = world.phone(story.setup), story.phone
    world.clock.now = int(story.setup.expires_at.timestamp())

    with pytest.raises(SetupExpired):
        world.face.confirm_setup(USER, phone.code(), handle=story.setup.handle)
    erased = world.record()
    with pytest.raises(SetupExpired):
        world.face.confirm_setup(USER, phone.code(), handle=story.setup.handle)
    with pytest.raises(SetupExpired):
        world.resume(story.setup)
    with pytest.raises(NoSetup):
        world.face.confirm_setup(USER, phone.code(), handle="another session's")

    assert erased == world.record()
    assert ("none" if state == "pending" else state) == story.state()
    assert world.face.status(USER).setup_expires_at is None
    if state == "active":
        world.login(old)


def test_a_setup_lives_until_its_last_second(world: World) -> None:
    """One second before it expires a set-up can be confirmed."""
    setup = world.begin()
    world.clock.now = int(setup.expires_at.timestamp()) - 1

    world.confirm(setup)

    assert world.face.status(USER).required


@pytest.mark.parametrize("operation", ["reset_recovery_codes", "disable"])
def test_a_change_of_generation_kills_a_setup(operation: str, world: World) -> None:
    """P9: a set-up that was begun before such a change can no longer be confirmed after it."""
    story = Story(world, "active", with_setup=True)
    story.call(operation)

    with pytest.raises(NoSetup):
        world.face.confirm_setup(USER, world.phone(story.setup).code(), handle=story.setup.handle)


def test_blocking_leaves_a_setup_alive(world: World) -> None:
    """A replacement that is under way when the old authenticator is blocked can be finished."""
    story = Story(world, "active", with_setup=True)
    world.block_authenticator(story.phone)

    phone, _ = world.confirm(story.setup)

    assert "active" == world.face.status(USER).state
    world.login(phone)


# --- old means dead ------------------------------------------------------------------------------------------------


def test_the_confirming_code_is_spent(world: World) -> None:
    """P1: the code that confirms a set-up cannot be used again at login."""
    setup = world.begin()
    code = world.phone(setup).code()
    world.face.confirm_setup(USER, code, handle=setup.handle)

    with pytest.raises(CodeReused):
        world.face.verify(USER, code)


@pytest.mark.parametrize("operation", ["begin_setup", "reset_recovery_codes"])
def test_a_code_used_as_proof_is_spent(operation: str, world: World) -> None:
    """P1: a TOTP code that served as a proof cannot be used again at login."""
    story = Story(world, "active")
    code = story.phone.code()
    story.proof = lambda: ByCode(code)
    story.call(operation)

    with pytest.raises(CodeReused):
        world.face.verify(USER, code)


def test_a_recovery_code_used_as_proof_is_spent(world: World) -> None:
    """P1: a recovery code that served as a proof cannot be used again at login."""
    story = Story(world, "active")
    story.call("begin_setup")

    with pytest.raises(CodeReused):
        world.face.redeem_recovery_code(USER, story.codes[0])


def test_a_reset_kills_the_old_device_at_once_and_leaves_no_gap(world: World) -> None:
    """P6, P7: from the reset on the old codes fail and a second factor is required, until and after the new one."""
    phone, codes = world.enrol()
    generation = world.face.status(USER).generation
    setup = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(phone.code()))
    world.clock.advance(30)

    with pytest.raises(ReenrolmentRequired):
        world.face.verify(USER, phone.code())
    assert world.face.status(USER).required
    assert world.face.redeem_recovery_code(USER, codes[0]).recovery_codes_remaining == 9
    assert generation != setup.generation == world.face.status(USER).generation

    new_phone, new_codes = world.confirm(setup)

    with pytest.raises(InvalidCode):
        world.face.verify(USER, phone.code())
    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, codes[1])
    world.login(new_phone)
    world.face.redeem_recovery_code(USER, new_codes[0])


def test_a_replacement_keeps_the_old_device_until_the_new_one_is_confirmed(world: World) -> None:
    """P6, P7: the old app works while the new one waits, and fails from the confirm on."""
    phone, _ = world.enrol()
    setup = world.begin(proof=ByCode(phone.code()))
    world.clock.advance(30)
    world.login(phone)

    new_phone, _ = world.confirm(setup)

    with pytest.raises(InvalidCode):
        world.face.verify(USER, phone.code())
    world.login(new_phone)


def test_a_new_set_replaces_the_old_one(world: World) -> None:
    """P7: after a reset of the codes every old one fails and every new one works once."""
    phone, old = world.enrol()
    new = world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))

    for code in old[:4]:
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, code)
    assert [9, 8] == [world.face.redeem_recovery_code(USER, code).recovery_codes_remaining for code in new[:2]]
    assert new.generation == world.face.status(USER).generation


def test_each_recovery_code_works_once(world: World) -> None:
    """Ten codes, in any order, each of them once; then the set is exhausted."""
    _, codes = world.enrol()

    for left, code in enumerate(reversed(codes)):
        assert 9 - left == world.face.redeem_recovery_code(USER, code).recovery_codes_remaining
        if left < 9:
            with pytest.raises(CodeReused):
                world.face.redeem_recovery_code(USER, code)
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[0])


def test_the_generation_changes_with_every_change_and_survives_disable(world: World) -> None:
    """Hosts end other sessions by it: new with confirm, resets and disable, kept by set-ups, logins and the tombstone."""
    seen = [world.face.status(USER).generation]
    phone, codes = world.enrol()
    seen.append(codes.generation)
    assert codes.generation == world.login(phone).generation == world.begin(proof=ByCode(phone.code())).generation
    seen.append(world.face.reset_recovery_codes(USER, proof=CAROL).generation)
    setup = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)
    seen.append(setup.generation)
    seen.append(world.confirm(setup)[1].generation)
    world.face.disable(USER, proof=CAROL)
    seen.append(world.face.status(USER).generation)
    world.begin()
    world.face.cancel_setup(USER)

    assert seen[0] is None
    assert 6 == len(set(seen))
    assert seen[-1] == world.face.status(USER).generation


def test_forget_erases_everything(world: World) -> None:
    """After forget there is neither a record nor a trail, and only the listener has heard of it."""
    world.enrol()
    world.face.forget(USER, proof=CAROL)

    assert world.record() is None
    assert () == tuple(world.store.events(USER))
    assert "forgotten" == world.kinds()[-1]
    assert world.face.status(USER).generation is None


def test_forget_erases_a_tombstone_and_knows_no_stranger(world: World) -> None:
    """Forgetting an account whose second factor is off erases its tombstone; one that never was is no error."""
    world.enrol()
    world.face.disable(USER, proof=CAROL)
    world.face.forget(USER, proof=CAROL)
    world.face.forget("never seen", proof=CAROL)

    assert world.record() is None


# --- a fresh verification as proof ---------------------------------------------------------------------------------


def test_a_verification_proves_once(world: World) -> None:
    """P9: the token of a verification serves for one change."""
    phone, _ = world.enrol()
    proof = ByVerification(world.login(phone).token)
    world.begin(proof=proof)

    with pytest.raises(ProofRequired):
        world.begin(proof=proof)


def test_a_verification_proves_for_ten_minutes(world: World) -> None:
    """P9: good in the last second of ten minutes, no longer after it."""
    phone, _ = world.enrol()
    for age, accepted in ((599, True), (600, False)):
        token = world.face.verify(USER, phone.code()).token
        world.clock.advance(age)
        if accepted:
            world.begin(proof=ByVerification(token))
        else:
            with pytest.raises(ProofRequired):
                world.begin(proof=ByVerification(token))


def test_a_verification_proves_for_its_user_only(world: World) -> None:
    """P9: one user's token is nothing on another's account."""
    phone, _ = world.enrol()
    token = world.login(phone).token
    world.enrol("somebody-else")

    with pytest.raises(ProofRequired):
        world.begin("somebody-else", proof=ByVerification(token))


@pytest.mark.parametrize("later", ["verification", "generation"])
def test_a_verification_proves_until_the_next_one(later: str, world: World) -> None:
    """P9: a newer verification, or a change of generation, ends it."""
    phone, _ = world.enrol()
    token = world.login(phone).token
    if later == "verification":
        world.login(phone)
    else:
        world.face.reset_recovery_codes(USER, proof=CAROL)

    with pytest.raises(ProofRequired):
        world.face.reset_recovery_codes(USER, proof=ByVerification(token))


def test_a_vouched_change_is_on_record(world: World) -> None:
    """P9: the host's word is written down with who and why."""
    world.enrol()
    world.face.disable(USER, proof=CAROL)

    event = world.store.events(USER)[-1]
    assert "disabled" == event.kind
    assert {"proof": "vouched", "by": CAROL.by, "reason": CAROL.reason} == dict(event.detail)


def test_a_blocked_set_counts_for_nothing_before_it_is_erased(world: World) -> None:
    """The attempt that blocks is counted before its hash: if its caller goes away, a login shows no codes either."""
    phone, codes = world.enrol()
    impatient = world.new_face(Policy(recovery_code_length=24, throttle=Throttle(block_after=1)))

    def killed(_job: object) -> None:
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr("twofa._engine.hashing.Job.run", killed)
        impatient.redeem_recovery_code(USER, codes[0])

    assert 0 == impatient.status(USER).recovery_codes_remaining
    assert 0 == impatient.verify(USER, phone.code()).recovery_codes_remaining


# --- the way back in -----------------------------------------------------------------------------------------------


def _signed_in_and_protected(world: World, phone: Phone) -> None:
    world.login(phone)
    status = world.face.status(USER)
    assert ("active", True, 10) == (status.state, status.required, status.recovery_codes_remaining)


def test_way_back_last_recovery_code_to_a_new_phone(world: World) -> None:
    """The phone is lost and one code is left: sign in with it, enrol the new phone with that verification."""
    _, codes = world.enrol()
    for code in codes[:9]:
        world.face.redeem_recovery_code(USER, code)

    verification = world.face.redeem_recovery_code(USER, codes[9])
    assert 0 == verification.recovery_codes_remaining
    phone, _ = world.confirm(world.begin(proof=ByVerification(verification.token)))

    _signed_in_and_protected(world, phone)


def test_way_back_reset_with_no_codes_left_is_refused_unless_vouched(world: World) -> None:
    """A reset that would leave no way in is refused, even by the last code itself; new codes first make it possible."""
    phone, codes = world.enrol()
    for code in codes[:9]:
        world.face.redeem_recovery_code(USER, code)
    with pytest.raises(RecoveryCodesExhausted):
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByRecoveryCode(codes[9]))
    world.face.redeem_recovery_code(USER, codes[9])
    before = world.record()
    with pytest.raises(RecoveryCodesExhausted):
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(phone.code()))
    assert before == world.record()

    world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))
    world.clock.advance(30)
    with pytest.raises(RecoveryCodesExhausted, match="acknowledge_recovery_codes"):
        world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(phone.code()))
    world.save_codes()
    setup = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=ByCode(phone.code()))

    _signed_in_and_protected(world, world.confirm(setup)[0])


def test_way_back_reset_vouched_without_codes(world: World) -> None:
    """The host may answer for a reset that leaves no recovery code."""
    _, codes = world.enrol()
    for code in codes:
        world.face.redeem_recovery_code(USER, code)

    setup = world.face.reset_authenticator(USER, account_name=ACCOUNT, proof=CAROL)

    _signed_in_and_protected(world, world.confirm(setup)[0])


def _wrong_recovery_codes(world: World, count: int) -> None:
    browser = world.browser()
    for _ in range(count):
        with pytest.raises(InvalidCode):
            world.face.redeem_recovery_code(USER, "Z" * 24, browser=browser)
        until = world.face.status(USER, browser=browser).recovery_retry_at
        if until:
            world.clock.now = int(until.timestamp())


def test_way_back_recovery_set_blocked(world: World) -> None:
    """A hundred wrong recovery codes in a known browser block the set; the app still signs in, and a proof by app makes a new set."""
    phone, codes = world.enrol()
    _wrong_recovery_codes(world, 100)
    assert 0 == world.face.status(USER).recovery_codes_remaining
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[0])
    with pytest.raises(RecoveryCodesExhausted):
        world.face.reset_recovery_codes(USER, proof=ByRecoveryCode(codes[0]))

    world.login(phone)
    world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))
    world.clock.advance(30)

    _signed_in_and_protected(world, phone)


def test_way_back_authenticator_blocked(world: World) -> None:
    """A hundred wrong codes in a known browser block the app; a recovery code signs in and enrols it again."""
    phone, codes = world.enrol()
    browser = world.browser()
    for number in range(100):
        with pytest.raises(InvalidCode):
            world.face.verify(USER, phone.wrong_code(), browser=browser)
        retry_at = world.face.status(USER, browser=browser).retry_at
        assert (number < 4 or number == 99) == (retry_at is None)
        if retry_at:
            with pytest.raises(Throttled):
                world.face.verify(USER, phone.code(), browser=browser)
            world.clock.now = int(retry_at.timestamp())
    with pytest.raises(ReenrolmentRequired):
        world.face.verify(USER, phone.code())
    assert world.face.status(USER).required

    token = world.face.redeem_recovery_code(USER, codes[0]).token
    new_phone, _ = world.confirm(world.begin(proof=ByVerification(token)))

    _signed_in_and_protected(world, new_phone)


def test_way_back_help_desk_new_codes(world: World) -> None:
    """Phone and codes are lost: the help desk vouches for new codes, the user signs in with one and enrols."""
    world.enrol()

    codes = world.face.reset_recovery_codes(USER, proof=CAROL)
    token = world.face.redeem_recovery_code(USER, codes[0]).token
    phone, _ = world.confirm(world.begin(proof=ByVerification(token)))

    _signed_in_and_protected(world, phone)


def test_way_back_help_desk_switches_off(world: World) -> None:
    """Phone and codes are lost: the help desk vouches for switching off, the user enrols afresh."""
    world.enrol()

    world.face.disable(USER, proof=CAROL)
    assert not world.face.status(USER).required
    phone, _ = world.enrol()

    _signed_in_and_protected(world, phone)


def test_way_back_everything_blocked(world: World) -> None:
    """App and codes are both blocked: the account stays protected, and only the help desk opens it."""
    phone, codes = world.enrol()
    world.block_authenticator(phone)
    _wrong_recovery_codes(world, 100)
    with pytest.raises(RecoveryCodesExhausted):
        world.face.redeem_recovery_code(USER, codes[0])
    with pytest.raises(ReenrolmentRequired):
        world.face.verify(USER, phone.code())
    assert world.face.status(USER).required

    codes = world.face.reset_recovery_codes(USER, proof=CAROL)
    token = world.face.redeem_recovery_code(USER, codes[0]).token
    phone, _ = world.confirm(world.begin(proof=ByVerification(token)))

    _signed_in_and_protected(world, phone)


def test_a_policy_that_is_the_default_is_used_when_none_is_given(world: World) -> None:
    """The stories above use fast codes; the default policy makes ten of sixteen symbols."""
    world.face = world.new_face(Policy())
    _, codes = world.enrol()

    assert 10 == len(codes)
    assert {19} == {len(code) for code in codes}
    assert FAST != Policy()


def test_an_operation_that_takes_no_proof_has_none() -> None:
    """Any operation can be asked what proves it, as a session does to drop what was spent."""
    settings = World("blocking").face._settings

    assert Authenticate.prepare(settings, USER, Hidden("123456"), None, None).get_proof() is None
    assert Disable.prepare(settings, USER, CAROL, None, None).get_proof() is CAROL


def test_where_there_are_no_recovery_codes_there_is_no_way_back() -> None:
    """P14: a state without any set is refused like one whose codes are all spent."""
    call = World("blocking").face._settings.call("reset_authenticator", USER, None, None)

    assert isinstance(without_a_way_back(call, State(), None), RecoveryCodesExhausted)
    assert without_a_way_back(call, State(), CAROL) is None
