"""What a store owes a host that has transactions of its own in the same database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from twofa.stores.protocol import Change, Trail
from twofa.testing.async_conformance import AsyncStoreConformance
from twofa.testing.explaining import check_record
from twofa.testing.hooks import able
from twofa.testing.samples import event, numbers, stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.user_ids import USER

if TYPE_CHECKING:
    from twofa.testing.event_loop import Blocking

WAITS = "the swap has returned, and another connection does not see it: it waits for the commit of the host"


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
            assert store.swap(USER, Change(version(0), stored(1), (event(1),))) is True, "a right swap lost"
            check_record(stored(1), peer, USER, WAITS)
        check_kept(store)


class AsyncHostTransactionConformance(AsyncStoreConformance, HostTransactionConformance):
    """The same for an asynchronous store: `host_transaction` returns an asynchronous context."""

    @override
    def test_a_rollback_of_the_host_undoes_no_swap(self, store: Blocking, peer: Blocking) -> None:
        """A swap that returned stays, although the transaction in which the host has called it is rolled back."""

        async def request() -> object:
            async with self.host_transaction(store.store):
                assert await store.store.swap(USER, Change(version(0), stored(1), (event(1),))) is True
                return await peer.store.load(USER)

        assert store.swap(USER, Change(None, stored(0), (event(0),)))
        assert stored(1) == store.run(request()), WAITS
        check_kept(store)


def check_kept(store: Any) -> None:
    """Hold a store to what was put while the host's transaction was open."""
    check_record(stored(1), store, USER, "the rollback of the host's transaction undid the swap")
    assert store.swap(USER, Change(version(0), stored(2))) is False, "the version before the swap is valid again"
    assert not able(store, Trail) or [0, 1] == numbers(store), "the rollback of the host undid or doubled an event"
