"""P1 to P7 in every interleaving of calls on one user, with every failure of the store at every step.

`explore` goes through them, `promises` judges how each can end. The numbers are exact: what comes to be left out, or to
be tried twice, changes them.
"""

from __future__ import annotations

import gc
import inspect
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, cast

import pytest
from explore import LOAD_FAILS, REPLY_LOST, SAYS_NO, SWAP_FAILS, AskingStore, Fault, Gone, Ground, settled
from interleave import CAROL, Scene, altered, at_once, attempt, copy_of, every_order, shape, state_of, told
from promises import Judge, worth_of
from support import ACCOUNT, KEY, OTHER_KEY, InAKnownBrowser, Phone

from twofa import TOTP, AsyncTwoFactor, Change, KeyRing
from twofa import asynchronous as aio
from twofa._engine import judging, operation
from twofa._engine.attempt import Attempt, close_record, open_record
from twofa._engine.operations import changes, setup, sign_in
from twofa._engine.operations.revoking import RevokeRecoveryCodes
from twofa._engine.transitions import TABLE, Cell, Requirement
from twofa._record import document
from twofa._record.state import EnrolledTOTP, State
from twofa._record.throttle import Failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twofa import Event, Stored

KEYS = KeyRing(OTHER_KEY, KEY)
"""Records lie under the second one, so that there is something to reseal."""

IMPORTED, COMING = TOTP(bytes(range(20))), TOTP(bytes(range(20, 40)))
"""The app of a user who came from another library, and the one that the calls import."""
IMPORTED_CODES = [f"{number}123456789abcdef0123456789abcdef" for number in "789"]
"""What was printed there. Each has 112 bits, so that no hash takes long."""
WORD = {"by": "ops:carol", "reason": "moved"}

# --- where to start from -------------------------------------------------------------------------------------------

STARTS = {
    "none": "none",
    "pending": "pending",
    "one try left": "pending",
    "expired": "pending",
    "active": "active",
    "replacing": "replacing",
    "two codes left": "two codes left",
    "near the wait": "active",
    "near the block": "active",
    "waiting": "active",
    "exhausted": "active",
    "reenrol": "active",
    "reenrol, pending": "active",
    "disabled": "active",
    "imported": "none",
}
"""Every start, and the scene that it is made from."""

SHOWS = {
    "verify": "code",
    "verify next": "next code",
    "verify by new app": "code of the new app",
    "confirm": "code of the new app",
    "redeem": "first recovery code",
    "redeem other": "second recovery code",
    "new codes by code": "code",
    "new codes by recovery code": "first recovery code",
    "new codes by token": "token",
    "begin by code": "code",
    "begin by recovery code": "first recovery code",
    "begin by token": "token",
    "new app by recovery code": "second recovery code",
    "disable by code": "code",
    "verify imported": "code of the imported app",
}
"""What each call shows; what is shown by two calls can be accepted once."""


