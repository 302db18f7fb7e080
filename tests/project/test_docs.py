"""Every example in the README and in docs/ runs, in order, as a reader would copy it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pages import PAGES, ROOT, run_page
from state_diagram import state_diagram

if TYPE_CHECKING:
    from pathlib import Path

SERVED = {"add-to-django.md", "stores-redis.md"}
"""Pages whose examples need a server, or a project of their own: other tests run them."""


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name not in SERVED], ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_example_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who copies the page from top to bottom meets no error."""
    names = run_page(page, tmp_path, monkeypatch)

    if page == ROOT / "README.md":
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


def headings(page: Path) -> set[str]:
    """Return what links to a page can have behind their `#`, as GitHub makes it of the headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_link_leads_somewhere() -> None:
    """A link to a file of the project names one that is there, and a heading that is in it."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [
        (page, target, heading)
        for page in pages
        for target, _, heading in re.findall(r"\]\((?!\w+:)([^)#\s]*)(#([^)\s]*))?\)", page.read_text(encoding="utf-8"))
    ]
    assert 100 < len(links)
    for page, target, heading in links:
        aim = (page.parent / target).resolve() if target else page
        assert aim.exists(), f"{page.name}: {target}"
        assert not heading or heading in headings(aim), f"{page.name}: {target}#{heading}"


def test_the_state_diagram_is_drawn_from_the_table() -> None:
    """The architecture page shows the state machine as the engine has it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert [state_diagram()] == re.findall(r"^```mermaid\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_architecture_page_names_files_that_exist() -> None:
    """Whoever follows a call through the page finds every file that it names."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", page))

    assert 20 < len(named)
    folders = [ROOT, ROOT / "src" / "twofa"]
    assert [] == sorted(name for name in named if not any((folder / name).is_file() for folder in folders))


def test_the_readme_names_tests_that_exist() -> None:
    """Each promise in the README names test files that are there."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\| (P\d+) \|.*\| (.*) \|$", page, re.MULTILINE)
    there = {path.name for path in ROOT.glob("tests/**/test_*.py")}

    assert [f"P{number}" for number in range(1, 16)] == [name for name, _ in promises]
    for name, held_by in promises:
        named = set(re.findall(r"`(test_\w+\.py)`", held_by))
        assert named, name
        assert named <= there, name


def test_the_number_of_interleavings_is_the_tested_one() -> None:
    """The architecture page names as many interleavings as the tests go through."""
    test = (ROOT / "tests" / "races" / "test_interleavings.py").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (counted,) = re.findall(r"assert ([\d_]+) == sum\(", test)

    assert f"{int(counted):,} interleavings" in page
