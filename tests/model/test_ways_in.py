"""P14: whatever the owner does, and whichever answer is lost, there is always a way in that needs no help desk.

A search through everything that can become of an account by the owner's own steps. Two moments count as one if the same
things can happen next, so there are some hundred, and all of them are looked at.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from support import ACCOUNT, FAST, KEY, USER

from twofa import (
    TOTP,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    Change,
    KeyRing,
    RecoveryCodes,
    Setup,
    Stored,
    TwoFactor,
    Verification,
)
from twofa._engine.attempt import open_record
from twofa.errors import TwoFactorError
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twofa import Proof
    from twofa._record.state import EnrolledTOTP, State

KEYS = KeyRing(KEY)
POLICY = replace(FAST, recovery_codes=3)
STEP = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An account, and what the owner and the owner's browser have of it."""

    record: Stored | None = None
    now: int = 1_800_000_000
    apps: tuple[str, ...] = ()
    """The URIs that the owner has scanned."""
    codes: tuple[str, ...] = ()
    """The recovery codes that the owner saw last."""
    generation: str | None = None
    """The one that came with them."""
    set_seen: str = ""
    """The hashes of their set, by which it is known whether it is still the account's."""
    handle: str | None = None
    token: str | None = None
    """The verification that the browser has kept."""
    path: tuple[str, ...] = ()
    """The steps that led here."""

    def face(self, store: MemoryStore) -> TwoFactor:
        """Return the application, with a copy of the record."""
        if self.record is not None:
            store.swap(USER, Change(None, self.record))
        return TwoFactor(store, keys=KEYS, issuer="Example", policy=POLICY, clock=lambda: self.now)

    def state(self) -> State:
        """Return what is in the record."""
        return open_record(KEYS.for_user(USER), self.record).state.at(self.now)

    def code_of(self, totp: EnrolledTOTP | None) -> str | None:
        """Return what the owner's app shows for this authenticator, if it was scanned."""
        scanned = map(TOTP.from_uri, self.apps)
        return next((app.code(self.now) for app in scanned if totp and totp.calculator().secret == app.secret), None)

    def codes_left(self, state: State) -> tuple[str, ...]:
        """Return the owner's recovery codes that still work."""
        held = state.recovery
        if held is None or held.hashes != self.set_seen:
            return ()
        spent = {index for index, _ in held.spent}
        return tuple(code for index, code in enumerate(self.codes) if index not in spent)

    def after(self, name: str, store: MemoryStore, answer: object = None) -> Moment:
        """Return the moment after a step, half a minute later, with what has arrived of its answer."""
        arrived: dict[str, Any] = {}
        if isinstance(answer, Setup):
            arrived = {"apps": (*self.apps, answer.uri), "handle": answer.handle}
        elif isinstance(answer, RecoveryCodes):
            arrived = {"codes": tuple(answer), "generation": answer.generation, "token": answer.token}
        elif isinstance(answer, Verification):
            arrived = {"token": answer.token}
        moment = replace(self, record=store.load(USER), now=self.now + STEP, path=(*self.path, name), **arrived)
        state = moment.state()
        if isinstance(answer, RecoveryCodes) and state.recovery:
            moment = replace(moment, set_seen=state.recovery.hashes)
        return moment

    def kind(self) -> tuple[object, ...]:
        """Return what decides what can happen next."""
        state = self.state()
        pending, held = state.pending, state.recovery
        return (
            state.name,
            pending and (pending.totp is not None, pending.handle == self.handle, bool(self.code_of(pending.totp))),
            state.authenticator and bool(self.code_of(state.authenticator.totp)),
            held and (held.remaining, held.acknowledged, len(self.codes_left(state))),
            state.verification and state.verification.token == self.token,
        )


Step: TypeAlias = "Callable[[TwoFactor], object]"


