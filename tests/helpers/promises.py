"""The promises P1 to P7, held against every way in which some calls on one record can end.

Two judges, independent of each other. The first knows no operation's code, only what is promised: what was shown, what
was answered, what is left. The second compares with the same calls one after the other: in some order each must have
got what it got, and left what is left. A call that says that it does not know, because the store failed it, may have
happened there, or not, or have been counted only.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

from explore import LOAD_FAILS, REPLY_LOST, SAYS_NO, SWAP_FAILS, Gone
from interleave import shape

from twofa import RecoveryCodes, Setup, Status, Verification
from twofa._hidden import Hidden
from twofa._record.recovery import Scheme, hash_at, read_recovery_code, salt_at
from twofa.errors import InvalidCode, NotEnrolled, OutcomeUnknown, StoreContention, TwoFactorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from explore import Exploration, Ground, Moment, Node

    from twofa._record.state import State
    from twofa._record.throttle import Failures

UNKNOWN = (Gone, OutcomeUnknown)
"""What a call may raise when the store failed it: it grants nothing, and says that it does not know."""

FAILURES = {"outcome_unknown", "store_failed"}
"""What such a call tells."""
WARNINGS = {"attack_suspected", "recovery_codes_blocked"}
"""What it may have told before, of the attempt that it counted."""

ACCEPTANCE = {"code_accepted", "recovery_code_used", "authenticator_confirmed"}
GUESSES = {"verify wrong": "totp", "redeem wrong": "recovery", "confirm wrong": "setup"}
"""The calls that guess, and what they guess at."""
FACTORS = ("totp", "recovery", "setup")

OFF = ("disable", "forget")
REPLACING = ("confirm", "new app", *OFF)
ACTIVATING = ("confirm", "import")
IN_A_ROW = 5
"""Wrong codes that are answered before the first wait is over."""
BLOCK = 100
"""Wrong codes that block."""


def without(names: Iterable[str], kinds: tuple[str, ...]) -> bool:
    """Whether no call is of the kinds, whatever proves it."""
    return not any(name.startswith(kinds) for name in names)


class Calls(NamedTuple):
    """What some calls have in common."""

    stay_on: bool
    """None of them turns the second factor off."""
    activate_nothing: bool
    """None of them turns the second factor on."""
    erase_nothing: bool
    """None of them erases the record, and what it tells of who wrote it."""


class Judge:
    """Holds explorations on one ground against the promises."""

    def __init__(
        self,
        ground: Ground,
        shows: Mapping[str, str],
        works: Mapping[str, Callable[[State], bool]],
        *,
        in_a_known_browser: bool = False,
    ) -> None:
        """`shows` says what a call shows as its code or proof, by name; `works` whether that would serve in a state."""
        self.in_a_known_browser = in_a_known_browser
        self.ground, self._shows, self._works = ground, shows, works
        self.start = ground.state(ground.start)
        self.between = 0
        """Ends that are as in no order of whole calls, since an attempt was counted while others were under way.

        A right code may so start a wait, into which another call runs, until it is known to be right. The promises hold
        there too, nobody hears more than in some order, and each turn, from a load to a write, is as one after the other.
        """
        self.twice = 0
        """Ends in which a call was carried out again, since its own write had been erased by a `forget` meanwhile."""
        self._numbers: dict[object, int] = {}
        # Half a million ends are made of some thousand places and records.
        self._accepted, self._answered, self._serves = map(cache, (self._accepted, self._answered, self._serves))
        self._miscounted, self._of_one, self._alive = map(cache, (self._miscounted, self._of_one, self._alive))
        self.worth, self.left = cache(self.worth), cache(self.left)

    def complaints(self, exploration: Exploration) -> Iterator[str]:
        """Yield every promise that is broken, with the calls, what went wrong for them, and what they got."""
        names = tuple(root.caller.name for root in exploration.roots)
        for problem in self._on_the_way(exploration, names):
            yield f"{names}: {problem}"
        calls = Calls(without(names, OFF), without(names, ACTIVATING), without(names, ("forget",)))
        orders = Orders(self, exploration.roots)
        for end in exploration.ends:
            for problem in (*self._in_the_end(end, calls), *orders.problems(end)):
                yield f"{names}: {problem}: {end.fault}, {[node.outcome for node in end.nodes]}"

    # --- promise by promise ------------------------------------------------------------------------------------------

    def _on_the_way(self, exploration: Exploration, names: tuple[str, ...]) -> Iterator[str]:
        for root in exploration.roots:
            record, node = self.ground.alone(root, self.ground.start, 1)
            if not node.ended and self.left(record) != self.left(self.ground.start):
                yield "P4: half is written"
        states = [self.ground.state(record) for record in exploration.records()]
        protected = {state.protected for state in states}
        if self.start.protected and without(names, OFF) and protected != {True}:
            yield "P6: the second factor was off in between"
        if not self.start.protected and without(names, ACTIVATING) and protected != {False}:
            yield "P5: what is pending protects the account"
        device = self.start.authenticator
        if device and device.failures.consecutive + len(names) < BLOCK and without(names, REPLACING):
            kept = {state.authenticator and state.authenticator.totp for state in states}
            if kept != {device.totp}:
                yield "P6: the authenticator was gone in between"

    def _in_the_end(self, end: Moment, calls: Calls) -> list[str]:
        record, nodes, fault = end
        accepted = [shown for node in nodes if (shown := self._accepted(node))]
        found = [f"P1: {shown} was accepted and still serves" for shown in accepted if self._serves(shown, record)]
        if len(accepted) > len(set(accepted)):
            found.append(f"P1: accepted twice: {accepted}")
        found += self._miscounted(record, tuple(map(self._answered, nodes)))
        for place, node in enumerate(nodes):
            found += self._of_one(node, fault.kind if fault and fault.place == place else None, calls)
            found += self._alive(node, record)
        return found

    def _accepted(self, node: Node) -> str | None:
        """Return what a call has shown, if it was accepted: by the events, which say so of proofs too."""
        told = any(event.kind in ACCEPTANCE or event.detail.get("proof") == "verification" for event in node.told)
        return self._shows[node.caller.name] if told else None

    def _serves(self, shown: str, record: int) -> bool:
        return self._works[shown](self.ground.state(record))

    def _answered(self, node: Node) -> str | None:
        """Return what a call guessed at, if it was told that it was wrong."""
        return GUESSES.get(node.caller.name) if type(node.outcome) is InvalidCode else None

    def _miscounted(self, record: int, answered: tuple[str | None, ...]) -> list[str]:
        found: list[str] = []
        for factor in FACTORS:
            before, after = _counts(self.start, factor), _counts(self.ground.state(record), factor)
            if before is None or after is None or before.guessed_at != after.guessed_at:
                continue  # what was guessed at is gone, and its count with it
            if not answered.count(factor) <= after.counted - before.counted <= len(answered):
                found.append(f"P2: {answered.count(factor)} answers, {after.counted - before.counted} counted")
            if after.in_a_row > max(IN_A_ROW, before.in_a_row + 1):
                found.append(f"P2: {after.in_a_row} wrong codes in a row")
        return found

    def _of_one(self, node: Node, failed: str | None, calls: Calls) -> list[str]:
        """Return what is wrong with one call's outcome, whatever the others got."""
        outcome, name, found = node.outcome, node.caller.name, []
        unknown = isinstance(outcome, UNKNOWN)
        if isinstance(outcome, StoreContention) or not (
            isinstance(outcome, (TwoFactorError, Gone)) or not isinstance(outcome, BaseException)
        ):
            found.append("P3: an error that is none of ours")
        *before, last = [str(event.kind) for event in node.told] or [""]
        if unknown and (failed is None or last not in FAILURES or not WARNINGS.issuperset(before)):
            found.append("P3: a failure of the store that was not this call's, or that was told as something else")
        # Where nothing is left, it is as `forget` asked, whoever did it.
        if failed in {LOAD_FAILS, SWAP_FAILS} and not unknown and name != "forget":
            found.append("P3: a failure of the store reads as an answer")
        if failed in {REPLY_LOST, SAYS_NO} and unknown and calls.erase_nothing:
            found.append("P4: a call does not know its own write")
        if name in GUESSES and not isinstance(outcome, Exception):
            found.append("P3: a wrong code does not raise")
        if isinstance(outcome, Verification) and self._accepted(node) is None:
            found.append("P1: a login that nobody was told of")
        required = outcome.required if isinstance(outcome, Status) else None
        if self.start.protected and calls.stay_on and (required is False or isinstance(outcome, NotEnrolled)):
            found.append("P3: reads as no second factor")
        if calls.activate_nothing and not self.start.protected and (required or isinstance(outcome, Verification)):
            found.append("P5: what is pending asks for a code, or passes a login")
        if calls.activate_nothing and name == "verify by new app" and isinstance(outcome, Verification):
            found.append("P5: an app that is not confirmed passes a login")
        return found

    def _alive(self, node: Node, record: int) -> list[str]:
        """Return what of old is still alive after a call that was to end it."""
        name, old, new = node.caller.name, self.start, self.ground.state(record)
        if isinstance(node.outcome, Exception) or not old.protected:
            return []
        app = name.startswith(("new app", *OFF)) or name == "confirm"
        codes = name.startswith(("new codes", *OFF)) or name == "confirm" or node.outcome == "revoked"
        devices, sets = (old.authenticator, new.authenticator), (old.recovery, new.recovery)
        found = []
        if app and all(devices) and len({device.totp for device in devices if device}) == 1:
            found.append("P7: the old app is alive")
        if codes and all(sets) and len({held.hashes for held in sets if held}) == 1:
            found.append("P7: the old recovery codes are alive")
        sessions = app or codes or name in {"password changed", "sessions ended"}
        if sessions and (
            old.generation == new.generation or (old.verification and old.verification == new.verification)
        ):
            found.append("P7: old sessions are alive, or an old verification")
        return found

    # --- one after the other -----------------------------------------------------------------------------------------

    def answers(self, nodes: Sequence[Node]) -> int:
        """Return how many calls heard whether what they showed was right.

        An attempt whose secret or set was replaced or blocked meanwhile hears that it was wrong, whatever it was.
        """
        return sum(self._hears(node) for node in nodes)

    def _hears(self, node: Node) -> bool:
        showed = node.caller.name in self._shows or node.caller.name in GUESSES
        judged = [event.kind for event in node.told if event.kind != "code_rejected" or "failures" in event.detail]
        return (
            showed
            and (isinstance(node.outcome, InvalidCode) or not isinstance(node.outcome, Exception))
            and judged != []
        )

    def summary(self, record: int, nodes: Sequence[Node | None]) -> tuple[int | None, ...]:
        """Return what each call got, where that is known, and what is left, by numbers."""
        return (self.left(record), *(node and self.worth(node, record) for node in nodes))

    def worth(self, node: Node, record: int) -> int:
        """Return what a call got is worth in the record that is left, and what it told, as a number."""
        told = [str(event.kind) for event in node.told if event.kind not in WARNINGS]
        worth = *worth_of(node.outcome, self.ground.state(record)), *told
        return self._numbers.setdefault(worth, len(self._numbers) + 1)

    def left(self, record: int) -> int:
        """Return what of a record does not depend on chance, nor on counts of attempts, as a number."""
        left = self.ground.records[record] is None, repr(shape(self.ground.state(record)))
        return self._numbers.setdefault(left, len(self._numbers) + 1)


