"""Every example in the README and in docs/ runs, in order, as a reader would copy it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pages import PAGES, ROOT, run_page

if TYPE_CHECKING:
    from pathlib import Path

SERVED = {"stores-redis.md"}
"""Pages whose examples need a server: the tests of these stores run them."""


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in SERVED], ids=lambda page: page.name)
def test_every_example_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the page from top to bottom meets no error."""
    names = run_page(page, tmp_path, monkeypatch)

    if page.name == "README.md":
        assert names["user"].id == names["me"].require()
    if "two_factor" in names:
        getattr(names["two_factor"]._store, "close", lambda: None)()


def test_no_page_names_another_project() -> None:
    """On PyPI `twofa` is someone else's: no page tells anyone to install it."""
    sources = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("src/**/*.py"),
        *ROOT.glob("examples/**/*.py"),
    ]
    assert sources
    for source in sources:
        assert not re.search(r"pip install twofa(?!-core)", source.read_text(encoding="utf-8")), source