class Start(Scene):
    """A record to start from, and everything that might be called on it."""

    def __init__(self, name: str) -> None:
        super().__init__(STARTS[name])
        self.name = name
        user, face = self.user_id, self.world.face
        wrong: list[Callable[[], object]] = []
        if name == "one try left":
            guess = partial(face.confirm_setup, user, self.setup_phone.wrong_code(), handle=self.setup.handle)
            wrong = [guess] * 9
        elif name == "expired":
            self.clock.advance(600)
        elif name in {"near the wait", "waiting"}:
            wrong = [partial(face.verify, user, self.phone.wrong_code())]
            wrong += [partial(face.redeem_recovery_code, user, altered(self.codes[0]))]
            wrong *= 4 if name == "near the wait" else 5
        elif name == "near the block":
            self._fail(99)
        elif name == "exhausted":
            for code in self.codes:
                self.token = face.redeem_recovery_code(user, code).token
        elif name.startswith("reenrol"):
            self.setup = face.reset_authenticator(user, account_name=ACCOUNT, proof=CAROL)
            self.setup_phone = self.world.phone(self.setup)
            if name == "reenrol":
                face.cancel_setup(user)
        elif name == "disabled":
            face.disable(user, proof=CAROL)
        elif name == "imported":
            self._move_in()
        for call in wrong:
            attempt(call)
        self.stored = self.world.record(user)
        self.browser = self.world.browser(user)

    def _fail(self, times: int) -> None:
        """Let codes have been wrong so often in a row, long ago: the waits are over."""
        seal, stored = self.world.keys.for_user(self.user_id), self.stored
        record = open_record(seal, stored)
        before, versions = record.state, record.versions
        # In a browser that the owner knows, a month ago: strangers would be refused long before the block.
        failures = Failures(consecutive=times, block_after=100)
        before = replace(
            before,
            authenticator=replace(before.authenticator, failures=failures),
            recovery=replace(before.recovery, failures=failures),
        )
        after = close_record(seal, before, versions)
        assert self.world.store.swap(self.user_id, Change(stored.version, after))

    def _move_in(self) -> None:
        """Let the user come from another library, with codes that name no slot, and sign in."""
        face, user = self.world.face, self.user_id
        face.import_authenticator(user, IMPORTED.secret, recovery_codes=IMPORTED_CODES, **WORD)
        self.phone = Phone(IMPORTED.uri(account_name=ACCOUNT, issuer="Elsewhere"), self.clock)
        self.codes = list(IMPORTED_CODES)
        self.token = self.world.login(self.phone, user).token

    def calls(self) -> dict[str, Any]:
        """Return everything that might be called, by name."""
        user, secret = self.user_id, COMING.secret
        calls = super().calls() | {
            "status": lambda face: face.status(user),
            "import": lambda face: face.import_authenticator(user, secret, **WORD),
            "import codes": lambda face: face.import_authenticator(user, secret, recovery_codes=IMPORTED_CODES, **WORD),
            "revoke codes": lambda face: _revoke_codes(face, user),
            "export": lambda face: face.export_authenticator(user, account_name=ACCOUNT, **WORD),
        }
        if self.name in {"none", "pending", "disabled"}:
            shown = COMING.code(self.clock.now)
            calls["verify imported"] = lambda face: face.verify(user, shown)
        if self.setup:
            code = self.setup_phone.code()
            calls["verify by new app"] = lambda face: face.verify(user, code)
        if self.name == "near the block":  # which strangers cannot bring about
            browser = self.browser
            calls = {name: partial(_in_a_known_browser, call, browser) for name, call in calls.items()}
        return calls

    def works(self) -> dict[str, Callable[[State], bool]]:
        """Return whether what the calls show would serve in a state."""
        before, step = state_of(self.stored), self.clock.now // 30
        device, held, pending = before.authenticator, before.recovery, before.pending
        first = len(held.spent) if held else 0

        def shown_by(totp: Any, step: int) -> Callable[[State], bool]:
            return lambda after: bool((app := after.authenticator) and totp == app.totp and app.last_step < step)

        def recovery_code(place: int) -> Callable[[State], bool]:
            return lambda after: bool(
                held and (left := after.recovery) and held.hashes == left.hashes and place not in dict(left.spent)
            )

        return {
            "code": shown_by(device and device.totp, step),
            "next code": shown_by(device and device.totp, step + 1),
            "code of the new app": shown_by(pending and pending.totp, step),
            "code of the imported app": shown_by(EnrolledTOTP.of(COMING), step),
            "first recovery code": recovery_code(first),
            "second recovery code": recovery_code(first + 1),
            "token": lambda after: after.verification is not None and after.verification.token == self.token,
        }


def _revoke_codes(face: Any, user: str) -> Any:
    """Do what `python -m twofa revoke-codes` does, to every set that was made until now."""
    plain = getattr(face, "_face", face)
    now = plain._settings.now()
    return plain._carry_out(RevokeRecoveryCodes.prepare(plain._settings, user, before=now, source=None, **WORD))


def _in_a_known_browser(call: Callable[[Any], Any], browser: str, face: Any) -> Any:
    return call(InAKnownBrowser(face, browser))