class Orders:
    """What some calls come to one after the other."""

    def __init__(self, judge: Judge, roots: tuple[Node, ...]) -> None:
        self._judge, self._ground, self._roots = judge, judge.ground, roots
        self._places = range(len(roots))
        whole = list(map(self._in_turn, permutations(self._places)))
        self._whole = {judge.summary(*end) for end in whole}
        self._most = max(judge.answers(nodes) for _, nodes in whole)
        self._twice, self._failing = cache(self._twice), cache(self._failing)
        self._by_turns = cache(self._by_turns)

    def problems(self, end: Moment) -> list[str]:
        """Return what is wrong with an end."""
        record, nodes, fault = end
        unknown = fault.place if fault and isinstance(nodes[fault.place].outcome, UNKNOWN) else None
        known = nodes if unknown is None else [None if place == unknown else nodes[place] for place in self._places]
        summary = self._judge.summary(record, known)
        if fault is None or unknown is None:
            if summary in self._whole:
                return []
            if fault and fault.kind == SAYS_NO and summary in self._twice(fault.place):
                self._judge.twice += 1
                return []
            between = self._by_turns(None)
        else:
            if summary in self._failing(unknown, fault.kind not in {LOAD_FAILS, SWAP_FAILS}):
                return []
            between = self._by_turns(unknown)
        self._judge.between += 1
        found = [] if summary in between else ["P4: as in no order"]
        if self._judge.answers(nodes) > self._most and not self._changes_lanes(nodes):
            found.append("P2: more answers than in any order")
        return found

    def _changes_lanes(self, nodes: Sequence[Node]) -> bool:
        """Whether one call made the others' browser a stranger's, so that in order they are refused unheard.

        At the same time each may have been counted while the browser was still known: no answer without a count.
        """
        lanes = {self._ground.state(self._ground.start).generation}
        lanes |= {getattr(node.outcome, "generation", None) for node in nodes} - {None}
        return self._judge.in_a_known_browser and len(lanes) > 1

    def _in_turn(self, order: Iterable[int], counted: int | None = None) -> tuple[int, tuple[Node, ...]]:
        """Carry out calls one after the other, one of them perhaps only to its first write; return what is left."""
        record, nodes = self._ground.start, list(self._roots)
        for place in order:
            record, nodes[place] = self._ground.alone(self._roots[place], record, 1 if place == counted else 99)
        return record, tuple(nodes)

    def _twice(self, place: int) -> set[tuple[int | None, ...]]:
        """Return what it comes to if a call is carried out twice: an erased record tells nobody who wrote what."""
        if all(root.caller.name != "forget" for root in self._roots):
            return set()
        return {self._judge.summary(*self._in_turn(order)) for order in permutations((*self._places, place))}

    def _failing(self, place: int, happened: bool) -> set[tuple[int | None, ...]]:
        """Return what it may come to if one call does not know whether it happened."""
        ends = []
        for order in permutations(self._places):
            others = [other for other in order if other != place]
            ends.append(self._in_turn(order if happened else others))
            counted = self._in_turn(order, counted=place)
            if not counted[1][place].ended:
                ends.append(counted)
        return {self._known(record, nodes, place) for record, nodes in ends}

    def _by_turns(self, place: int | None) -> set[tuple[int | None, ...]]:
        """Return what calls come to turn by turn, one perhaps not to its end: a count and its answer are two turns."""
        seen, ends = set(), set()
        todo = [(self._ground.start, self._roots)]
        while todo:
            record, nodes = todo.pop()
            if (record, nodes) in seen:
                continue
            seen.add((record, nodes))
            if all(node.ended or other == place for other, node in enumerate(nodes)):
                ends.add(self._known(record, nodes, place))
            for other, node in enumerate(nodes):
                if not node.ended:
                    left, further = self._ground.alone(node, record, 1)
                    todo.append((left, (*nodes[:other], further, *nodes[other + 1 :])))
        return ends

    def _known(self, record: int, nodes: tuple[Node, ...], unknown: int | None) -> tuple[int | None, ...]:
        return self._judge.summary(record, [None if place == unknown else nodes[place] for place in self._places])


