"""What a store owes a host with transactions of its own in the same database, or whose database fails."""

from __future__ import annotations

from typing import Any

import pytest
from typing_extensions import override

from twofa.stores.protocol import Change, Trail
from twofa.testing.async_conformance import AsyncStoreConformance, Blocking
from twofa.testing.samples import USER, event, numbers, stored, version
from twofa.testing.store_conformance import StoreConformance


class HostTransactionConformance(StoreConformance):
    """The law for a store in the host's own database: a rollback of the host undoes no swap."""

    def host_transaction(self, store: Any) -> Any:  # for those who override it
        """Return a context in which a transaction of the host is open, and which rolls it back at its end.

        Open it as the host's request handler would: in this thread, by the same engine, pool or session.
        """
        raise NotImplementedError("host_transaction(store) must open a transaction of the host and roll it back")

    def test_a_rollback_of_the_host_undoes_no_swap(self, store: Any, peer: Any) -> None:
        """A swap that returned stays, although the transaction in which the host has called it is rolled back."""
        assert store.swap(USER, Change(None, stored(0), (event(0),)))
        with self.host_transaction(store):
            assert store.swap(USER, Change(version(0), stored(1), (event(1),))) is True
            assert stored(1) == peer.load(USER), "the swap waits for the commit of the host"
        assert_kept(store)


class AsyncHostTransactionConformance(AsyncStoreConformance, HostTransactionConformance):
    """The same for an asynchronous store: `host_transaction` returns an asynchronous context."""

    @override
    def test_a_rollback_of_the_host_undoes_no_swap(self, store: Blocking, peer: Blocking) -> None:
        """A swap that returned stays, although the transaction in which the host has called it is rolled back."""

        async def request() -> None:
            async with self.host_transaction(store.store):
                assert await store.store.swap(USER, Change(version(0), stored(1), (event(1),))) is True
                assert stored(1) == await peer.store.load(USER), "the swap waits for the commit of the host"

        assert store.swap(USER, Change(None, stored(0), (event(0),)))
        store.run(request())
        assert_kept(store)


class FailureConformance(StoreConformance):
    """The law for a database that can fail: what the store cannot tell, it raises."""

    def cut_off(self, store: Any) -> None:
        """Make every further statement of `store` fail: stop its server, or drop its tables behind its back."""
        raise NotImplementedError("cut_off(store) must make the database fail for this store")

    def test_a_failing_database_raises(self, store: Any) -> None:
        """Neither does a failure read as "no record", nor as a swap that happened, nor as one that was lost."""
        assert store.swap(USER, Change(None, stored(0)))
        self.ask(self.cut_off, store)
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the driver raises
            store.load(USER)
        for change in (Change(None, stored(1)), Change(version(0), stored(1)), Change(version(0), None)):
            with pytest.raises(Exception):  # noqa: B017, PT011
                store.swap(USER, change)


class AsyncFailureConformance(AsyncStoreConformance, FailureConformance):
    """The same for an asynchronous store: `cut_off` may be a coroutine function."""


def assert_kept(store: Any) -> None:
    """Hold a store to what was put while the host's transaction was open."""
    assert stored(1) == store.load(USER), "the rollback of the host has undone the swap"
    assert store.swap(USER, Change(version(0), stored(2))) is False
    assert not isinstance(store, Trail) or [0, 1] == numbers(store)
