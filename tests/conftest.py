"""What every test gets: deterministic Hypothesis, the `world` on both faces, and the rules of this suite.

`heavy` and `proof` say which tests run when: see `make help`, and the lists below.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import hypothesis
import pytest
import strength
from support import World

if TYPE_CHECKING:
    from collections.abc import Callable

pytest_plugins = ["not_tested"]

hypothesis.settings.register_profile(
    "twofa", derandomize=True, deadline=None, database=None, max_examples=strength.rounds(100, 1000)
)
hypothesis.settings.load_profile("twofa")


@pytest.fixture(params=["blocking", "awaiting"])
def world(request: pytest.FixtureRequest) -> World:
    """A fresh application, once with each face."""
    return World(request.param)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Count something that the documentation gives the number of: the run prints each sum at its end."""
    return lambda what, count: record_property(f"figure {what}", count)


HEAVY = (
    "races/test_crash.py",
    "races/test_interleavings.py",
    "races/test_races.py",
    "session/test_model.py",
    "session/test_parallel.py",
    "session/test_session_interleavings.py",
    "stores/test_sqlalchemy_races.py",
    "stores/test_sqlalchemy_replication.py",
    "stores/redis_store/test_redis_failover.py",
    "stores/redis_store/test_redis_races.py",
    "stores/redis_store/test_redis_resharding.py",
)
"""Files whose tests take long: `heavy`, since what they run is measured by quicker tests too."""

PROOF = (
    "races/test_interleavings.py::test_every_interleaving_of_two_calls",
    "races/test_interleavings.py::test_every_interleaving_of_three",
    "stores/test_sqlalchemy_replication.py",
    "stores/redis_store/test_redis_failover.py",
    "stores/redis_store/test_redis_resharding.py",
)
"""Tests that only `make proof` runs, but for the ones in `SAMPLE`."""

SAMPLE = ("[pending]", "[near the wait]", "[reenrol]", "[active, verify, verify, new app]")
"""Of the interleavings, what every run looks at."""


def _mark_by_name(item: pytest.Item) -> None:
    name = item.nodeid.removeprefix("tests/")
    if name.startswith(HEAVY):
        item.add_marker("heavy")
    if name.startswith(PROOF) and not name.endswith(SAMPLE):
        item.add_marker("proof")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply the marks `proof` and `heavy`, and begin with the tests that share a server, which would end last."""
    for item in items:
        _mark_by_name(item)
    if not strength.PROOF:
        left_out = [item for item in items if item.get_closest_marker("proof")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("proof")]
    for item in items:
        if item.get_closest_marker("heavy"):
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures for the documentation."""
    figures: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, count in report.user_properties:
            kind, _, what = name.partition(" ")
            if kind == "figure":
                figures[what] += count
    for what, count in sorted(figures.items()):
        terminalreporter.write_line(f"{count:,} {what}")
