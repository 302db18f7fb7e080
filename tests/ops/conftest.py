"""Applications with an operator, as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running_app import KINDS, Application, make_application

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["blocking", "async"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    """An application with each face. Its operator's commands run in this process."""
    with make_application("sqlite", tmp_path, awaits=request.param == "async") as application:
        application.operator.in_process = True
        yield application


@pytest.fixture(params=KINDS)
def by_process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    """An application on each store and with each face. Its operator's commands are processes."""
    engine, face = request.param.split(", ")
    with make_application(engine, tmp_path, awaits=face == "async") as application:
        yield application


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Application]:
    """An application for what depends neither on the store nor on the face nor on being a process."""
    with make_application("sqlite", tmp_path) as application:
        application.operator.in_process = True
        yield application


@pytest.fixture
def on_postgresql_too(tmp_path: Path) -> Iterator[Application]:
    """The same on PostgreSQL; mark the test `on_postgresql`."""
    with make_application("postgresql", tmp_path) as application:
        application.operator.in_process = True
        yield application
