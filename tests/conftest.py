"""What every test gets: deterministic Hypothesis, the `world` on both faces, and no silent skip in CI."""

from __future__ import annotations

import os

import hypothesis
import pytest

from support import World

hypothesis.settings.register_profile("twofa", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("twofa")

_skipped: list[str] = []


@pytest.fixture(params=["blocking", "awaiting"])
def world(request: pytest.FixtureRequest) -> World:
    """A fresh application, once with each face."""
    return World(request.param)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped, and why."""
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI on any skip: what could not be had there has to be installed there."""
    if os.environ.get("CI") and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped."""
    if os.environ.get("CI") and _skipped:
        terminalreporter.section("skipped, which fails in CI", red=True)
        for line in _skipped:
            terminalreporter.write_line(line)
