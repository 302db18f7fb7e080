"""Random sequences of steps, taken by the library and the model; a failing one is cut down to what matters."""

from __future__ import annotations

import hashlib
import logging
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from account_model import DAY, MONTH, state_of
from failing_store import FAULTS, NO_FAULT
from trial import SLOW, START, Disagreement, Step, Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOUR = 3600

_CALLS = {
    "begin_setup": 10,
    "confirm_setup": 12,
    "resume_setup": 3,
    "cancel_setup": 2,
    "verify": 20,
    "redeem_recovery_code": 12,
    "authenticate": 6,
    "browser_token": 7,
    "reset_recovery_codes": 5,
    "reset_authenticator": 4,
    "disable": 2,
    "forget": 1,
    "acknowledge_recovery_codes": 4,
    "password_changed": 3,
    "end_sessions": 1,
    "import_authenticator": 1,
    "export_authenticator": 1,
    "reseal": 2,
    "policy": 2,
    "keys": 2,
}
"""How often each is called, beside the others."""
_WAITS = {30: 40, 0: 10, 1: 5, "open": 15, 31: 3, 90: 3, 599: 2, 600: 2, HOUR: 3, DAY: 2, MONTH - 1: 1, MONTH: 2}
_STEPS_BACK = {-1: 2, -30: 2, -60: 2, -61: 2, -HOUR: 1, -DAY: 1, -MONTH: 1}
_JUNK = ("", "12345", "1234567", "junk", "x" * 70, "\u0661\u0662\u0663\u0664\u0665\u0666", None, "12 34-56", "7" * 24)
"""What cannot be a code, and what can although it does not look like one."""

ENROL = (Step("begin_setup", wait=0, proof=("vouched",)), Step("confirm_setup", wait=0, code=("setup", 0), other="own"))


def draw(seed: int, *, faults: bool) -> list[Step]:
    """Return the steps of a sequence."""
    chance = random.Random(seed)
    steps = [Step("policy", wait=0, other=chance.randrange(SLOW))]
    if chance.random() < 0.8:
        steps += ENROL
        if chance.random() < 0.5:
            steps.append(Step("browser_token", wait=0, other="own"))
    length = chance.choice((8, 20, 20, 40))
    while len(steps) < length:
        step = _step(chance, faults=faults)
        steps += [step] * (chance.choice((3, 5, 9, 12)) if chance.random() < 0.06 else 1)
    return steps


def _step(chance: random.Random, *, faults: bool) -> Step:
    call = _pick(chance, _CALLS)
    factor = {"redeem_recovery_code": "recovery_code", "authenticate": chance.choice(("totp", "recovery_code"))}
    code = _code(chance, factor.get(call, "totp"))
    other: int | str = chance.choice(("own", "own", "own", "any", chance.randrange(3)))
    if call == "confirm_setup":
        other = chance.choice(("own",) * 9 + (chance.randrange(3),))
        code = _pick(chance, {("setup", 0): 60, ("setup", 1): 4, ("app", -1, 0): 4, ("wrong",): 12, ("junk", "x"): 1})
    if call in {"policy", "keys"}:
        other = chance.randrange(SLOW)
    if call == "browser_token":
        other = chance.choice(("own",) * 5 + ("old",))
    return Step(
        call,
        wait=_pick(chance, _WAITS if chance.random() < 0.95 else _STEPS_BACK),
        who=chance.choice((0, 0, 0, 1, 2)),
        known=chance.random() < 0.5,
        code=code,
        proof=_proof(chance),
        other=other,
        fault=chance.choice(FAULTS) if faults and chance.random() < 0.15 else NO_FAULT,
        at=chance.choice((0, 0, 1)),
        lost=chance.random() < 0.1,
    )


def _pick(chance: random.Random, weighted: dict[Any, int]) -> Any:
    return chance.choices(list(weighted), list(weighted.values()))[0]


