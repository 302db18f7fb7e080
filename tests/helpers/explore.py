"""Every interleaving of a few calls on one record, with every failure of the store at every step, counted exactly.

A call of the async face goes on by nothing but the replies that its store gives it: its clock stands still, and its
chance is drawn from a stream of its own. So a call is a tree, whose branches are replies, and a moment of several calls
is the record together with the place of each call in its tree. Interleavings that lead to the same moment go on in the
same ways: each moment is looked at once, and the interleavings through it are counted, not repeated. That turns hundreds of
millions of runs into 1.6 million moments; a test carries thousands out one by one and finds the same.
"""

from __future__ import annotations

import hashlib
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from interleave import at_once
from support import USER

from twofa import AsyncTwoFactor, KeyRing
from twofa import _entropy as entropy
from twofa._engine import attempt as run
from twofa._engine.hashing import Job
from twofa._record.recovery import NewCodes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import pytest

    from twofa import Change, Event, Policy, Stored
    from twofa._engine.attempt import Step
    from twofa._record.state import State

LOAD_FAILS = "the load raises"
SWAP_FAILS = "the swap raises and did not happen"
REPLY_LOST = "the swap happened and raises"
SAYS_NO = "the swap happened and says no"
"""As a driver does that sends again what was done already."""


class Gone(Exception):
    """What a driver raises when the connection is lost."""


# --- chance, by call -----------------------------------------------------------------------------------------------


class Chance:
    """Random bytes that depend on whose they are and how many were drawn before, and on nothing else."""

    def __init__(self) -> None:
        self.whose, self.drawn = "nobody", 0

    def random_bytes(self, count: int) -> bytes:
        """Stand in for `entropy.random_bytes`."""
        self.drawn += 1
        return _drawn(self.whose, self.drawn, count)


@lru_cache(100_000)
def _drawn(whose: str, number: int, count: int) -> bytes:
    return hashlib.shake_128(f"{whose} {number}".encode()).digest(count)


def settled(patch: pytest.MonkeyPatch) -> Chance:
    """Replace the chance, keep the log quiet, and work out nothing twice that comes out the same each time."""
    chance = Chance()
    patch.setattr(entropy, "random_bytes", chance.random_bytes)
    patch.setattr(logging.getLogger("twofa"), "disabled", True)
    patch.setattr(KeyRing, "for_user", lru_cache(1000)(KeyRing.for_user))
    patch.setattr(run, "open_record", lru_cache(None)(run.open_record))
    patch.setattr(Job, "run", _once(Job.run))
    patch.setattr(NewCodes, "draw", _drawn_again(NewCodes.draw, chance))
    patch.setattr(run.Attempt, "next", _remembered(run.Attempt.next, chance))
    return chance


def _drawn_again(draw: Callable[[Policy], NewCodes], chance: Chance) -> Callable[[Policy], NewCodes]:
    """Return `NewCodes.draw` with a memory: the same call draws the same codes."""
    known: dict[tuple[object, ...], tuple[NewCodes, int]] = {}

    def drawn(policy: Policy) -> NewCodes:
        key = (chance.whose, chance.drawn, policy)
        if key not in known:
            known[key] = draw(policy), chance.drawn
        codes, chance.drawn = known[key]
        return codes

    return drawn


def _once(work: Callable[[Job], Any]) -> Callable[[Job], Any]:
    """Return `Job.run` with a memory: the same job comes to the same result, which is one object."""
    known: dict[int, tuple[Job, Any]] = {}

    def done(job: Job) -> Any:
        if id(job) not in known:
            known[id(job)] = job, work(job)
        return known[id(job)][1]

    return done


def _remembered(following: Callable[..., Step[Any]], chance: Chance) -> Callable[..., Step[Any]]:
    """Return `Attempt.next` with a memory: a call that is led again to where it was before decides the same again."""
    known: dict[tuple[object, ...], tuple[Step[Any], Step[Any] | None, bool, int]] = {}

    def remembered(self: Any, stored: Stored | None) -> Step[Any]:
        # By identity: steps and the results of slow work are kept here and in `_once`, so none is taken for another.
        where = (chance.whose, chance.drawn, self.operation.name)
        key = (*where, stored, id(self._offered), self._seen, id(self._done))
        if key not in known:
            step = following(self, stored)
            known[key] = step, self._offered, self._seen, chance.drawn
        step, self._offered, self._seen, chance.drawn = known[key]
        return step

    return remembered


