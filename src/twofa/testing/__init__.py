"""For tests: of an application that uses twofa, and of a store that someone has written for it.

An application's tests take `Phone`, `Clock`, `FOR_TESTS_ONLY` and the fixtures in `twofa.testing.fixtures`.

A store's tests subclass the conformance classes. `twofa.stores.protocol` says what a store owes the library; each such
rule is called a law here, and is tested by one conformance test, which says in a sentence what the store did wrong.

The conformance classes need pytest, and the machine Hypothesis: `pip install "twofa-core[testing]"`. To be installed
changes nothing about anyone's test run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twofa.testing.async_conformance import (
        AsyncListingConformance,
        AsyncOutboxConformance,
        AsyncStoreConformance,
        AsyncTrailConformance,
    )
    from twofa.testing.cheap_policy import FOR_TESTS_ONLY
    from twofa.testing.clock import Clock
    from twofa.testing.failure_conformance import (
        AsyncDurabilityConformance,
        AsyncFailureConformance,
        AsyncStatedAbsenceConformance,
        DurabilityConformance,
        FailureConformance,
        StatedAbsenceConformance,
    )
    from twofa.testing.host_conformance import AsyncHostTransactionConformance, HostTransactionConformance
    from twofa.testing.listing_conformance import ListingConformance
    from twofa.testing.outbox_conformance import OutboxConformance
    from twofa.testing.phone import Phone
    from twofa.testing.process_conformance import AsyncProcessConformance, ProcessConformance
    from twofa.testing.store_conformance import StoreConformance
    from twofa.testing.store_machine import AsyncStoreMachine, StoreMachine
    from twofa.testing.trail_conformance import TrailConformance

__all__ = [
    "FOR_TESTS_ONLY",
    "AsyncDurabilityConformance",
    "AsyncFailureConformance",
    "AsyncHostTransactionConformance",
    "AsyncListingConformance",
    "AsyncOutboxConformance",
    "AsyncProcessConformance",
    "AsyncStatedAbsenceConformance",
    "AsyncStoreConformance",
    "AsyncStoreMachine",
    "AsyncTrailConformance",
    "Clock",
    "DurabilityConformance",
    "FailureConformance",
    "HostTransactionConformance",
    "ListingConformance",
    "OutboxConformance",
    "Phone",
    "ProcessConformance",
    "StatedAbsenceConformance",
    "StoreConformance",
    "StoreMachine",
    "TrailConformance",
]

_WITHOUT_PYTEST = {"FOR_TESTS_ONLY": "cheap_policy", "Clock": "clock", "Phone": "phone"}
_CONFORMANCE = {
    "AsyncDurabilityConformance": "failure_conformance",
    "AsyncFailureConformance": "failure_conformance",
    "AsyncHostTransactionConformance": "host_conformance",
    "AsyncListingConformance": "async_conformance",
    "AsyncOutboxConformance": "async_conformance",
    "AsyncProcessConformance": "process_conformance",
    "AsyncStatedAbsenceConformance": "failure_conformance",
    "AsyncStoreConformance": "async_conformance",
    "AsyncStoreMachine": "store_machine",
    "AsyncTrailConformance": "async_conformance",
    "DurabilityConformance": "failure_conformance",
    "FailureConformance": "failure_conformance",
    "HostTransactionConformance": "host_conformance",
    "ListingConformance": "listing_conformance",
    "OutboxConformance": "outbox_conformance",
    "ProcessConformance": "process_conformance",
    "StatedAbsenceConformance": "failure_conformance",
    "StoreConformance": "store_conformance",
    "StoreMachine": "store_machine",
    "TrailConformance": "trail_conformance",
}
_WITH_ASSERTIONS = {*_CONFORMANCE.values(), "race_conformance", "record_conformance"}


def __getattr__(name: str) -> object:
    from importlib import import_module  # each name is loaded when it is first asked for: a phone needs no pytest

    if name in _CONFORMANCE:
        _explain_failures()
        return getattr(import_module(f"{__name__}.{_CONFORMANCE[name]}"), name)
    if name in _WITHOUT_PYTEST:
        return getattr(import_module(f"{__name__}.{_WITHOUT_PYTEST[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _explain_failures() -> None:
    """Have pytest show what a conformance test's assertion compared, as it does for the tests of its own user."""
    from pytest import register_assert_rewrite  # noqa: PT013  # one name, where it is used

    modules = {f"{__name__}.{module}" for module in _WITH_ASSERTIONS}
    register_assert_rewrite(*modules - set(sys.modules))
