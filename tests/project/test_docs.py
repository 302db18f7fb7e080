"""Every example in the README and in docs/ runs, in order, as a reader would copy it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import KEY, Clock, Phone

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVED = {"stores-redis.md"}
"""Pages whose examples need a server: the tests of these stores run them."""


class Form(dict[str, str]):
    """What a user types: the code that the phone of the latest set-up shows next, or the next unused recovery code."""

    def __init__(self, names: dict[str, Any], clock: Clock) -> None:
        super().__init__()
        self._names, self._clock, self._used = names, clock, 0

    def __missing__(self, field: str) -> str:
        if field == "recovery_code":
            self._used += 1
            return str(self._names["codes"][self._used])
        self._clock.advance(30)
        return Phone(self._names["setup"].uri, self._clock).code()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in SERVED], ids=lambda page: page.name)
def test_every_example_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the page from top to bottom meets no error."""
    names = run_page(page, tmp_path, monkeypatch)

    if page.name == "README.md":
        assert "code_accepted" == names["log"][-1][2]
    if "two_factor" in names:
        getattr(names["two_factor"]._store, "close", lambda: None)()


def run_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the examples of a page from top to bottom; return the names that they leave."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    clock = Clock()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWOFA_KEYS", KEY)
    monkeypatch.setattr("twofa._engine.core.time", SimpleNamespace(time=clock))
    names: dict[str, Any] = {"session": {}, "user": SimpleNamespace(id="user-42", email="alice@example.com")}
    names["form"] = Form(names, clock)
    names["fresh_file"] = lambda: tmp_path / "fresh.db"

    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    return names


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
