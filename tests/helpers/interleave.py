"""Two calls on one record, stepped through every order in which their loads and swaps can fall.

Nothing here depends on time: a call stops before each step on the store, and a list of choices says who goes on.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from support import ACCOUNT, FAST, KEY, OTHER_KEY, USER, Clock, World

from twofa import (
    AsyncTwoFactor,
    ByCode,
    ByRecoveryCode,
    ByVerification,
    Change,
    KeyRing,
    RecoveryCodes,
    Setup,
    TwoFactor,
    Verification,
    Vouched,
)
from twofa._engine.attempt import open_record
from twofa.errors import TwoFactorError
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence

    from twofa import Event, Policy, Stored
    from twofa._record.state import State

T = TypeVar("T")

CAROL = Vouched(by="support:carol", reason="identity checked, ticket 4711")


# --- every order ---------------------------------------------------------------------------------------------------


def every_order(run: Callable[[Callable[[int], int]], T]) -> Iterator[T]:
    """Run again and again, until every choice that `run` asks for was made in every way."""
    prefix: list[int] = []
    while True:
        taken: list[tuple[int, int]] = []

        def choose(among: int, prefix: list[int] = prefix, taken: list[tuple[int, int]] = taken) -> int:
            choice = prefix[len(taken)] if len(taken) < len(prefix) else 0
            taken.append((choice, among))
            return choice

        yield run(choose)
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        choice, _ = taken.pop()
        prefix = [*(earlier for earlier, _ in taken), choice + 1]


def first_come(_among: int) -> int:
    """Choose the first call until it has ended."""
    return 0


# --- two calls of the blocking face --------------------------------------------------------------------------------


class _SteppedStore:
    """Lets a call's thread take one step at a time."""

    def __init__(self, inner: MemoryStore, calls: int) -> None:
        self._inner = inner
        self._mine = threading.local()
        self._go = [threading.Semaphore(0) for _ in range(calls)]
        self._stopped = threading.Semaphore(0)
        self.finished: set[int] = set()

    def perform(self, number: int, call: Callable[[], T]) -> T:
        """Carry out a call in this thread, from its first stop to its end."""
        self._mine.number = number
        try:
            return call()
        finally:
            self.finished.add(number)
            self._stopped.release()

    def await_stop(self) -> None:
        """Wait until a call stops before a step, or ends."""
        self._stopped.acquire()

    def step(self, number: int) -> None:
        """Let a call go on to its next stop, or its end."""
        self._go[number].release()
        self._stopped.acquire()

    def _stop(self) -> None:
        self._stopped.release()
        self._go[self._mine.number].acquire()

    def load(self, user_id: str) -> Stored | None:
        self._stop()
        return self._inner.load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        self._stop()
        return self._inner.swap(user_id, change)


_threads = ThreadPoolExecutor(2, thread_name_prefix="stepped")


def drive_blocking(
    store: MemoryStore, calls: Sequence[Callable[[Any], Any]], choose: Callable[[int], int], **options: Any
) -> list[Any]:
    """Carry out calls on blocking faces, step by step as chosen; return what each gave or raised.

    Each call has a face of its own, as in a process of its own: on one face they would queue, and not every order of
    their steps could happen.
    """
    stepped = _SteppedStore(store, len(calls))
    faces = [TwoFactor(stepped, **options) for _ in calls]
    futures = [
        _threads.submit(stepped.perform, number, lambda call=call, face=faces[number]: attempt(lambda: call(face)))
        for number, call in enumerate(calls)
    ]
    for _ in calls:
        stepped.await_stop()
    while len(stepped.finished) < len(calls):
        waiting = [number for number in range(len(calls)) if number not in stepped.finished]
        stepped.step(waiting[choose(len(waiting))] if len(waiting) > 1 else waiting[0])
    return [future.result() for future in futures]


# --- two calls of the async face -----------------------------------------------------------------------------------


