"""What a record may be after an operation was interrupted: the cases, the judge of them, and a store that goes wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interleave import Scene, attempt, shape, state_of, told
from support import FAST, KEY, OTHER_KEY, USER

from twofa import Change, KeyRing, TwoFactor
from twofa.stores import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twofa import Stored
    from twofa._record.state import State

CASES = [
    ("none", "begin"),
    ("pending", "begin"),
    ("pending", "cancel"),
    ("pending", "confirm"),
    ("pending", "confirm wrong"),
    ("active", "verify"),
    ("active", "verify wrong"),
    ("active", "redeem"),
    ("active", "redeem wrong"),
    ("active", "begin by code"),
    ("active", "begin by recovery code"),
    ("active", "begin by token"),
    ("active", "new codes"),
    ("active", "new codes by code"),
    ("active", "new codes by recovery code"),
    ("active", "new codes by token"),
    ("active", "new app"),
    ("active", "new app by recovery code"),
    ("active", "disable by code"),
    ("active", "forget"),
    ("replacing", "confirm"),
    ("replacing", "confirm wrong"),
    ("replacing", "cancel"),
    ("active", "reseal"),
]
NAMES = [f"{state}: {name}" for state, name in CASES]

COUNTED_FIRST = {
    "redeem",
    "redeem wrong",
    "begin by recovery code",
    "new codes by code",
    "new codes by recovery code",
    "new app by recovery code",
}
"""What needs slow work, and so writes its count before it."""


def counts(state: State) -> tuple[object, ...]:
    """Return the counted attempts of both factors."""
    return tuple(held and held.failures for held in (state.authenticator, state.recovery))


def counted_once(state: State, now: int) -> list[State]:
    """Return what a state is with one attempt counted, at either factor and nothing else changed."""
    states = []
    if state.authenticator:
        failures = state.authenticator.failures.counted("strangers", FAST.throttle, now)
        states.append(replace(state, authenticator=replace(state.authenticator, failures=failures)))
    if state.recovery:
        failures = state.recovery.failures.counted("strangers", FAST.throttle, now)
        states.append(replace(state, recovery=replace(state.recovery, failures=failures)))
    return states


class Judge:
    """Knows the record before an operation and after it, and says which of the two another record is."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.name = scene, name
        self.before = state_of(scene.stored, scene.user_id)
        store = LossyStore(scene, "nothing", 0)
        attempt(lambda: self.call(face_on(store, scene, name)))
        self.after, self.trail = store.peek(scene.user_id), store.trail

    def call(self, face: TwoFactor) -> Any:
        """Carry the operation out."""
        return self.scene.calls()[self.name](face)

    def verdict(self, stored: Stored | None, trail: Sequence[str]) -> str:
        """Return `before`, `counted` or `after`, or what is wrong with the record."""
        if stored == self.scene.stored and list(trail) == []:
            return "before"
        state = state_of(stored, self.scene.user_id)
        if self.name == "reseal":
            return "after" if state == self.before and list(trail) == [] else "half-way"
        counted = counted_once(self.before, self.scene.clock.now)
        if self.name in COUNTED_FIRST and list(map(str, trail)) == ["attempt_counted"] and state in counted:
            return "counted"
        after = state_of(self.after, self.scene.user_id)
        same = (stored is None) == (self.after is None) and shape(after) == shape(state)
        if same and counts(after) == counts(state) and list(trail) == self.trail:
            return "after"
        return f"half-way: {shape(state)} {counts(state)} {list(trail)}"


def keys_for(name: str) -> KeyRing:
    """Return the ring for an operation: there must be something to reseal."""
    return KeyRing(OTHER_KEY, KEY) if name == "reseal" else KeyRing(KEY)


def face_on(store: Any, scene: Scene, name: str, **options: Any) -> TwoFactor:
    """Return an instance of the application on a scene's records, about to carry out one operation."""
    return TwoFactor(store, **scene.options(keys=keys_for(name), **options))


class Gone(Exception):
    """What a driver raises when the connection is lost."""


class LossyStore(MemoryStore):
    """Goes wrong at one of its steps.

    `says no` and `raises` after the commit, `refuses` (from then on) and `fails` without one; or `load fails`; or
    `nothing` does.
    """

    def __init__(self, scene: Scene, fault: str, at: int) -> None:
        super().__init__()
        self.loads = self.swaps = 0
        self.trail: list[Any] = []
        self.fault, self.at = fault, at
        self.met = self.down = False
        self.between: Callable[[], object] = lambda: None
        self.reload_fails = False
        if scene.stored is not None:
            super().swap(scene.user_id, Change(None, scene.stored))

    def load(self, user_id: str) -> Stored | None:
        self.loads += 1
        if self.down or (self.fault == "load fails" and self.loads == self.at):
            self.met = True
            raise Gone
        return super().load(user_id)

    def swap(self, user_id: str, change: Change) -> bool:
        self.swaps += 1
        if self.swaps < self.at or self.fault in {"nothing", "load fails"} or (self.met and self.fault != "refuses"):
            return self.put(user_id, change)
        self.met = True
        if self.fault in {"says no", "raises"}:
            self.put(user_id, change)
            self.between()
        self.down = self.reload_fails
        if self.fault in {"says no", "refuses"}:
            return False
        raise Gone

    def peek(self, user_id: str = USER) -> Stored | None:
        """Return the record, faults aside."""
        return super().load(user_id)

    def put(self, user_id: str, change: Change) -> bool:
        """Swap, faults aside; keep a trail, or erase it, as a store does."""
        swapped = super().swap(user_id, change)
        if swapped:
            self.trail = [] if change.new is None else self.trail + told(change.events)
        return swapped
