"""What the tests of the core get."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from secret_net import Net

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def net() -> Iterator[Net]:
    """A net under all loggers, at all levels."""
    net, root = Net(), logging.getLogger()
    level = root.level
    root.addHandler(net)
    root.setLevel(logging.NOTSET)
    yield net
    root.removeHandler(net)
    root.setLevel(level)
