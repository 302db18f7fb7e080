"""What is shipped: the wheel's content and metadata, the layers, the public names, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import distribution
from pathlib import Path

import django_project
import pytest

import twofa

PACKAGE = Path(twofa.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(PACKAGE)], "twofa."))

LAYERS = [
    {"_base32", "_entropy", "_hidden", "_parameters", "_plain", "_text", "_time"}
    | {"errors", "events", "key_uri", "otp", "policy", "proofs", "qr", "results"},
    {"stores", "stores.findings", "stores.protocol", "stores.trail"},
    {"_record"},
    {"keys"},
    {"_engine"},
    {"session"},
    {"asynchronous", "blocking"},
    {""},
    {"cli"},
    {"__main__", "migration"},
]
"""From the bottom up, by module or by folder: a module imports from its own layer and from those below it."""

DJANGO_APP = {"stores.django.apps", "stores.django.checks", "stores.django.management.commands.twofa"}
"""What Django loads beside the store: it stands above everything, the command line included."""

PUBLIC = {"twofa", "twofa.errors", "twofa.key_uri", "twofa.keys", "twofa.qr", "twofa.stores", "twofa.stores.protocol"}
"""The modules that the documentation sends a reader to."""

WITHIN = {"twofa.key_uri": {"read", "write"}}
"""What a public module has for the rest of the package alone."""


def test_the_tests_run_on_the_installed_package() -> None:
    """What is tested is what a user installs, not the source tree beside it."""
    assert "site-packages" in PACKAGE.parts


def test_the_metadata() -> None:
    """The distribution is called twofa-core, needs exactly three others, and is typed."""
    installed = distribution("twofa-core")
    requirements = [line for line in installed.requires or [] if "extra ==" not in line]

    assert ["cryptography", "qrcode", "typing-extensions"] == sorted(line.split(">=")[0] for line in requirements)
    assert all(">=" in line for line in requirements)
    assert ">=3.11" == installed.metadata["Requires-Python"]
    assert "MIT" == installed.metadata["License-Expression"]
    assert "Typing :: Typed" in installed.metadata.get_all("Classifier", [])
    files = [str(file) for file in installed.files or []]
    assert "twofa/py.typed" in files
    assert [f"twofa/{path}" for path in _sources()] == sorted(file for file in files if file.endswith(".py"))
    assert not [file for file in files if not file.startswith(("twofa/", "twofa_core-"))]


def test_importing_loads_nothing_that_a_login_does_not_need() -> None:
    """`import twofa` loads neither the library that lays out QR codes, nor a database driver, nor an event loop."""
    script = "import sys, twofa; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True)

    heavy = {"qrcode", "PIL", "sqlite3", "sqlalchemy", "redis", "valkey", "asyncio", "typing_extensions", "http"}
    assert set() == heavy & set(loaded.stdout.split())


@pytest.mark.parametrize("name", ["twofa", *MODULES])
def test_all_is_honest(name: str) -> None:
    """Each name in `__all__` exists and stands there once, and a public module's leaves out none of its own."""
    if name.startswith("twofa.stores.django."):
        django_project.set_up()  # without which Django loads no models
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None)
    if names is None:
        assert name not in PUBLIC
        return
    own = {each for each, value in vars(module).items() if name == getattr(value, "__module__", "") and each[0] != "_"}

    assert [] == [each for each in names if not hasattr(module, each)]
    assert len(set(names)) == len(names)
    assert name not in PUBLIC or WITHIN.get(name, set()) == own - set(names)


def test_the_public_names() -> None:
    """The package offers exactly what the documentation names."""
    assert {
        "TOTP", "Argon2id", "AsyncStore", "AsyncTwoFactor", "ByCode", "ByRecoveryCode", "ByVerification", "Change",
        "Event", "EventKind", "ExportedAuthenticator", "KeyRing", "Policy", "Proof", "RecoveryCodes", "Scrypt", "Setup", "Status", "Store", "Stored",
        "Throttle", "TwoFactor", "TwoFactorError", "Verification", "Vouched", "errors", "hotp",
    } == set(twofa.__all__)  # fmt: skip


def test_no_import_leads_back() -> None:
    """No module imports itself by way of others, not even inside a function."""
    graph = {_short(name): _imports(name) for name in ["twofa", *MODULES]}
    assert len(graph) == len(list(TopologicalSorter(graph).static_order()))


@pytest.mark.parametrize("name", ["twofa", *MODULES])
def test_imports_run_one_way(name: str) -> None:
    """Nothing in the core imports a store, nothing in a store imports the core, and only tests import the kit."""
    short = _short(name)
    if short.startswith("testing") or short in DJANGO_APP:
        return
    assert set() == DJANGO_APP & _imports(name)
    level = _level(short)
    if level is None:
        assert short.startswith("stores."), "say in LAYERS where the new module stands"
        allowed = LAYERS[0] | {"stores"}
    else:
        allowed = set().union(*LAYERS[: level + 1])

    assert [] == [imported for imported in _imports(name) if not _within(imported, allowed, level is None)]


def _level(short: str) -> int | None:
    """Return the layer of a module, or none for the stores themselves, which stand apart."""
    folder = short.split(".", maxsplit=1)[0]
    wanted = short if folder == "stores" else folder
    return next((level for level, layer in enumerate(LAYERS) if wanted in layer), None)


def _within(short: str, allowed: set[str], in_a_store: bool) -> bool:
    """Return whether a module is one of those that may be imported; a store may import other stores."""
    folder = short.split(".", maxsplit=1)[0]
    return (short if folder == "stores" and not in_a_store else folder) in allowed


def _imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in its file but for typing."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found.update(_short(alias.name) for alias in node.names if alias.name.split(".")[0] == "twofa")
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, "imports are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names if f"{module}.{alias.name}" in MODULES]
            found.update(_short(each) for each in names or [module] if module.split(".")[0] == "twofa")
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            nodes.extend(node.orelse)
        else:
            nodes.extend(ast.iter_child_nodes(node))
    return found


def _short(name: str) -> str:
    """Return a module's name within the package, which is empty for the package itself."""
    return name.removeprefix("twofa").removeprefix(".")


def _sources() -> list[str]:
    """Return the modules in the source tree beside the tests."""
    source = Path(__file__).parent.parent.parent / "src" / "twofa"
    return sorted(path.relative_to(source).as_posix() for path in source.rglob("*.py"))


@pytest.mark.parametrize("source", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_assert_guards_and_no_weak_random(source: Path) -> None:
    """Input is guarded by errors that `python -O` keeps, and chance comes from the operating system alone."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names = {alias.name for node in imports for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}

    laws = "testing" in source.parts  # which are made of asserts
    assert laws or not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert "random" not in names


@pytest.mark.parametrize("name", ["key_uri", "qr"])
def test_nothing_fetches_a_picture(name: str) -> None:
    """No address of any service stands in what handles a Key URI, save the name of the SVG language."""
    source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")

    assert "http" not in source
