"""The rules of this suite: what could not be tested is named, counted, left out of the coverage, and fails in CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import not_tested
import pytest

import twofa

HELPERS = Path(not_tested.__file__).parent
TWO_TESTS = """
from not_tested import not_here

def test_one():
    not_here("PostgreSQL", "install it")

def test_two():
    not_here("PostgreSQL", "install it")
"""
WHOLE_MODULE = "import pytest\n\npytest.skip('no reason', allow_module_level=True)\n"
XFAIL = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    raise ValueError\n"
MISSING = "not tested here: PostgreSQL, 2 tests: install it"


def run(folder: Path, module: str, ci: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a test module, beside one that passes, with this suite's rules and no other plugin."""
    (folder / "test_it.py").write_text(module)
    (folder / "test_other.py").write_text("def test_other():\n    pass\n")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_", "PYTEST_"))
    }
    environment |= {"CI": ci, "PYTHONPATH": str(HELPERS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "not_tested", "-p", "no:cacheprovider", *options],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )


@pytest.mark.parametrize(
    ("module", "line"),
    [(TWO_TESTS, MISSING), (WHOLE_MODULE, "not tested here: no reason, 1 test")],
    ids=["tests", "module"],
)
@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")], ids=["one process", "a worker"])
@pytest.mark.parametrize("ci", ["true", ""])
def test_what_is_missing_is_named_in_one_line(
    module: str, line: str, options: tuple[str, ...], ci: str, tmp_path: Path
) -> None:
    """What is missing gets one line with the number of its tests; the run passes, and fails where CI is set."""
    done = run(tmp_path, module, ci, *options)

    assert [line + " (a failure where CI is set)" * bool(ci)] == re.findall("^not tested.*", done.stdout, re.MULTILINE)
    assert (pytest.ExitCode.TESTS_FAILED if ci else pytest.ExitCode.OK) == done.returncode


@pytest.mark.parametrize(("module", "ci"), [(TWO_TESTS, "false"), (XFAIL, "true")], ids=["not in CI", "xfail"])
def test_nothing_else_fails_in_ci(module: str, ci: str, tmp_path: Path) -> None:
    """A test that is expected to fail does not count as missing, nor does CI=false count as CI."""
    assert pytest.ExitCode.OK == run(tmp_path, module, ci).returncode


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "1")], ids=["one process", "a worker"])
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "there"])
def test_the_code_of_a_missing_engine_is_left_out_of_the_coverage(
    missing: bool, options: tuple[str, ...], tmp_path: Path
) -> None:
    """Where an engine is missing its modules do not count, and the run names them; where it is there they count."""
    direct = tmp_path / "twofa" / "stores" / "sqlalchemy" / "direct.py"
    direct.parent.mkdir(parents=True)
    for folder in (direct.parent, *direct.parent.parents[:2]):
        (folder / "__init__.py").write_text("")  # so that it goes before the installed package
    direct.write_text("def never_called():\n    return 1\n")
    (tmp_path / "twofa" / "core.py").write_text("CALLED = True\n")
    module = "import twofa.core\nimport twofa.stores.sqlalchemy.direct\n" + (TWO_TESTS if missing else "")

    done = run(tmp_path, module, "", "-p", "pytest_cov", "--cov=twofa", "--cov-fail-under=100", *options)

    assert missing == (MISSING in done.stdout)
    assert missing == ("left out of the coverage: */twofa/stores/sqlalchemy/*.py" in done.stdout)
    assert (pytest.ExitCode.OK if missing else pytest.ExitCode.TESTS_FAILED) == done.returncode, done.stdout


@pytest.mark.parametrize("pattern", sorted({path for paths in not_tested.MODULES.values() for path in paths}))
def test_the_modules_that_may_be_left_out_exist(pattern: str) -> None:
    """Each pattern names modules of the library, so that a renamed one is not left out for nothing."""
    package = Path(twofa.__file__).parent

    assert [path for path in package.parent.rglob("*.py") if path.match(pattern)]
