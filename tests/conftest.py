"""What every test gets: deterministic Hypothesis, the `world` on both faces, and no silent skip in CI."""

from __future__ import annotations

import os

import hypothesis
import pytest
from support import World

hypothesis.settings.register_profile("twofa", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("twofa")


@pytest.fixture(params=["blocking", "awaiting"])
def world(request: pytest.FixtureRequest) -> World:
    """A fresh application, once with each face."""
    return World(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that share a server: each group runs in one process, and would be the last to end."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI on any skip: what could not be had there has to be installed there."""
    if _skips_that_fail(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many interleavings were held against the promises, and name what was skipped, and why."""
    passed = terminalreporter.stats.get("passed", [])
    counted = sum(count for report in passed for name, count in report.user_properties if name == "interleavings")
    if counted:
        terminalreporter.write_line(f"{counted:,} interleavings")
    skips = _skips_that_fail(config)
    if skips:
        terminalreporter.section("skipped, which fails in CI", red=True)
        for line in skips:
            terminalreporter.write_line(line)


def _skips_that_fail(config: pytest.Config) -> list[str]:
    """Return what was skipped in CI, tests and whole modules: the reporter hears of both."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI", "").lower() in {"", "0", "false"}:
        return []
    return [f"{report.nodeid}: {report.longrepr[2]}" for report in reporter.stats.get("skipped", [])]
