"""For tests: of an application that uses twofa, and of a store that someone has written for it.

An application's tests take `Phone`, `Clock`, `FOR_TESTS_ONLY` and the fixtures in `twofa.testing.fixtures`; a store's
tests subclass the laws. The laws need pytest, and the machine Hypothesis: `pip install "twofa-core[testing]"`. To be
installed changes nothing about anyone's test run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twofa.testing.awaited import (
        AsyncListingConformance,
        AsyncOutboxConformance,
        AsyncStoreConformance,
        AsyncTrailConformance,
    )
    from twofa.testing.cheap import FOR_TESTS_ONLY
    from twofa.testing.clock import Clock
    from twofa.testing.host_laws import (
        AsyncFailureConformance,
        AsyncHostTransactionConformance,
        FailureConformance,
        HostTransactionConformance,
    )
    from twofa.testing.laws import StoreConformance
    from twofa.testing.listing_laws import ListingConformance
    from twofa.testing.machine import AsyncStoreMachine, StoreMachine
    from twofa.testing.outbox_laws import OutboxConformance
    from twofa.testing.phone import Phone
    from twofa.testing.process_laws import AsyncProcessConformance, ProcessConformance
    from twofa.testing.trail_laws import TrailConformance

__all__ = [
    "FOR_TESTS_ONLY",
    "AsyncFailureConformance",
    "AsyncHostTransactionConformance",
    "AsyncListingConformance",
    "AsyncOutboxConformance",
    "AsyncProcessConformance",
    "AsyncStoreConformance",
    "AsyncStoreMachine",
    "AsyncTrailConformance",
    "Clock",
    "FailureConformance",
    "HostTransactionConformance",
    "ListingConformance",
    "OutboxConformance",
    "Phone",
    "ProcessConformance",
    "StoreConformance",
    "StoreMachine",
    "TrailConformance",
]

_PLAIN = {"FOR_TESTS_ONLY": "cheap", "Clock": "clock", "Phone": "phone"}
_LAWS = {
    "AsyncFailureConformance": "host_laws",
    "AsyncHostTransactionConformance": "host_laws",
    "AsyncListingConformance": "awaited",
    "AsyncOutboxConformance": "awaited",
    "AsyncProcessConformance": "process_laws",
    "AsyncStoreConformance": "awaited",
    "AsyncStoreMachine": "machine",
    "AsyncTrailConformance": "awaited",
    "FailureConformance": "host_laws",
    "HostTransactionConformance": "host_laws",
    "ListingConformance": "listing_laws",
    "OutboxConformance": "outbox_laws",
    "ProcessConformance": "process_laws",
    "StoreConformance": "laws",
    "StoreMachine": "machine",
    "TrailConformance": "trail_laws",
}


def __getattr__(name: str) -> object:
    from importlib import import_module  # each name is loaded when it is first asked for: a phone needs no pytest

    if name in _LAWS:
        _explain_failures()
        return getattr(import_module(f"{__name__}.{_LAWS[name]}"), name)
    if name in _PLAIN:
        return getattr(import_module(f"{__name__}.{_PLAIN[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _explain_failures() -> None:
    """Have pytest show what a law's assertion compared, as it does for the tests of its own user."""
    from pytest import register_assert_rewrite  # noqa: PT013  # one name, where it is used

    modules = {f"{__name__}.{module}" for module in _LAWS.values()}
    register_assert_rewrite(*modules - set(sys.modules))
