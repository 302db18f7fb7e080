"""P13, a stranger cannot lock the owner out: benchmarks/attack_year.py, for fewer days."""

from __future__ import annotations

import pytest
from attack_year import BROWSER, FACTORS, MAILBOX, PASSWORD, SPARING, Attacker, Year

DAYS = 40
"""Long enough for the first window of 30 days to move on."""


@pytest.mark.parametrize("logs_in", [True, False])
def test_whoever_has_only_the_password_locks_nobody_out(logs_in: bool) -> None:
    """The owner never waits in a known browser, and gets in at once elsewhere after a change of the password."""
    outcome = Year(PASSWORD, logs_in=logs_in).run(DAYS)

    assert [] == outcome.waits
    assert DAYS * logs_in == outcome.logins
    assert {factor: [0] * DAYS for factor in FACTORS} == outcome.elsewhere
    assert outcome.blocked_on is None
    assert outcome.looked_at["app"] >= 80


@pytest.mark.parametrize("attacker", [PASSWORD, MAILBOX, BROWSER, SPARING], ids=lambda attacker: attacker.knows)
def test_nobody_guesses_a_code_in_a_year(attacker: Attacker) -> None:
    """Whatever else they have, in 30 days no more than 200 wrong codes are looked at: odds below 0.8 % a year."""
    outcome = Year(attacker, logs_in=True).run(30)

    assert outcome.looked_at["app"] <= 200


def test_whoever_has_the_mailbox_too_takes_a_month_to_close_the_recovery_codes() -> None:
    """As docs/throttling.md says, that is what cannot be promised: the app on day 5, the recovery codes on day 35."""
    outcome = Year(MAILBOX, logs_in=True).run(DAYS)

    assert {"app": 5, "recovery code": 35} == {factor: outcome.closed_on(factor) for factor in FACTORS}
    assert outcome.blocked_on is None