class Pause:
    """One turn of whatever drives the coroutine."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class PausingStore:
    """A true async store: every step waits one turn before it happens, and one before its reply arrives."""

    def __init__(self, inner: MemoryStore | None = None, *, slow_reply: bool = True) -> None:
        self.inner = inner if inner is not None else MemoryStore()
        self._slow_reply = slow_reply

    async def load(self, user_id: str) -> Stored | None:
        """Load between two pauses."""
        await Pause()
        stored = self.inner.load(user_id)
        if self._slow_reply:
            await Pause()
        return stored

    async def swap(self, user_id: str, change: Change) -> bool:
        """Swap between two pauses."""
        await Pause()
        swapped = self.inner.swap(user_id, change)
        if self._slow_reply:
            await Pause()
        return swapped


async def at_once(function: Callable[[], T]) -> T:
    """Run blocking work here and now, for a coroutine that no event loop drives."""
    return function()


def drive_async(
    store: MemoryStore, calls: Sequence[Callable[[Any], Any]], choose: Callable[[int], int], **options: Any
) -> list[Any]:
    """Carry out calls on an async face, step by step as chosen; return what each gave or raised."""
    face = AsyncTwoFactor(PausingStore(store, slow_reply=False), run_blocking=at_once, **options)
    running = {number: attempt_async(call(face)) for number, call in enumerate(calls)}
    outcomes: dict[int, Any] = {}

    def step(number: int) -> None:
        try:
            running[number].send(None)
        except StopIteration as ended:
            outcomes[number] = ended.value
            del running[number]

    for number in list(running):
        step(number)
    while running:
        waiting = sorted(running)
        step(waiting[choose(len(waiting))] if len(waiting) > 1 else waiting[0])
    return [outcomes[number] for number in range(len(calls))]


DRIVERS = {"blocking": drive_blocking, "async": drive_async}


# --- what came of it -----------------------------------------------------------------------------------------------


def attempt(call: Callable[[], T]) -> T | TwoFactorError:
    """Return the value, or the error instead of raising it."""
    try:
        return call()
    except TwoFactorError as error:
        return error


async def attempt_async(call: Awaitable[T]) -> T | TwoFactorError:
    """Return the value, or the error instead of raising it."""
    try:
        return await call
    except TwoFactorError as error:
        return error


def copy_of(stored: Stored | None, user_id: str = USER) -> MemoryStore:
    """Return a store that holds this one record."""
    store = MemoryStore()
    if stored is not None and not store.swap(user_id, Change(None, stored)):
        raise AssertionError("an empty store refused a new record")
    return store


def state_of(stored: Stored | None, user_id: str = USER, namespace: str = "") -> State:
    """Return what a record holds, without its chain of versions."""
    return open_record(KeyRing(KEY, OTHER_KEY).for_user(user_id, namespace), stored).state


def shape(state: State) -> tuple[object, ...]:
    """Return what of a state does not depend on chance: who can do what."""
    device, held, pending = state.authenticator, state.recovery, state.pending
    return (
        state.name,
        device and (device.last_step, device.last_used_at, device.confirmed_at),
        held and (sorted(held.spent), held.slots, held.issued_at, held.length, held.acknowledged),
        pending and (pending.totp is not None, pending.expires_at, pending.wrong_codes),
        state.verification is not None,
        state.generation is not None,
    )


def meaning(outcome: Any, stored: Stored | None, clock: Clock, policy: Policy = FAST) -> tuple[object, ...]:
    """Return what an outcome is worth in the record that is left: which of the things that it granted are live."""
    state = state_of(stored)
    if isinstance(outcome, TwoFactorError):
        return type(outcome).__name__, getattr(outcome, "retry_at", None)
    face = TwoFactor(copy_of(stored), keys=KeyRing(KEY, OTHER_KEY), issuer="Example", policy=policy, clock=clock)
    if isinstance(outcome, Verification):
        proof = ByVerification(outcome.token)
        served = attempt(lambda: face.begin_setup(USER, account_name=ACCOUNT, proof=proof))
        return (
            outcome.method,
            outcome.recovery_codes_remaining,
            outcome.step_offset,
            "token serves" if isinstance(served, Setup) else type(served).__name__,
            outcome.generation == state.generation,
        )
    if isinstance(outcome, RecoveryCodes):
        redeemed = attempt(lambda: face.redeem_recovery_code(USER, outcome[-1]))
        worth = "codes serve" if isinstance(redeemed, Verification) else type(redeemed).__name__
        return "RecoveryCodes", worth, outcome.generation == state.generation
    if isinstance(outcome, Setup):
        again = attempt(lambda: face.resume_setup(USER, account_name=ACCOUNT, handle=outcome.handle))
        return "Setup", isinstance(again, Setup) and again.manual_key == outcome.manual_key
    if isinstance(outcome, str):
        return "generation", outcome == state.generation
    return (repr(outcome),)


def told(events: Sequence[Event]) -> list[str]:
    """Return the kinds of events."""
    return [str(event.kind) for event in events]


def altered(recovery_code: str) -> str:
    """Return a wrong code in the slot of a right one."""
    return recovery_code[:-1] + ("0" if recovery_code[-1] != "0" else "1")


# --- where to start from -------------------------------------------------------------------------------------------


class Scene:
    """A record to start from, and what two callers hold in their hands."""

    def __init__(self, state: str = "active", user_id: str = USER) -> None:
        world = World("blocking")
        self.user_id, self.world, self.clock = user_id, world, world.clock
        self.setup: Setup | None = None
        if state == "pending":
            self.setup = world.begin(user_id)
            self.phone = world.phone(self.setup)
        elif state != "none":
            self.phone, codes = world.enrol(user_id)
            self.codes = list(codes)
            self.token = world.login(self.phone, user_id).token
        if state == "replacing":
            self.setup = world.begin(user_id, proof=ByCode(self.phone.code()))
            world.clock.advance(30)
            self.token = world.login(self.phone, user_id).token
        if self.setup:
            self.setup_phone = world.phone(self.setup)
        if state == "two codes left":
            for code in self.codes[:8]:
                self.token = world.face.redeem_recovery_code(user_id, code).token
            del self.codes[:8]
        self.stored = world.record(user_id)

    def calls(self) -> dict[str, Any]:
        """Return everything that the scene's callers might do, by name."""
        user = self.user_id
        calls: dict[str, Any] = {
            "cancel": lambda face: face.cancel_setup(user),
            "begin": lambda face: face.begin_setup(user, account_name=ACCOUNT, proof=CAROL),
            "reseal": lambda face: face.reseal(user),
        }
        if hasattr(self, "codes"):
            calls |= self._calls_of_the_owner(user)
        if self.setup:
            handle, phone = self.setup.handle, self.setup_phone
            shown, wrong = phone.code(), phone.wrong_code()
            calls |= {
                "confirm": lambda face: face.confirm_setup(user, shown, handle=handle),
                "confirm wrong": lambda face: face.confirm_setup(user, wrong, handle=handle),
                "same setup": lambda face: face.resume_setup(user, account_name=ACCOUNT, handle=handle),
            }
        return calls

    def _calls_of_the_owner(self, user: str) -> dict[str, Any]:
        code, following, wrong = self.phone.code(), self.phone.code(1), self.phone.wrong_code()
        first, second = self.codes[:2]
        by_code, by_recovery_code, by_token = ByCode(code), ByRecoveryCode(first), ByVerification(self.token)
        label = {"account_name": ACCOUNT}
        return {
            "verify": lambda face: face.verify(user, code),
            "verify next": lambda face: face.verify(user, following),
            "verify wrong": lambda face: face.verify(user, wrong),
            "redeem": lambda face: face.redeem_recovery_code(user, first),
            "redeem other": lambda face: face.redeem_recovery_code(user, second),
            "redeem wrong": lambda face: face.redeem_recovery_code(user, altered(first)),
            "new codes": lambda face: face.reset_recovery_codes(user, proof=CAROL),
            "new codes by code": lambda face: face.reset_recovery_codes(user, proof=by_code),
            "new codes by recovery code": lambda face: face.reset_recovery_codes(user, proof=by_recovery_code),
            "new codes by token": lambda face: face.reset_recovery_codes(user, proof=by_token),
            "begin by code": lambda face: face.begin_setup(user, **label, proof=by_code),
            "begin by recovery code": lambda face: face.begin_setup(user, **label, proof=by_recovery_code),
            "begin by token": lambda face: face.begin_setup(user, **label, proof=by_token),
            "password changed": lambda face: face.password_changed(user),
            "sessions ended": lambda face: face.end_sessions(user),
            "acknowledge": lambda face: face.acknowledge_recovery_codes(user),
            "new app": lambda face: face.reset_authenticator(user, **label, proof=CAROL),
            "new app by recovery code": lambda face: face.reset_authenticator(
                user, **label, proof=ByRecoveryCode(second)
            ),
            "disable": lambda face: face.disable(user, proof=CAROL),
            "disable by code": lambda face: face.disable(user, proof=by_code),
            "forget": lambda face: face.forget(user, proof=CAROL),
        }

    def play(self, kind: str, names: Sequence[str], choose: Callable[[int], int], **options: Any) -> tuple[Any, ...]:
        """Carry out calls as chosen; return what each got, what of that is live, and what the record holds."""
        store = copy_of(self.stored, self.user_id)
        events: list[Event] = []
        calls = self.calls()
        options = self.options(on_event=events.append, **options)
        outcomes = DRIVERS[kind](store, [calls[name] for name in names], choose, **options)
        return self.summary(outcomes, store, events)

    def options(self, **others: Any) -> dict[str, Any]:
        """Return what a face on the scene's records is made with."""
        return {"keys": self.world.keys, "issuer": "Example", "policy": FAST, "clock": self.clock, **others}

    def summary(self, outcomes: Sequence[Any], store: MemoryStore, events: Sequence[Event]) -> tuple[Any, ...]:
        """Return what came of calls: the worth of each outcome, the record, and what was told."""
        left = store.load(self.user_id)
        return (
            *(meaning(outcome, left, self.clock) for outcome in outcomes),
            shape(state_of(left)),
            tuple(sorted(told(events))),
        )

    def orders(self, kind: str, names: Sequence[str], **options: Any) -> list[tuple[Any, ...]]:
        """Return what comes of the two calls one after the other, either way round."""
        return [self.play(kind, names, choose, **options) for choose in (first_come, lambda among: among - 1)]
