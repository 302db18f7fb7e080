"""What every test gets: deterministic Hypothesis, the `world` on both faces, and the rules of this suite.

`heavy` and `proof` say which tests run when: see `make help`, and the lists below.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import hypothesis
import pytest
import strength
from support import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    "core/test_attack.py",
    "core/test_flood.py",
    "core/test_leaks",
    "model/",
    "examples/",
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
"""Tests that take long: `heavy`, since what they run is measured by quicker tests too."""

PROOF = (
    "examples/test_browser.py",
    "project/test_benchmarks.py",
    "project/test_lowest.py",
    "races/test_interleavings.py::test_every_interleaving_of_two_calls",
    "races/test_interleavings.py::test_every_interleaving_of_three",
    "stores/test_sqlalchemy_replication.py",
    "stores/redis_store/test_redis_failover.py",
    "stores/redis_store/test_redis_resharding.py",
    # The kit's laws on a second driver, server or kind of table, and its long laws on the others.
    "stores/redis_store/test_redis_conformance.py::Test*OnACluster",
    "stores/redis_store/test_redis_conformance.py::Test*[[]redis",
    "examples/test_django_site.py::test_the_walk_through_every_screen",
    "examples/test_written_stores.py::TestPsycopgStoreAtRepeatableRead",
    "stores/test_sharded.py::TestAsyncShards",
    "stores/test_sqlalchemy.py::TestAiomysql",
    "stores/test_sqlalchemy.py::TestAiosqlite",
    "stores/test_sqlalchemy.py::TestAsyncPsycopg",
    "stores/test_sqlalchemy.py::TestPartitioned",
    "stores/test_sqlalchemy.py::TestRepeatableRead",
    "stores/test_sqlalchemy.py::TestSerializable",
    "stores/test_sqlalchemy_races.py::test_of_8_processes_one_is_accepted",
    "stores/*::test_a_reader_beside_writers_misses_nothing",
    "stores/*::test_a_swap_survives_the_death_of_its_process",
    "stores/*::test_a_thousand_swaps_all_happen",
    "stores/*::test_processes_share_the_data",
    "stores/*::test_pruning_erases_thousands",
)
"""Tests that only `make proof` runs, but for the ones in `SAMPLE`."""

SAMPLE = (
    "races/test_interleavings.py::*[[]pending]",
    "races/test_interleavings.py::*[[]reenrol]",
    "races/test_interleavings.py::*[[]active, verify, verify, new app]",
    "examples/test_browser.py::test_enrol_and_sign_in",
    "examples/test_browser.py::test_last_recovery_code_and_a_new_phone",
    "examples/test_browser.py::test_reset_recovery_codes",
    "stores/test_conformance.py::TestSQLiteStore",
    "stores/test_sharded.py::TestAsyncShards::test_pruning_erases_what",
    "stores/test_sqlalchemy.py::TestPsycopg",
    "stores/redis_store/test_redis_conformance.py::TestRedisStore::*[[]valkey",
)
"""Of the tests in `PROOF`, what every run looks at."""

THINNED = {
    "core/test_async.py::test_cancellation": 4,
    "core/test_leaks.py::test_no_path_shows_a_secret": 7,
    "core/test_qr.py::test_png": 5,
    "core/test_qr.py::test_svg_on_any_page": 5,
    "ops/test_cli.py::test_every_command_as_a_process": 2,
    "ops/test_migration.py::test_everyone_comes_along": 2,
    "project/test_not_tested.py::test_what_is_missing_is_named_in_one_line": 3,
    "races/test_crash.py::test_a_lost_reply_is_found_under_anothers_write": 5,
    "races/test_interleavings.py::test_one_by_one_the_interleavings_come_to_the_same": 3,
    "races/test_races.py::test_a_right_guess_that_did_slow_work_is_accepted": 3,
    "races/test_races.py::test_every_order_of_two_calls_is_one_after_the_other": 5,
    "races/test_races.py::test_of_200_parallel_guesses_five_are_answered": 5,
    "session/test_session_interleavings.py::test_two_requests_at_once": 2,
    "stores/test_kit.py::test_a_right_store_passes_every_time": 3,
    "stores/test_kit.py::test_the_machine_finds_a_wrong_store": 2,
    "stores/test_sqlalchemy_hosts.py::test_a_swap_is_committed_when_it_answers_whatever_the_engine": 5,
    "stores/test_sqlalchemy_races.py::test_of_200_parallel_guesses_five_are_answered": 4,
}
"""Of the cases of these tests, every n-th is run every day, and all of them in `make proof`."""


def _is_among(item: pytest.Item, patterns: Iterable[str]) -> str | None:
    name = item.nodeid.removeprefix("tests/")
    return next((pattern for pattern in patterns if fnmatchcase(name, f"{pattern}*")), None)


def _mark_by_name(items: list[pytest.Item]) -> None:
    cases: Counter[str] = Counter()
    for item in items:
        if _is_among(item, HEAVY):
            item.add_marker("heavy")
        if _is_among(item, PROOF) and not _is_among(item, SAMPLE):
            item.add_marker("proof")
        if thinned := _is_among(item, THINNED):
            if cases[thinned] % THINNED[thinned]:
                item.add_marker("proof")
            cases[thinned] += 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply the marks `proof` and `heavy`, and begin with the tests that share a server, which would end last."""
    _mark_by_name(items)
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
