"""The pages of the documentation, and how their examples run."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from support import KEY, Clock, Phone

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


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


def run_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the examples of a page from top to bottom; return the names that they leave."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    clock = Clock()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWOFA_KEYS", KEY)
    monkeypatch.setattr("twofa._engine.settings.time", SimpleNamespace(time=clock))
    names: dict[str, Any] = {"session": {}, "user": SimpleNamespace(id="user-42", email="alice@example.com")}
    names["form"] = Form(names, clock)
    names["fresh_file"] = lambda: tmp_path / "fresh.db"

    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    return names
