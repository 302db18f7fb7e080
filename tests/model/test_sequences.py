"""Random sequences of calls: the library does what a model says that knows nothing of it.

`make test` takes two thousand of them, `make proof` a hundred thousand. To look into a failure, paste what is printed
into `FOUND_ONCE`, or call `sequences.judge(seed)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import strength
from sequences import ENROL, judge, replay
from trial import Step

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCES = strength.rounds(2_000, 100_000)
SLOW_SEQUENCES = strength.rounds(12, 400)
PARTS = 20


@pytest.mark.parametrize("part", range(PARTS))
def test_library_and_model_agree(part: int, figure: Callable[[str, int], None]) -> None:
    """Every method, on both faces and a store that fails: outcome, status, generation and events are as promised."""
    seeds = range(part, SEQUENCES, PARTS)
    problems = [judge(seed) for seed in seeds]
    figure("random sequences of calls", len(seeds))

    assert "" == "".join(problems)


@pytest.mark.parametrize("part", range(4))
def test_they_agree_where_hashes_are_slow(part: int) -> None:
    """The same with recovery codes of the usual length, which take a slow hash."""
    problems = [judge(seed, slow=True) for seed in range(part, SLOW_SEQUENCES, 4)]

    assert "" == "".join(problems)


FOUND_ONCE = {
    # what was wrong once: the steps that showed it
    "a right code that comes as the last attempt before the block": [
        Step("policy", other=5),
        *ENROL,
        Step("reset_authenticator", proof=("recovery_code", ("codes", -1, 0))),
    ],
    "a wrong code that comes as the last attempt before the block": [
        Step("policy", other=5),
        *ENROL,
        Step("reset_authenticator", proof=("vouched",)),
        Step("begin_setup", proof=("recovery_code", ("wrong recovery code", 0))),
    ],
    "a login shows codes of a set that is blocked, but not erased yet": [
        Step("policy", other=5),
        *ENROL,
        Step("redeem_recovery_code", code=("wrong recovery code", 0), fault="next load fails"),
        Step("verify"),
    ],
    "a blocked set counts as a way in": [
        Step("policy", other=5),
        *ENROL,
        Step("redeem_recovery_code", code=("codes", -1, 0), fault="next load fails"),
        Step("reset_authenticator", proof=("vouched",)),
        Step("reset_recovery_codes", proof=("recovery_code", ("codes", -1, 1))),
    ],
    "a refusal that lasts for more than 30 days": [
        Step("policy", other=2),
        *ENROL,
        *[Step("verify", code=("wrong",))] * 5,
        Step("verify", wait=-3600),
    ],
}


@pytest.mark.parametrize("awaiting", [False, True])
@pytest.mark.parametrize("found", FOUND_ONCE)
def test_what_was_found_once(found: str, awaiting: bool) -> None:
    """Where library and model differed, they agree now."""
    assert replay(FOUND_ONCE[found], awaiting=awaiting) is None