# --- one call as a tree --------------------------------------------------------------------------------------------


class _Ask:
    """A step of a call: a request to the store, until there is a reply."""

    def __init__(self, request: object) -> None:
        self._request = request

    def __await__(self) -> Generator[object, Any, Any]:
        reply = yield self._request
        if isinstance(reply, Gone):
            raise reply
        return reply


class AskingStore:
    """An async store whose every `load` and `swap` waits for the explorer's reply."""

    async def load(self, _user_id: str) -> Stored | None:
        """Ask for the record."""
        return await _Ask(None)

    async def swap(self, _user_id: str, change: Change) -> bool:
        """Ask for a change."""
        return await _Ask(change)


class _Live:
    """A coroutine on its way, with its own chance and what it has told so far."""

    def __init__(self, ground: Ground, caller: Caller) -> None:
        self._ground, self._caller = ground, caller
        self.drawn, self.told = 0, []
        self._coroutine = self._attempt()

    async def _attempt(self) -> object:
        try:
            return await self._caller.call(self._ground.face)
        except Exception as failure:  # whatever it raises is its outcome
            return failure.with_traceback(None)

    def send(self, reply: object) -> tuple[bool, Any]:
        """Go on to the next step; return whether the call has ended, and its request or its outcome."""
        ground = self._ground
        chance, ground.told = ground.chance, self.told
        chance.whose, chance.drawn = self._caller.label, self.drawn
        try:
            return False, self._coroutine.send(reply)
        except StopIteration as ended:
            return True, ended.value
        finally:
            self.drawn = chance.drawn

    def close(self) -> None:
        """Let go of a call that nobody goes on with."""
        self._coroutine.close()


class Caller(NamedTuple):
    """One call with a name of its own, so that the same operation can be called twice."""

    label: str
    name: str
    call: Callable[[AsyncTwoFactor], Any]


class Node:
    """A place in the tree of one call: what it asks for, or how it ended."""

    __slots__ = (
        "_ground",
        "_live",
        "_parent",
        "_reply",
        "after",
        "caller",
        "change",
        "ended",
        "new",
        "outcome",
        "told",
    )

    def __init__(self, ground: Ground, caller: Caller, parent: Node | None, reply: Any, live: _Live) -> None:
        self._ground, self.caller, self._parent, self._reply, self._live = ground, caller, parent, reply, live
        self.after: dict[Any, Node] = {}
        self.change: Change | None = None
        """What it wants to swap; without one it wants to load."""
        self.new = -1
        """The record that would be there then."""
        self.outcome: Any = None
        self.told: tuple[Event, ...] = ()
        self.ended, asked = live.send(ground.reply(reply) if parent else None)
        if self.ended:
            self.outcome, self.told = asked, tuple(live.told)
        elif asked is not None:
            self.change, self.new = asked, ground.number(asked.new)

    def go(self, reply: Any) -> Node:
        """Return where a reply leads: the number of a record, whether a swap happened, or `Gone`."""
        node = self.after.get(reply)
        if node is None:
            node = self.after[reply] = Node(self._ground, self.caller, self, reply, self._taken())
        return node

    def _taken(self) -> _Live:
        """Return the coroutine that stands here: the one that came here, or one that is led here anew."""
        live, self._live = self._live, None
        if live is None:
            live = _Live(self._ground, self.caller)
            for reply in self._replies():
                live.send(reply)
        return live

    def _replies(self) -> list[Any]:
        replies: list[Any] = []
        node = self
        while node._parent is not None:
            replies.append(self._ground.reply(node._reply))
            node = node._parent
        return [None, *reversed(replies)]

    def close(self) -> None:
        """Close what is still on its way here and further on."""
        if self._live is not None:
            self._live.close()
        for node in self.after.values():
            node.close()


# --- several calls -------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What went wrong in an interleaving."""

    place: int
    """The call that it went wrong for."""
    kind: str


class Moment(NamedTuple):
    """The record, and where each call stands."""

    record: int
    nodes: tuple[Node, ...]
    fault: Fault | None