def _code(chance: random.Random, factor: str) -> tuple[Any, ...]:
    if factor == "totp":
        weighted = {
            ("app", -1, 0): 40,
            ("app", -1, chance.choice((-3, -2, -1, 1, 2, 3))): 8,
            ("app", -2, 0): 8,
            ("setup", 0): 6,
            ("wrong",): 30,
            ("junk", chance.choice(_JUNK)): 4,
        }
    else:
        weighted = {
            ("codes", -1, chance.randrange(5)): 45,
            ("codes", -2, chance.randrange(5)): 6,
            ("wrong recovery code", chance.randrange(5)): 25,
            ("no slot",): 15,
            ("junk", chance.choice(_JUNK)): 4,
        }
    return _pick(chance, weighted)


def _proof(chance: random.Random) -> tuple[Any, ...]:
    kind = _pick(chance, {"totp": 25, "recovery_code": 25, "verification": 25, "vouched": 10, "none": 5})
    if kind in {"totp", "recovery_code"}:
        return kind, _code(chance, kind)
    if kind == "verification":
        return kind, chance.randrange(3), chance.choice((0, 0, -1, -1, -2, chance.randrange(9)))
    return () if kind == "none" else (kind,)


@contextmanager
def settled() -> Iterator[None]:
    """Let the library draw the same bytes each time, and keep the log quiet."""
    drawn = 0

    def urandom(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_128(str(drawn).encode()).digest(count)

    logger = logging.getLogger("twofa")
    disabled, logger.disabled = logger.disabled, True
    try:
        with mock.patch.object(os, "urandom", urandom):
            yield
    finally:
        logger.disabled = disabled


def replay(steps: Sequence[Step], *, awaiting: bool) -> tuple[int, str] | None:
    """Take all steps; return at which one library and model differ, and how; `None` if they never do."""
    with settled():
        trial = Trial(awaiting=awaiting)
        for number, step in enumerate(steps):
            try:
                trial.take(step)
            except Disagreement as problem:
                return number, str(problem)
    return None


def judge(seed: int, *, slow: bool = False) -> str:
    """Take the sequence of a seed; return what to print if library and model differ."""
    steps, awaiting = draw(seed, faults=bool(seed & 2)), bool(seed & 1)
    if slow:
        steps[0] = Step("policy", wait=0, other=SLOW)
    if not replay(steps, awaiting=awaiting):
        return ""
    return f"seed {seed}: {transcript(shortest(steps, awaiting=awaiting), awaiting=awaiting)}"


def shortest(steps: Sequence[Step], *, awaiting: bool) -> list[Step]:
    """Leave out of a failing sequence whatever does not matter."""
    kept, size = list(steps), len(steps)
    while size:
        place = 0
        while place < len(kept):
            fewer = kept[:place] + kept[place + size :]
            found = replay(fewer, awaiting=awaiting)
            if found:
                kept = fewer[: found[0] + 1]
            else:
                place += size
        size //= 2
    for place in range(len(kept)):
        for name, default in Step._field_defaults.items():
            plainer = [*kept[:place], kept[place]._replace(**{name: default}), *kept[place + 1 :]]
            kept = plainer if replay(plainer, awaiting=awaiting) else kept
    return kept


def transcript(steps: Sequence[Step], *, awaiting: bool) -> str:
    """Return a failing sequence as something to read, and to paste into a test."""
    lines = [f"replay(awaiting={awaiting}, steps=["]
    with settled():
        trial = Trial(awaiting=awaiting)
        for step in steps:
            given = [repr(step.call)]
            given += [f"{name}={getattr(step, name)!r}" for name in step._fields[1:] if _matters(step, name)]
            try:
                came = trial.take(step)
            except Disagreement as problem:
                came = str(problem)
            when = f"{trial.now - START:+} s, {state_of(trial.model.account)}"
            lines.append(f"    Step({', '.join(given)}),  # {when}: {came}")
    return "\n".join([*lines, "])"])


def _matters(step: Step, name: str) -> bool:
    return getattr(step, name) != Step._field_defaults[name]