class Counts(NamedTuple):
    """How often something was guessed at."""

    guessed_at: object
    counted: int
    in_a_row: int


def _counts(state: State, factor: str) -> Counts | None:
    device, held, pending = state.authenticator, state.recovery, state.pending
    if factor == "setup":
        return Counts(pending.handle, pending.wrong_codes, 0) if pending else None
    if factor == "totp":
        return _counts_of(device.totp, device.failures) if device else None
    return _counts_of(held.hashes, held.failures) if held and held.hashes else None


def _counts_of(guessed_at: object, failures: Failures) -> Counts:
    lanes = failures.known, failures.strangers
    return Counts(guessed_at, sum(len(lane.recent) for lane in lanes), max(lane.in_a_row for lane in lanes))


def worth_of(outcome: Any, state: State) -> tuple[Any, ...]:
    """Return what an outcome is worth: which of the things that it granted are live."""
    if isinstance(outcome, Exception):
        return type(outcome).__name__, getattr(outcome, "retry_at", None)
    if isinstance(outcome, Verification):
        live = state.verification is not None and outcome.token == state.verification.token
        same = outcome.generation == state.generation
        return outcome.method, outcome.recovery_codes_remaining, outcome.step_offset, live, same
    if isinstance(outcome, RecoveryCodes):
        return "codes", len(outcome), _is_code(outcome[-1], state), outcome.generation == state.generation
    if isinstance(outcome, Setup):
        totp = state.pending.totp if state.pending and state.pending.handle == outcome.handle else None
        live = totp is not None and totp.calculator().base32 == outcome.manual_key.replace(" ", "")
        return "setup", live, outcome.generation == state.generation
    if isinstance(outcome, Status):
        return "status", *(getattr(outcome, name) for name in outcome.__slots__ if name != "generation")
    if isinstance(outcome, str):
        return "generation", outcome == state.generation
    return (outcome,)


def _is_code(code: str, state: State) -> bool:
    held = state.recovery
    read = read_recovery_code(Hidden(code), held.length) if held else None
    if held is None or read is None or read.value[0] not in held.slots:
        return False
    place = held.slots.index(read.value[0])
    digest = Scheme.read(held.scheme).digest(salt_at(held.hashes, place), read)
    return place not in dict(held.spent) and digest == hash_at(held.hashes, place)
