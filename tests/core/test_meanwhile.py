"""What happens to a call while another one writes the same record: during its slow work, or while replies get lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from failing_store import REPLY_AND_LOAD_LOST, REPLY_LOST, Awaiting, FailingStore, Gone
from support import ACCOUNT, FAST, KEY, USER, Awaited, World

from twofa import AsyncTwoFactor, ByCode, ByVerification, EventKind, KeyRing, TwoFactor
from twofa._engine.attempt import LOST_REPLIES
from twofa._engine.hashing import Job
from twofa.errors import CodeReused, InvalidCode, OutcomeUnknown
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from twofa import Change

# --- during slow work ----------------------------------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen in the middle of the next slow work."""
    run = Job.run

    def arrange(event: Callable[[], object]) -> None:
        def interrupted(job: Job) -> Any:
            monkeypatch.setattr(Job, "run", run)
            event()
            return run(job)

        monkeypatch.setattr(Job, "run", interrupted)

    return arrange


@pytest.fixture
def elsewhere(world: World) -> TwoFactor:
    """Another process of the application: a blocking face on the same records, with queues of its own."""
    return TwoFactor(world.store, keys=world.keys, issuer="Example", policy=FAST, clock=world.clock)


def outcome_in_the_trail(world: World) -> tuple[EventKind, object]:
    """Return the last event of the audit trail, and the method it is about."""
    event = world.store.events(USER)[-1]
    return event.kind, event.detail["method"]


def test_a_code_of_an_app_that_was_replaced_meanwhile_is_refused(
    world: World, elsewhere: TwoFactor, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """A right code does not make new recovery codes once another app has taken the place of its own."""
    phone, _ = world.enrol()
    verification = world.login(phone)

    def replace_the_app() -> None:
        setup = elsewhere.begin_setup(USER, account_name=ACCOUNT, proof=ByVerification(verification.token))
        elsewhere.confirm_setup(USER, world.phone(setup).code(), handle=setup.handle)

    meanwhile(replace_the_app)
    with pytest.raises(InvalidCode):
        world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))

    assert (EventKind.CODE_REJECTED, "totp") == outcome_in_the_trail(world)


def test_a_recovery_code_of_a_set_that_was_replaced_meanwhile_is_refused(
    world: World, elsewhere: TwoFactor, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """A right recovery code is worth nothing once new codes have taken the place of its set."""
    phone, codes = world.enrol()

    meanwhile(lambda: elsewhere.reset_recovery_codes(USER, proof=ByCode(phone.code())))
    with pytest.raises(InvalidCode):
        world.face.redeem_recovery_code(USER, codes[0])

    assert (EventKind.CODE_REJECTED, "recovery_code") == outcome_in_the_trail(world)
    assert len(codes) == world.face.status(USER).recovery_codes_remaining


def test_a_code_that_was_spent_meanwhile_is_a_double_click(
    world: World, elsewhere: TwoFactor, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """The code that was accepted elsewhere during the slow work reads as reused, and is not counted as a failure."""
    phone, _ = world.enrol()

    meanwhile(lambda: elsewhere.verify(USER, phone.code()))
    with pytest.raises(CodeReused):
        world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))

    assert "code_reused" == world.kinds()[-1]
    assert 0 == world.face.status(USER).failures


def test_a_code_older_than_one_that_was_accepted_meanwhile_is_wrong(
    world: World, elsewhere: TwoFactor, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    """Only later codes count after that (RFC 6238 §5.2), and the attempt is not counted a second time."""
    phone, _ = world.enrol()

    meanwhile(lambda: elsewhere.verify(USER, phone.code(1)))
    with pytest.raises(InvalidCode):
        world.face.reset_recovery_codes(USER, proof=ByCode(phone.code()))

    assert (EventKind.CODE_REJECTED, "totp") == outcome_in_the_trail(world)
    assert 1 == world.face.status(USER).failures


# --- replies that get lost -----------------------------------------------------------------------------------------


class LosesEveryReply(MemoryStore):
    """A store that makes every change, and never says so."""

    swaps = 0

    def swap(self, user_id: str, change: Change) -> bool:
        self.swaps += 1
        super().swap(user_id, change)
        raise Gone


def face_on(store: MemoryStore, kind: str) -> Any:
    """Return a face on a store, called like a blocking one."""
    options: dict[str, Any] = {"keys": KeyRing(KEY), "issuer": "Example", "policy": FAST}
    return TwoFactor(store, **options) if kind == "blocking" else Awaited(AsyncTwoFactor(Awaiting(store), **options))


kinds = pytest.mark.parametrize("kind", ["blocking", "awaiting"])


@kinds
def test_a_call_gives_up_when_no_reply_ever_comes(kind: str) -> None:
    """A change that shows in the record, but is never acknowledged, ends in `OutcomeUnknown` after three writes."""
    store = LosesEveryReply()
    face = face_on(store, kind)

    with pytest.raises(OutcomeUnknown) as unknown:
        face.begin_setup(USER, account_name=ACCOUNT)

    assert isinstance(unknown.value.__cause__, Gone)
    assert LOST_REPLIES == store.swaps
    assert "pending" == face.status(USER).state


@kinds
def test_a_call_gives_up_when_it_cannot_look_after_a_lost_reply(kind: str) -> None:
    """Where neither the reply nor the record can be had, nobody knows what happened, and the call says so."""
    store = FailingStore()
    face = face_on(store, kind)

    store.plan(REPLY_AND_LOAD_LOST, 0)
    with pytest.raises(OutcomeUnknown) as unknown:
        face.begin_setup(USER, account_name=ACCOUNT)

    assert isinstance(unknown.value.__cause__, Gone)
    assert "pending" == face.status(USER).state


@kinds
def test_an_erasure_whose_reply_is_lost_is_seen_in_the_empty_record(kind: str) -> None:
    """A record that is gone shows that `forget` has happened, so the call ends as if the reply had come."""
    store = FailingStore()
    face = face_on(store, kind)
    face.begin_setup(USER, account_name=ACCOUNT)

    store.plan(REPLY_LOST, 0)
    face.forget(USER, proof=None)

    assert store.load(USER) is None
