"""What a run could not test, in one line each at its end: a plugin of pytest's that `conftest.py` takes in.

A machine without MariaDB still has tests that pass. What it lacks is named there with the number of tests and with how
to get it. Modules that only a missing engine can run are left out of the coverage, by name: PostgreSQL and Valkey come
with wheels, which some machines have none of. With `CI` in the environment whatever is missing is a failure: there it
has to be installed.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

MODULES = {
    "PostgreSQL": ["*/twofa/stores/sqlalchemy/*.py", "*/twofa/stores/django/*.py"],
    "Valkey": ["*/twofa/stores/redis/*.py"],
}
"""What is left out of the coverage where an engine is missing."""


def not_here(engine: str, remedy: str) -> NoReturn:
    """Skip the test: this machine lacks an engine or a program. Say in a few words how to get it."""
    pytest.skip(f"{engine}: {remedy}")


def missing(config: pytest.Config) -> Counter[str]:
    """Return why tests were skipped, and how many for each reason; whole modules count as one."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)


def in_ci() -> bool:
    """Return whether this is continuous integration, where nothing may be missing."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Leave out of the coverage what only a missing engine could have run, before pytest-cov reports it."""
    outcome = yield
    left_out = [path for reason in missing(session.config) for path in MODULES.get(reason.split(":")[0], [])]
    plugin = session.config.pluginmanager.get_plugin("_cov")
    combined = getattr(getattr(plugin, "cov_controller", None), "combining_cov", None)
    if left_out and combined is not None:  # only where coverage is reported: not in the workers of pytest-xdist
        combined.set_option("report:omit", left_out)
    return outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI where anything was skipped."""
    if in_ci() and missing(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was not tested, how many tests that are, and how to get it."""
    for reason, count in missing(config).items():
        engine, _, remedy = reason.partition(": ")
        tests = f"{count} test" if count == 1 else f"{count} tests"
        line = f"not tested here: {engine}, {tests}" + (f": {remedy}" if remedy else "")
        terminalreporter.write_line(f"{line} (a failure where CI is set)" if in_ci() else line, yellow=True)
        for path in MODULES.get(engine, []):
            terminalreporter.write_line(f"    and its code is left out of the coverage: {path}", yellow=True)
