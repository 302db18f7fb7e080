"""What a store owes whose database can fail: it raises where it cannot tell, and keeps what it said it has written."""

from __future__ import annotations

from functools import partial
from typing import Any

from twofa.stores.protocol import Change
from twofa.testing.async_conformance import AsyncStoreConformance
from twofa.testing.explaining import check_raises, check_record
from twofa.testing.hooks import dispose
from twofa.testing.samples import stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.user_ids import OTHER, USER

NO_ANSWER = (
    "the database sent no row at all, as behind a proxy that mixes up its clients' answers; that must not read as \"no "
    'second factor", so select one row in any case, with the id that was asked for, and raise if it is not there'
)
WRONG_ANSWER = (
    "the database answered for another user, as behind a proxy that mixes up its clients' answers: the answer must "
    "carry the id that was asked for, and load() must compare it"
)
CUT_OFF = "the database fails: neither None nor True nor False would be true"
CRASHED = "it was written before the database crashed: a swap that returned must be durable"


class FailureConformance(StoreConformance):
    """The law for a database that can fail: what the store cannot tell, it raises."""

    def cut_off(self, store: Any) -> Any:
        """Make every further statement of `store` fail: stop its server, or drop its tables behind its back."""
        raise NotImplementedError("cut_off(store) must make the database fail for this store")

    def test_a_failing_database_raises(self, store: Any) -> None:
        """Neither does a failure read as "no record", nor as a swap that happened, nor as one that was lost."""
        assert store.swap(USER, Change(None, stored(0)))
        self.ask(self.cut_off, store)
        check_raises(CUT_OFF, store.load, USER)
        for change in (Change(None, stored(1)), Change(version(0), stored(1)), Change(version(0), None)):
            check_raises(CUT_OFF, store.swap, USER, change)


class AsyncFailureConformance(AsyncStoreConformance, FailureConformance):
    """The same for an asynchronous store: `cut_off` may be a coroutine function."""


class StatedAbsenceConformance(StoreConformance):
    """The laws for a store behind a network: "no record" is what the database said, and never what it did not say.

    A pooler that reuses prepared statements, or a connection that two processes share after a fork, can give one
    client the answer to another's question. Both hooks play that: they change what `load` gets, not what is kept.
    """

    def lose_answers(self, store: Any) -> Any:
        """Make every further query of `store` return no rows, whatever it asks, without an error."""
        raise NotImplementedError("lose_answers(store) must make every query of this store return no rows")

    def swap_answers(self, store: Any, user_id: str) -> Any:
        """Make every further query of `store` return what it would return for `user_id`, whomever it asks about."""
        raise NotImplementedError("swap_answers(store, user_id) must make every query return the answer for user_id")

    def test_no_answer_is_no_absence(self, store: Any) -> None:
        """An empty answer raises: of a user with a record as of one without."""
        assert store.swap(USER, Change(None, stored(1)))
        self.ask(self.lose_answers, store)
        for user_id in (USER, OTHER):
            check_raises(NO_ANSWER, store.load, user_id)
        try:
            said = store.swap(USER, Change(None, None))
        except Exception:  # the store says that it cannot tell
            said = False
        assert said is not True, f"swap(Change(None, None)) returned True for a user with a record: {NO_ANSWER}"

    def test_the_answer_for_another_user_is_refused(self, store: Any) -> None:
        """An answer for another user raises: it neither hides a record nor shows another user's."""
        assert store.swap(USER, Change(None, stored(1)))
        for about, asked in ((OTHER, USER), (USER, OTHER)):
            self.ask(partial(self.swap_answers, user_id=about), store)
            check_raises(WRONG_ANSWER, store.load, asked)


class AsyncStatedAbsenceConformance(AsyncStoreConformance, StatedAbsenceConformance):
    """The same for an asynchronous store: the hooks may be coroutine functions."""


class DurabilityConformance(StoreConformance):
    """The law for a store on a server: what a swap said it has written survives the loss of power."""

    def crash(self, store: Any) -> Any:
        """Kill the server of `store` without letting it save anything, and start it again."""
        raise NotImplementedError("crash(store) must kill the server of this store, and start it again")

    def test_a_swap_survives_a_crash(self, store: Any) -> None:
        """What was created, replaced and deleted is so after the server was killed and started again."""
        assert store.swap(USER, Change(None, stored(1)))
        assert store.swap(OTHER, Change(None, stored(2)))
        assert store.swap(USER, Change(version(1), stored(3)))
        assert store.swap(OTHER, Change(version(2), None))
        self.ask(self.crash, store)
        after = self.open_again(store)  # the connections of the handles before are dead
        try:
            check_record(stored(3), after, USER, CRASHED)
            check_record(None, after, OTHER, CRASHED)
        finally:
            dispose(after)


class AsyncDurabilityConformance(AsyncStoreConformance, DurabilityConformance):
    """The same for an asynchronous store: `crash` may be a coroutine function."""
