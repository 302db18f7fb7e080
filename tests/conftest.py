"""What every test gets: deterministic Hypothesis, the `world` on both faces, and the rules of this suite.

Which tests run when is a matter of four marks, explained in tests/README.md.
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Apply the marks `proof` and `heavy`, and begin with the tests that share a server, which would end last."""
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