@cache
def start_from(name: str) -> Start:
    """Return a start, the same in every run."""
    with pytest.MonkeyPatch.context() as patch:
        settled(patch).whose = name
        return Start(name)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep out who would look at each of millions of steps: the garbage collector, and the measuring of coverage."""
    tracer = sys.gettrace()
    measured = type(tracer).__module__.startswith("coverage")
    gc.disable()
    if measured:
        sys.settrace(None)
    try:
        yield
    finally:
        if measured:
            sys.settrace(tracer)
        gc.enable()


@contextmanager
def ground_of(start: Start, *, careless: bool = False) -> Iterator[Ground]:
    """Provide the ground to explore from a start."""
    with pytest.MonkeyPatch.context() as patch, undisturbed():
        ground = Ground(start.stored, settled(patch), careless=careless, **start.options(keys=KEYS))
        try:
            yield ground
        finally:
            ground.close()


def roots_of(ground: Ground, start: Start, names: Sequence[str]) -> tuple[Any, ...]:
    """Return where calls begin."""
    calls = start.calls()
    return ground.roots([(name, calls[name]) for name in names])


def explored(name: str, combinations: Sequence[Sequence[str]], *, faults: bool = True) -> tuple[int, int, int, int]:
    """Hold all interleavings of calls against the promises; return how many there are, and how many odd ends."""
    start = start_from(name)
    with ground_of(start) as ground:
        judge = Judge(ground, SHOWS, start.works(), in_a_known_browser=name == "near the block")
        interleavings = ends = 0
        for names in combinations:
            exploration = ground.explore(roots_of(ground, start, names), faults=faults)
            interleavings += exploration.interleavings
            ends += len(exploration.ends)
            for complaint in judge.complaints(exploration):
                pytest.fail(f"{name}: {complaint}")
        return interleavings, ends, judge.between, judge.twice


# --- two calls, three calls ----------------------------------------------------------------------------------------

PAIRS: dict[str, tuple[int, int, int, int]] = {
    "none": (1_754, 588, 0, 0),
    "pending": (6_108, 1_869, 0, 0),
    "one try left": (5_713, 1_685, 0, 0),
    "expired": (5_906, 1_900, 0, 0),
    "active": (699_994, 69_426, 344, 14),
    "replacing": (758_549, 80_059, 344, 14),
    "two codes left": (691_876, 68_514, 344, 14),
    "near the wait": (311_290, 43_598, 1_000, 14),
    "near the block": (316_354, 43_274, 3_730, 14),
    "waiting": (20_376, 7_189, 0, 8),
    "exhausted": (62_859, 14_805, 7, 9),
    "reenrol": (277_700, 32_515, 28, 12),
    "reenrol, pending": (305_805, 37_283, 28, 12),
    "disabled": (15_163, 5_902, 0, 8),
    "imported": (677_640, 67_678, 13_416, 14),
}
"""From every start, for all pairs: interleavings, ends, and of these the ones that `Judge` calls `between` and `twice`."""


@pytest.mark.parametrize("name", STARTS)
def test_every_interleaving_of_two_calls_keeps_the_promises(name: str, figure: Callable[[str, int], None]) -> None:
    """P1 to P7 for every two calls, each with itself too, with each failure of the store at each step."""
    pairs = list(combinations_with_replacement(start_from(name).calls(), 2))

    found = explored(name, pairs)

    figure("interleavings", found[0])
    assert PAIRS[name] == found


TRIPLES = {
    # two redemptions and new codes
    ("active", "redeem", "redeem", "new codes"): (3_594_192_736, 321_420, 0, 0),
    ("active", "redeem", "new codes", "new app"): (28_337_809, 25_337, 0, 0),
    # two verifications and a reset
    ("active", "verify", "verify", "new app"): (12_716, 352, 0, 0),
    ("active", "verify", "verify next", "new app"): (82_136, 1_052, 0, 0),
    ("active", "verify", "verify wrong", "new app"): (82_136, 1_052, 0, 0),
    ("active", "verify", "verify", "new codes"): (87_340, 854, 0, 0),
    ("active", "verify", "verify", "disable"): (12_716, 352, 0, 0),
    ("active", "verify", "verify", "forget"): (12_520, 280, 0, 8),
    ("replacing", "verify", "verify", "new app"): (12_716, 352, 0, 0),
    ("active", "verify", "verify", "verify"): (5_178, 156, 0, 0),
    # a confirm, a cancel and a verify
    ("replacing", "confirm", "cancel", "verify"): (98_489, 1_007, 0, 0),
    ("replacing", "confirm", "cancel", "verify by new app"): (91_389, 909, 0, 0),
    ("replacing", "confirm", "confirm", "verify"): (259_466, 1_506, 0, 0),
    ("replacing", "confirm", "verify", "new app"): (174_029, 1_391, 0, 0),
    ("replacing", "confirm", "new codes", "verify next"): (534_867, 2_659, 0, 0),
    ("pending", "confirm", "cancel", "verify by new app"): (1_248, 93, 0, 0),
    ("pending", "confirm", "confirm", "cancel"): (27_596, 263, 0, 0),
    ("pending", "confirm", "begin", "cancel"): (37_329, 654, 0, 0),
    ("pending", "confirm", "confirm", "status"): (2_836, 110, 0, 0),
    ("reenrol, pending", "confirm", "cancel", "redeem"): (8_388_489, 8_120, 0, 0),
    ("reenrol, pending", "confirm", "confirm", "cancel"): (27_596, 263, 0, 0),
    # wrong guesses in parallel, with and without the right one
    ("active", "verify wrong", "verify wrong", "verify wrong"): (143_718, 1_860, 0, 0),
    ("active", "verify wrong", "verify wrong", "verify"): (143_718, 1_860, 0, 0),
    ("near the wait", "verify wrong", "verify wrong", "verify wrong"): (5_178, 156, 0, 0),
    ("near the wait", "verify wrong", "verify wrong", "verify"): (51_358, 724, 0, 0),
    ("near the wait", "redeem wrong", "redeem wrong", "redeem wrong"): (53_970, 624, 0, 0),
    ("near the wait", "redeem wrong", "redeem wrong", "redeem"): (528_930_890, 24_516, 320, 0),
    ("near the block", "verify wrong", "verify wrong", "verify wrong"): (5_178, 156, 0, 0),
    ("near the block", "verify wrong", "verify wrong", "verify"): (51_358, 724, 0, 0),
    ("near the block", "redeem wrong", "redeem wrong", "redeem wrong"): (53_970, 624, 0, 0),
    ("near the block", "redeem wrong", "redeem wrong", "redeem"): (528_930_890, 24_516, 320, 0),
    ("pending", "confirm wrong", "confirm wrong", "confirm wrong"): (143_718, 1_860, 0, 0),
    ("one try left", "confirm wrong", "confirm wrong", "confirm"): (10_860, 204, 0, 0),
    # one token, one code, one key
    ("active", "begin by token", "new codes by token", "verify"): (25_699, 448, 0, 0),
    ("active", "begin by code", "disable by code", "verify"): (8_947, 254, 0, 0),
    ("active", "verify", "reseal", "new codes"): (136_620, 1_426, 0, 0),
    ("active", "verify", "reseal", "forget"): (46_930, 606, 0, 0),
    # moving in and out
    ("none", "import", "import codes", "verify imported"): (3_168, 215, 0, 0),
    ("none", "import", "verify imported", "verify imported"): (886, 123, 0, 0),
    ("none", "import codes", "import codes", "begin"): (259_466, 1_506, 0, 0),
    ("pending", "import codes", "confirm", "verify imported"): (6_676, 256, 0, 0),
    ("pending", "import", "confirm", "cancel"): (18_599, 350, 0, 0),
    ("active", "export", "new app", "verify"): (82_136, 1_052, 0, 0),
    ("active", "redeem", "verify", "revoke codes"): (10_401_367, 12_440, 5_944, 0),
    ("active", "revoke codes", "reseal", "new codes"): (111_238, 1_148, 0, 0),
    ("active", "disable", "import", "verify"): (2_153, 247, 0, 0),
}
"""The start and three calls, with the same four numbers."""

LONG_TRIPLES = {
    ("imported", "redeem wrong", "redeem wrong", "redeem wrong"): (240_040_122, 28_032, 0, 0),
    ("imported", "redeem", "redeem", "new codes"): (4_384_848, 3_548, 1_984, 0),
    ("imported", "redeem", "redeem other", "new app"): (1_933_578, 2_336, 0, 0),
    ("active", "redeem wrong", "redeem wrong", "redeem wrong"): (240_040_122, 28_032, 0, 0),
    ("two codes left", "redeem", "redeem other", "new codes"): (4_539_004, 4_088, 0, 0),
    ("two codes left", "redeem", "redeem other", "new app"): (1_933_578, 2_336, 0, 0),
}
"""The same while the store does not fail: of three guesses at recovery codes there are 12,666,262,542 if it does."""


@pytest.mark.parametrize("case", TRIPLES, ids=", ".join)
def test_every_interleaving_of_three_calls_keeps_the_promises(
    case: tuple[str, ...], figure: Callable[[str, int], None]
) -> None:
    """P1 to P7 for the triples in which one call could get between two others, with each failure at each step."""
    name, *names = case

    found = explored(name, [names])

    figure("interleavings", found[0])
    assert TRIPLES[case] == found


@pytest.mark.parametrize("case", LONG_TRIPLES, ids=", ".join)
def test_every_interleaving_of_three_long_calls_keeps_the_promises(
    case: tuple[str, ...], figure: Callable[[str, int], None]
) -> None:
    """The same for triples of calls that count first and judge then, while the store does not fail."""
    name, *names = case

    found = explored(name, [names], faults=False)

    figure("interleavings", found[0])
    assert LONG_TRIPLES[case] == found


def test_how_many_interleavings_there_are() -> None:
    """The number that the documentation names."""
    assert 5_199_138_367 == sum(found[0] for found in (*PAIRS.values(), *TRIPLES.values(), *LONG_TRIPLES.values()))


# --- a sample, one by one ------------------------------------------------------------------------------------------

SAMPLE = [
    ("active", "verify", "new codes"),
    ("active", "redeem", "disable"),
    ("active", "reseal", "verify wrong"),
    ("replacing", "confirm", "verify by new app"),
    ("near the wait", "redeem", "redeem wrong"),
    ("disabled", "begin", "forget"),
    ("pending", "confirm", "cancel", "verify by new app"),
]


class Taken:
    """One interleaving, carried out step by step on a `MemoryStore`, with chance as it comes."""

    def __init__(self, start: Start, names: Sequence[str], choose: Callable[[int], int]) -> None:
        self._start, self._choose = start, choose
        self._store = copy_of(start.stored, start.user_id)
        self._told: list[Any] = []
        self._face = AsyncTwoFactor(
            AskingStore(), run_blocking=at_once, on_event=self._told.append, **start.options(keys=KEYS)
        )
        calls = start.calls()
        self._running = {place: self._attempt(calls[name]) for place, name in enumerate(names)}
        self._asked: dict[int, Any] = {}
        self._outcomes: dict[int, Any] = {}
        self._events: dict[int, list[Any]] = {place: [] for place in self._running}
        self._fault: Fault | None = None
        for place in list(self._running):
            self._go(place, None)
        while self._running:
            waiting = sorted(self._running)
            place = waiting[choose(len(waiting))] if len(waiting) > 1 else waiting[0]
            self._go(place, self._reply(place))

    async def _attempt(self, call: Callable[[Any], Any]) -> Any:
        try:
            return await call(self._face)
        except Exception as failure:  # whatever it raises is its outcome
            return failure

    def _go(self, place: int, reply: Any) -> None:
        try:
            self._asked[place] = self._running[place].send(reply)
        except StopIteration as ended:
            self._outcomes[place] = ended.value
            del self._running[place]
        self._events[place] += self._told
        self._told.clear()

    def _reply(self, place: int) -> Any:
        user, change = self._start.user_id, self._asked[place]
        stored = self._store.load(user)
        fits = change is not None and change.expected == (stored and stored.version)
        kinds = [LOAD_FAILS] if change is None else [SWAP_FAILS, REPLY_LOST, SAYS_NO] if fits else [SWAP_FAILS]
        kind = None if self._fault else (None, *kinds)[self._choose(len(kinds) + 1)]
        self._fault = Fault(place, kind) if kind else self._fault
        if kind in {LOAD_FAILS, SWAP_FAILS}:
            return Gone()
        if change is None:
            return stored
        swapped = self._store.swap(user, change)
        return {REPLY_LOST: Gone(), SAYS_NO: False}.get(kind, swapped)

    def summary(self) -> tuple[Any, ...]:
        """Return what came of it."""
        calls = [(self._outcomes[place], self._events[place]) for place in sorted(self._outcomes)]
        return summary(self._store.load(self._start.user_id), self._fault, calls)


def summary(left: Stored | None, fault: Fault | None, calls: Sequence[tuple[Any, Sequence[Event]]]) -> tuple[Any, ...]:
    """Return what went wrong, what is left, and what each call got and told."""
    after = state_of(left)
    got = ((*worth_of(outcome, after), *told(events)) for outcome, events in calls)
    return fault, left is None, repr(shape(after)), *got


@pytest.mark.parametrize("case", SAMPLE, ids=", ".join)
def test_one_by_one_the_interleavings_come_to_the_same(case: tuple[str, ...]) -> None:
    """Each carried out from its first step to its last, there are as many, and they end in the same ways."""
    name, *names = case
    start = start_from(name)
    with ground_of(start) as ground:
        exploration = ground.explore(roots_of(ground, start, names))
        expected = {
            summary(ground.records[record], fault, [(node.outcome, node.told) for node in nodes])
            for record, nodes, fault in exploration.ends
        }

    taken = list(every_order(lambda choose: Taken(start, names, choose).summary()))

    assert exploration.interleavings == len(taken)
    assert expected == set(taken)


# --- planted faults ------------------------------------------------------------------------------------------------


def planted(owner: Any, name: str, right: str, wrong: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Return what puts a fault into one function of the library, by its source."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        found = inspect.getattr_static(owner, name)
        function = found.fget if isinstance(found, property) else found
        source = textwrap.dedent(inspect.getsource(function))
        assert 1 == source.count(right)
        code = compile(source.replace(right, wrong), "<planted>", "exec", annotations.compiler_flag)
        made: dict[str, Any] = {}
        exec(code, vars(sys.modules[function.__module__]), made)
        patch.setattr(owner, name, made[name])

    return plant


PLANTED: dict[str, tuple[Any, ...]] = {
    "the store does not compare versions": ("P1", "active", ("verify", "verify"), None),
    "a lost swap is taken for a swap": (
        "P1",
        "active",
        ("redeem", "redeem"),
        planted(aio.AsyncTwoFactor, "_last_step", "if not said(outcome):", "if said(outcome) is None:"),
    ),
    "the record is not read again after a lost swap": (
        "P3",
        "active",
        ("verify", "verify wrong"),
        planted(
            aio.AsyncTwoFactor,
            "_last_step",
            "step = attempt.next(await self._load(attempt.user_id, lost))",
            "attempt.old = attempt.__dict__.get('old') or await self._load(attempt.user_id, lost)\n"
            "        step = attempt.next(attempt.old)",
        ),
    ),
    "what was decided first is written over what is there now": (
        "P1",
        "active",
        ("begin by code", "verify"),
        planted(
            Attempt,
            "_next",
            "decision = self.operation.decide(record, self._done)",
            "decision = self._offered.decision if self._offered else self.operation.decide(record, self._done)",
        ),
    ),
    "a write whose reply was lost is not recognised": (
        "P4",
        "active",
        ("verify", "cancel"),
        planted(Attempt, "_next", "self._offered is not None and (", "False and ("),
    ),
    "a failed swap is always taken for done": (
        "P3",
        "active",
        ("verify", "cancel"),
        planted(Attempt, "_next", "_has_happened(self._offered, record)", "True"),
    ),
    "a record remembers no versions but its own": (
        "P4",
        "active",
        ("verify", "verify wrong"),
        lambda patch: patch.setattr(document, "_REMEMBERED_VERSIONS", 0),
    ),
    "a reseal does not know its own write": (
        "P4",
        "active",
        ("reseal", "reseal"),
        planted(
            Attempt, "_next", "self._offered is not None and", "self._offered and self.operation.name != 'reseal' and"
        ),
    ),
    "a load that fails reads as no record": (
        "P3",
        "active",
        ("verify", "cancel"),
        planted(
            AskingStore,
            "load",
            "return await _Ask(None)",
            "try:\n        return await _Ask(None)\n    except Gone:\n        return None",
        ),
    ),
    "events are told before their write": (
        "P3",
        "active",
        ("verify", "cancel"),
        planted(
            aio.AsyncTwoFactor,
            "_last_step",
            "if step.change is not None:",
            "await self._tell(step.decision.events)\n        if step.change is not None:",
        ),
    ),
    "a TOTP code is not spent": (
        "P1",
        "active",
        ("verify", "begin by code"),
        planted(judging, "judge_totp", "last_step=step,", "last_step=authenticator.last_step,"),
    ),
    "a recovery code is not spent": (
        "P1",
        "active",
        ("redeem", "begin by recovery code"),
        planted(judging, "_judge_hash", "(*held.spent, (done.index, call.now))", "held.spent"),
    ),
    "a verification serves twice as a proof": (
        "P1",
        "active",
        ("begin by token", "begin by token"),
        planted(operation, "judge_proof", "replace(state, verification=None)", "state"),
    ),
    "a wrong TOTP code is not counted": (
        "P2",
        "active",
        ("verify wrong", "cancel"),
        planted(judging, "_wrong_totp", "failures, warnings = _count(", "_, warnings = _count("),
    ),
    "a recovery code is not counted before its hash": (
        "P2",
        "near the wait",
        ("redeem wrong", "redeem wrong"),
        planted(
            judging,
            "_count_recovery_code",
            "state=_with_recovery(state, held, failures),\n        events=(_counted",
            "events=(_counted",
        ),
    ),
    "a wrong code in a set-up is not counted": (
        "P2",
        "pending",
        ("confirm wrong", "confirm wrong"),
        planted(setup.ConfirmSetup, "_wrong_code", "pending.wrong_codes + 1", "pending.wrong_codes"),
    ),
    "nobody waits": (
        "P2",
        "near the wait",
        ("verify wrong", "verify wrong"),
        planted(Failures, "wait_until", "until if until > now else None", "None"),
    ),
    "half of a confirm is written first": (
        "P4",
        "pending",
        ("confirm", "cancel"),
        planted(setup.ConfirmSetup, "judge_code", "Decision(job=", "Decision(state=replace(state, pending=None), job="),
    ),
    "what is pending protects": (
        "P5",
        "none",
        ("begin", "status"),
        planted(
            State, "protected", "self.recovery is not None", "self.recovery is not None or self.pending is not None"
        ),
    ),
    "an app that is not confirmed serves at a login": (
        "P5",
        "replacing",
        ("verify by new app", "cancel"),
        planted(
            sign_in.Verify,
            "judge_code",
            "judge_totp(self.call, state, self.code)",
            "judge_totp(self.call, replace(state, authenticator=replace("
            "state.authenticator, totp=state.pending.totp)), self.code)",
        ),
    ),
    "a reset of the app turns the second factor off": (
        "P6",
        "active",
        ("new app", "status"),
        planted(changes.ResetAuthenticator, "effect", "authenticator=None,", "authenticator=None, recovery=None,"),
    ),
    "a cancelled replacement takes the old app along": (
        "P6",
        "replacing",
        ("cancel", "status"),
        planted(
            setup.CancelSetup,
            "effect",
            "replace(state, pending=None)",
            "replace(state, pending=None, authenticator=None)",
        ),
    ),
    "old recovery codes outlive new ones": (
        "P7",
        "active",
        ("new codes", "status"),
        planted(changes, "issue", "recovery=held", "recovery=passed.state.recovery or held"),
    ),
    "the old app outlives its reset": (
        "P7",
        "active",
        ("new app", "status"),
        planted(changes.ResetAuthenticator, "effect", "authenticator=None,", ""),
    ),
    "revoked recovery codes go on working": (
        "P7",
        "active",
        ("revoke codes", "status"),
        planted(RevokeRecoveryCodes, "decide", "held.blocked()", "held"),
    ),
    "an import replaces what is there": (
        "P6",
        "active",
        ("import", "status"),
        lambda patch: patch.setitem(
            cast("Any", TABLE["import_authenticator"]), "active", Cell(Requirement.NOTHING, "active")
        ),
    ),
    "sessions outlive new codes": (
        "P7",
        "active",
        ("new codes", "status"),
        planted(changes, "issue", "generation=generation,\n            recovery", "recovery"),
    ),
    "sessions outlive a change of the password": (
        "P7",
        "active",
        ("password changed", "status"),
        planted(changes.PasswordChanged, "ended", "generation=self.generation, ", ""),
    ),
}
"""The promise that each breaks, where, in which calls, and how it is planted."""


@pytest.mark.parametrize("fault", PLANTED)
def test_each_planted_fault_is_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library or a store with one fault breaks the promise that the fault is about, in some interleaving."""
    promise, name, names, plant = PLANTED[fault]
    start = start_from(name)
    if plant is not None:
        plant(monkeypatch)
    with ground_of(start, careless=plant is None) as ground:
        judge = Judge(ground, SHOWS, start.works(), in_a_known_browser=name == "near the block")
        exploration = ground.explore(roots_of(ground, start, names))
        broken = {complaint.split(": ")[1] for complaint in judge.complaints(exploration)}

    assert promise in broken