class Ground:
    """A record to start from, and the calls on it."""

    def __init__(
        self, stored: Stored | None, chance: Chance, *, keys: KeyRing, careless: bool = False, **options: Any
    ) -> None:
        self.chance, self._careless, self._keys = chance, careless, keys
        self._states: dict[int, State] = {}
        self.told: list[Event] = []
        self.face = AsyncTwoFactor(AskingStore(), keys=keys, run_blocking=at_once, on_event=self._hear, **options)
        self._numbers: dict[Stored | None, int] = {}
        self.records: list[Stored | None] = []
        self._versions: list[str | None] = []
        self._roots: dict[str, Node] = {}
        self.start = self.number(stored)

    def _hear(self, event: Event) -> None:
        """Add to what the call that goes on just now has told."""
        self.told.append(event)

    def number(self, stored: Stored | None) -> int:
        """Return the number of a record."""
        number = self._numbers.setdefault(stored, len(self.records))
        if number == len(self.records):
            self.records.append(stored)
            self._versions.append(None if stored is None else stored.version)
        return number

    def state(self, record: int) -> State:
        """Return what is in a record."""
        if record not in self._states:
            self._states[record] = run.open_record(self._keys.for_user(USER), self.records[record]).state
        return self._states[record]

    def reply(self, reply: Any) -> Any:
        """Return what a call is told: the record for its number."""
        if reply is Gone:
            return Gone()
        return reply if isinstance(reply, bool) else self.records[reply]

    def roots(self, calls: Sequence[tuple[str, Callable[[AsyncTwoFactor], Any]]]) -> tuple[Node, ...]:
        """Return where calls begin; the second of a name gets a label of its own."""
        labels: list[str] = []
        roots = []
        for name, call in calls:
            label = f"{name} {sum(label.startswith(f'{name} ') for label in labels) + 1}"
            labels.append(label)
            if label not in self._roots:
                caller = Caller(label, name, call)
                self._roots[label] = Node(self, caller, None, None, _Live(self, caller))
            roots.append(self._roots[label])
        return tuple(roots)

    def fits(self, record: int, change: Change) -> bool:
        """Whether a change happens on a record."""
        return self._careless or self._versions[record] == change.expected

    def alone(self, node: Node, record: int, writes: int = 99) -> tuple[int, Node]:
        """Go on with one call while no other does, until it has ended or written so often; return what is left."""
        while writes and not node.ended:
            if node.change is None:
                node = node.go(record)
            else:
                record, node = node.new, node.go(True)
                writes -= 1
        return record, node

    def explore(self, roots: tuple[Node, ...], *, faults: bool = True) -> Exploration:
        """Go through all interleavings of calls, each with no fault and with every single one."""
        return Exploration(self, roots, faults=faults)

    def close(self) -> None:
        """Close every call that is still on its way."""
        for root in self._roots.values():
            root.close()


class Exploration:
    """All interleavings of some calls."""

    def __init__(self, ground: Ground, roots: tuple[Node, ...], *, faults: bool) -> None:
        self._ground, self.roots, self._faults = ground, roots, faults
        self._paths: dict[tuple[Any, ...], int] = {}
        self.ends: list[Moment] = []
        """Each way in which it can end, once."""
        self.interleavings = self._count(ground.start, roots, None)
        """How many there are."""
        self.moments = len(self._paths)

    def records(self) -> set[int]:
        """Return every record that was there at some moment."""
        return {record for record, _, _ in self._paths}

    def _count(self, record: int, nodes: tuple[Node, ...], fault: Fault | None) -> int:
        key = (record, nodes, fault)
        known = self._paths.get(key)
        if known is not None:
            return known
        total = 0
        for place, node in enumerate(nodes):
            if not node.ended:
                before, after = nodes[:place], nodes[place + 1 :]
                for left, reply, met in self._steps(record, node, place, fault):
                    total += self._count(left, (*before, node.go(reply), *after), met)
        if not total:
            self.ends.append(Moment(record, nodes, fault))
            total = 1
        self._paths[key] = total
        return total

    def _steps(
        self, record: int, node: Node, place: int, fault: Fault | None
    ) -> Iterator[tuple[int, Any, Fault | None]]:
        """Yield what one call's next step can come to: the record that is left, the reply, and what went wrong."""
        may_fail = self._faults and fault is None
        change = node.change
        if change is None:
            yield record, record, fault
            if may_fail:
                yield record, Gone, _fault(place, LOAD_FAILS)
            return
        happens = self._ground.fits(record, change)
        left = node.new if happens else record
        yield left, happens, fault
        if may_fail:
            yield record, Gone, _fault(place, SWAP_FAILS)
            if happens:
                yield left, Gone, _fault(place, REPLY_LOST)
                yield left, False, _fault(place, SAYS_NO)


@lru_cache
def _fault(place: int, kind: str) -> Fault:
    return Fault(place, kind)