def steps(moment: Moment) -> Iterator[tuple[str, Step]]:
    """Yield all that the owner can do with what they have, but for one thing.

    Where a recovery code is the last thing that the owner has (no app, no other code), it may be spent for a sign-in or
    for new codes, and nobody can make up for an answer that is lost then. `test_transcripts.py` shows the way on from
    there, in the same session.
    """
    state, generation, handle = moment.state(), moment.generation, moment.handle
    pending = state.pending
    proofs: dict[str, Proof | None] = {} if state.protected else {"nothing": None}
    app = moment.code_of(state.authenticator.totp) if state.authenticator else None
    if app:
        proofs["the app"] = ByCode(app)
        yield "verify", lambda face: face.verify(USER, app)
    codes = moment.codes_left(state)
    has_more = bool(app) or len(codes) > 1
    if codes:
        proofs["a recovery code"] = ByRecoveryCode(codes[0])
    if codes and has_more:
        yield "redeem_recovery_code", lambda face: face.redeem_recovery_code(USER, codes[0])
    if state.verification and moment.token == state.verification.token:
        proofs["the verification"] = ByVerification(moment.token)
    for name, proof in proofs.items():
        yield from _with_proof(name, proof, is_the_last_thing=name == "a recovery code" and not has_more)
    if codes:
        yield "acknowledge", lambda face: face.acknowledge_recovery_codes(USER, generation=generation)
    new_app = moment.code_of(pending.totp) if pending else None
    if handle and new_app:
        yield "confirm_setup", lambda face: face.confirm_setup(USER, new_app, handle=handle)
    if handle:
        yield "resume_setup", lambda face: face.resume_setup(USER, handle=handle, account_name=ACCOUNT)
    yield "cancel_setup", lambda face: face.cancel_setup(USER)
    yield "password_changed", lambda face: face.password_changed(USER)


def _with_proof(name: str, proof: Any, *, is_the_last_thing: bool) -> Iterator[tuple[str, Step]]:
    yield f"begin_setup by {name}", lambda face: face.begin_setup(USER, account_name=ACCOUNT, proof=proof)
    yield (
        f"reset_authenticator by {name}",
        lambda face: face.reset_authenticator(USER, account_name=ACCOUNT, proof=proof),
    )
    yield f"disable by {name}", lambda face: face.disable(USER, proof=proof)
    if not is_the_last_thing:
        yield f"reset_recovery_codes by {name}", lambda face: face.reset_recovery_codes(USER, proof=proof)


def next_moments(moment: Moment) -> Iterator[Moment]:
    """Yield what each step leads to, with its answer and without; and what time does, and a tab that is closed.

    A request that never arrives changes nothing but what the browser has: that is the closed tab.
    """
    for name, step in steps(moment):
        store = MemoryStore()
        try:
            answer = step(moment.face(store))
        except TwoFactorError:
            yield moment.after(f"{name}, refused", store)
        else:
            yield moment.after(name, store, answer)
            yield moment.after(f"{name}, answer lost", store)
    yield replace(moment, handle=None, token=None, path=(*moment.path, "tab closed"))
    yield replace(moment, now=moment.now + 600, path=(*moment.path, "ten minutes"))


def gets_in(moment: Moment) -> bool:
    """Whether the owner can sign in with a fresh browser: nothing is asked for, or there is a code that serves."""
    state = moment.state()
    attempts: list[Step] = []
    if app := moment.code_of(state.authenticator and state.authenticator.totp):
        attempts.append(lambda face: face.verify(USER, app))
    attempts += [lambda face, code=code: face.redeem_recovery_code(USER, code) for code in moment.codes_left(state)]
    for attempt in attempts:
        with contextlib.suppress(TwoFactorError):
            return isinstance(attempt(moment.face(MemoryStore())), Verification)
    return not moment.face(MemoryStore()).status(USER).required


def test_there_is_always_a_way_in(figure: Callable[[str, int], None]) -> None:
    """From nothing on, through every step and every lost answer: the owner can sign in with a fresh browser."""
    start = Moment()
    seen, waiting = {start.kind()}, deque([start])
    while waiting:
        for moment in next_moments(waiting.popleft()):
            if moment.kind() not in seen:
                seen.add(moment.kind())
                waiting.append(moment)
                assert gets_in(moment), " > ".join(moment.path)
    figure("kinds of moments from which the owner gets in", len(seen))

    assert {"none", "pending", "active", "reenrol"} == {kind[0] for kind in seen}
