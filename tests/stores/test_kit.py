"""The kit, judged by stores that are wrong: each fails the law named after its fault, and a right one passes them all."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import broken_stores as broken
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from twofa import testing
from twofa.stores import Change, MemoryStore, SQLiteStore, Stored, ThreadedStore
from twofa.testing.async_conformance import Blocking, EventLoop
from twofa.testing.process_conformance import compete
from twofa.testing.samples import USER, stored
from twofa.testing.store_machine import StoreMachine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUNS = 25
"""How often a right store is held to each law here. A hundred times were tried, without a false alarm."""


class Laws(
    testing.OutboxConformance,
    testing.ListingConformance,
    testing.ProcessConformance,
    testing.HostTransactionConformance,
    testing.FailureConformance,
):
    """Every law for blocking stores, on a store in memory of a given kind."""

    def __init__(self, kind: type[Any] = broken.Shelf) -> None:
        self.kind = kind

    def make_store(self):
        return self.kind()

    def make_peer(self, store):
        return store.peer()

    def host_transaction(self, store):
        return getattr(store, "host_transaction", nullcontext)()

    def cut_off(self, store):
        store.data.down = True


class AsyncLaws(
    testing.AsyncOutboxConformance, testing.AsyncListingConformance, testing.AsyncHostTransactionConformance
):
    """The laws for asynchronous stores."""

    def host_transaction(self, store):
        return getattr(store, "host_transaction", nullcontext)()


IN_PROCESSES = "test_processes_share_the_data"
CANCELLED = "test_a_cancelled_swap_leaves_old_or_new"
LAWS = [name for name in dir(Laws) if name.startswith("test_")]

FAULTS = [
    (broken.InventsARecord, "test_an_unknown_user_has_nothing"),
    (broken.LoadsATuple, "test_a_loaded_record_is_a_stored"),
    (broken.StripsDocuments, "test_a_document_comes_back_byte_for_byte"),
    (broken.CutsDocuments, "test_a_document_comes_back_byte_for_byte"),
    (broken.TurnsLineBreaks, "test_a_document_comes_back_byte_for_byte"),
    (broken.ReadsNumbers, "test_a_document_comes_back_byte_for_byte"),
    (broken.TakesNothingForNull, "test_a_document_comes_back_byte_for_byte"),
    (broken.SpoilsControlCharacters, "test_a_document_comes_back_byte_for_byte"),
    (broken.Upserts, "test_only_an_absent_record_is_created"),
    (broken.RaisesOnADuplicate, "test_only_an_absent_record_is_created"),
    (broken.SaysHowMany, "test_only_an_absent_record_is_created"),
    (broken.SaysNothing, "test_only_an_absent_record_is_created"),
    (broken.IgnoresTheVersion, "test_a_stale_version_loses_and_changes_nothing"),
    (broken.DeletesWhateverIsThere, "test_a_stale_version_loses_and_changes_nothing"),
    (broken.UpdatesWhatIsNotThere, "test_who_expects_a_record_loses_where_there_is_none"),
    (broken.CountsChangedRows, "test_writing_the_same_document_spends_the_version"),
    (broken.ComparesDocuments, "test_a_document_that_returns_does_not_bring_its_version_back"),
    (broken.ForgetsDeletes, "test_a_delete_leaves_nothing"),
    (broken.RevivesOldVersions, "test_a_record_made_again_does_not_revive_an_old_writer"),
    (broken.KeepsNobodyAbsent, "test_nothing_can_be_kept_absent"),
    (broken.FoldsCase, "test_lookalike_users_are_kept_apart"),
    (broken.TrimsIds, "test_lookalike_users_are_kept_apart"),
    (broken.StripsAccents, "test_lookalike_users_are_kept_apart"),
    (broken.NormalizesIds, "test_lookalike_users_are_kept_apart"),
    (broken.CutsIds, "test_lookalike_users_are_kept_apart"),
    (broken.CutsBytesOfIds, "test_lookalike_users_are_kept_apart"),
    (broken.ReadsIdsAsNumbers, "test_lookalike_users_are_kept_apart"),
    (broken.MatchesPatterns, "test_lookalike_users_are_kept_apart"),
    (broken.CachesLoads, "test_another_handle_sees_a_win_at_once"),
    (broken.ReadsAReplica, "test_another_handle_sees_a_win_at_once"),
    (broken.ChecksThenSets, "test_one_of_many_updaters_wins"),
    (broken.ChecksThenSets, "test_an_updater_and_a_deleter_never_both_win"),
    (broken.ChecksThenCreates, "test_one_of_many_creators_wins"),
    (broken.ChecksThenDeletes, "test_one_of_many_deleters_wins"),
    (broken.LocksPerHandle, "test_no_update_is_lost"),
    (broken.LosesAnUpdate, "test_no_update_is_lost"),
    (broken.GivesUpUnderLoad, "test_swaps_of_different_users_do_not_disturb_each_other"),
    (broken.TearsAWrite, "test_a_reader_never_sees_half_a_swap"),
    (broken.SaysYesOnFailure, "test_a_failing_database_raises"),
    (broken.SwallowsErrors, "test_a_failing_database_raises"),
    (broken.LoadsNothingOnFailure, "test_a_failing_database_raises"),
    (broken.JoinsTheCallersTransaction, "test_a_rollback_of_the_host_undoes_no_swap"),
    (broken.IsNoTrail, "test_it_keeps_a_trail"),
    (broken.KeepsText, "test_an_event_comes_back_as_it_was"),
    (broken.ForgetsTheSource, "test_an_event_comes_back_as_it_was"),
    (broken.KnowsFewKinds, "test_every_kind_of_event_is_kept"),
    (broken.CountsIn32Bits, "test_an_event_time_is_kept_as_aware_utc"),
    (broken.ReturnsNaiveTimes, "test_an_event_time_is_kept_as_aware_utc"),
    (broken.SortsByTime, "test_the_trail_grows_in_order"),
    (broken.KeepsNoTrail, "test_the_trail_grows_in_order"),
    (broken.TellsWhatWasLost, "test_an_event_is_kept_only_if_its_swap_won"),
    (broken.KeepsTheTrailOfTheDeleted, "test_a_delete_erases_the_trail"),
    (broken.ErasesTheLastEvent, "test_a_delete_erases_the_trail"),
    (broken.SharesTrails, "test_lookalike_users_have_trails_of_their_own"),
    (broken.CachesTheTrail, "test_another_handle_sees_the_trail_at_once"),
    (broken.TellsOfEveryAttempt, "test_a_race_leaves_the_winners_events_only"),
    (broken.TellsAfterwards, "test_the_record_and_its_event_change_in_one_step"),
    (broken.IsNoOutbox, "test_it_is_an_outbox"),
    (broken.HandsOnOneUser, "test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps"),
    (broken.SkipsAfterAPage, "test_a_reader_that_keeps_its_cursor_misses_and_repeats_nothing"),
    (broken.HandsOnNothing, "test_what_comes_later_stands_after_every_cursor"),
    (broken.HandsOnAgain, "test_what_comes_later_stands_after_every_cursor"),
    (broken.TellsOthersOfWhatWasLost, "test_a_swap_that_lost_hands_nothing_on"),
    (broken.ReusesNumbers, "test_a_cursor_outlives_its_event"),
    (broken.TakesAnyCursor, "test_a_cursor_that_the_store_did_not_make_is_refused"),
    (broken.PrunesTheNewest, "test_pruning_erases_what_is_older_and_nothing_else"),
    (broken.PrunesInLocalTime, "test_pruning_reads_the_time_zone"),
    (broken.NumbersBeforeItCommits, "test_a_reader_beside_writers_misses_nothing"),
    (broken.DoesNotList, "test_it_lists_its_users"),
    (broken.ListsNobody, "test_every_user_with_a_record_is_listed_once"),
    (broken.ListsByCase, "test_pages_add_up_to_the_list"),
    (broken.ListsAll, "test_pages_add_up_to_the_list"),
    (broken.ListsFifty, "test_a_hundred_are_listed_unless_more_are_asked_for"),
    (broken.GoesOnFromAUser, "test_a_page_goes_on_after_a_user_that_is_gone"),
    (broken.ListsWhoeverIsAsked, "test_a_swap_that_lost_lists_nobody"),
]
"""Each store that is wrong, and the law that must say so."""

SEEN_BY_THE_MACHINE = [
    broken.IgnoresTheVersion,
    broken.ComparesDocuments,
    broken.CountsChangedRows,
    broken.DeletesWhateverIsThere,
    broken.UpdatesWhatIsNotThere,
    broken.Upserts,
    broken.KeepsNobodyAbsent,
    broken.RevivesOldVersions,
    broken.ForgetsDeletes,
    broken.CachesLoads,
    broken.StripsDocuments,
    broken.FoldsCase,
    broken.TrimsIds,
    broken.StripsAccents,
    broken.TellsWhatWasLost,
    broken.KeepsTheTrailOfTheDeleted,
    broken.ErasesTheLastEvent,
    broken.ReusesNumbers,
    broken.ListsWhoeverIsAsked,
]


def cases(suite: type[Any], law: str) -> Iterator[dict[str, object]]:
    """Yield the arguments with which pytest would call a law, beside its store and peer."""
    parameters = [mark.args for mark in getattr(getattr(suite, law), "pytestmark", []) if mark.name == "parametrize"]
    if not parameters:
        yield {}
    for name, values in parameters:
        yield from ({name: value} for value in values)


def obey(laws: Laws, law: str) -> None:
    """Hold a store to one law, in all its cases."""
    function = getattr(laws, law)
    wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
    for case in cases(type(laws), law):
        store = laws.make_store()
        handles = {"store": store, "peer": laws.make_peer(store)}
        function(**{name: handle for name, handle in handles.items() if name in wanted}, **case)


@pytest.mark.parametrize(("kind", "law"), FAULTS, ids=lambda each: getattr(each, "__name__", each))
def test_a_wrong_store_fails_the_law_named_after_its_fault(kind: type[Any], law: str) -> None:
    """The law that says what the store does wrong fails."""
    with pytest.raises((AssertionError, pytest.fail.Exception, KeyError)):
        obey(Laws(kind), law)


def test_every_law_can_fail() -> None:
    """There is no law that every store would pass: for each one there is a store that fails it."""
    assert set(LAWS) == {law for _, law in FAULTS} | {IN_PROCESSES}
    assert {CANCELLED} == {name for name in dir(AsyncLaws) if name.startswith("test_")} - set(LAWS)


@pytest.mark.parametrize("law", sorted(set(LAWS) - {IN_PROCESSES}))
def test_a_right_store_passes_every_time(law: str) -> None:
    """No law raises a false alarm, however often it is tried."""
    for _ in range(RUNS):
        obey(Laws(), law)


def test_a_store_that_locks_out_threads_alone_fails_between_processes(tmp_path: Any) -> None:
    """What holds between threads is not enough: the law for processes says so."""
    path = str(tmp_path / "app.db")

    class InProcesses(testing.ProcessConformance):
        def make_opener(self, store):
            return partial(broken.LocksPerProcess, path)

    store = broken.LocksPerProcess(path)
    with pytest.raises((AssertionError, EOFError)):
        InProcesses().test_processes_share_the_data(store)
    store.close()


class TestAsyncShelf(testing.AsyncHostTransactionConformance):
    """A right store in memory, which has one handle, passes; it is closed once, with whatever closes it."""

    def make_store(self):
        return broken.AsyncShelf()

    def make_peer(self, store):
        return store

    @asynccontextmanager
    async def host_transaction(self, store):
        yield


def loses_once(opener: Callable[[Path], Any], path: Path) -> Any:
    """Open a store that loses its first attempt at the count."""
    store, lost = opener(path), []
    load = store.load

    def loading(user_id):
        if user_id == USER and not lost:
            lost.append(1)
            return Stored("0" * 31 + "9", "8")
        return load(user_id)

    async def loading_async(user_id):
        return await load(user_id) if lost or user_id != USER else loading(user_id)

    store.load = loading if opener is SQLiteStore else loading_async
    return store


def test_a_process_reports_what_it_has_won(tmp_path: Any) -> None:
    """One that competes alone creates every record, and spends as many versions, with either kind of store."""

    class Report:
        def send(self, report: Any) -> None:
            self.created, self.spent = report

    for name, opener in {"blocking": SQLiteStore, "async": lambda path: ThreadedStore(SQLiteStore(path))}.items():
        path, report = tmp_path / name, Report()
        with SQLiteStore(path) as store:
            store.swap(USER, Change(None, stored(0, "0")))
            compete(partial(loses_once, opener, path), 3, threading.Barrier(1), report)
            assert [True] * 25 == report.created
            assert 25 == len(set(report.spent))
            assert "25" == store.load(USER).document


def test_an_async_store_that_joins_the_callers_transaction_fails(loop: EventLoop) -> None:
    """A rollback of the host that undoes a swap is found on the async face too, and a right store is not accused."""
    for kind in (broken.AsyncShelf, broken.AsyncJoinsTheCallersTransaction):
        shelf = kind()
        store, peer = Blocking(shelf, loop), Blocking(shelf.peer(), loop)
        with nullcontext() if kind is broken.AsyncShelf else pytest.raises(AssertionError, match="rollback"):
            AsyncLaws().test_a_rollback_of_the_host_undoes_no_swap(store, peer)


def test_the_machine_asks_for_no_ability_that_a_store_lacks() -> None:
    """A store of two methods is judged by these two."""

    class Bare:
        def __init__(self, shelf: broken.Shelf | None = None) -> None:
            shelf = shelf or broken.Shelf()
            self.load, self.swap, self.peer = shelf.load, shelf.swap, lambda: Bare(shelf)

    run_state_machine_as_test(machine(Bare), settings=settings(max_examples=5))


def test_what_was_never_opened_is_not_closed() -> None:
    """A machine that fails before it has a store shows that failure, and none of its own."""

    class Unopened(testing.AsyncStoreMachine):
        def make_store(self):
            raise ConnectionError("no server")

    with pytest.raises(ConnectionError, match="no server"):
        run_state_machine_as_test(Unopened, settings=settings(max_examples=1))
    StoreMachine().teardown()
    Unopened().teardown()


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """An event loop to run asynchronous stores in."""
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.mark.parametrize("new", [None, stored(2)], ids=["delete", "update"])
def test_a_store_that_tears_when_cancelled_fails(new: Any, loop: EventLoop) -> None:
    """A swap that leaves neither old nor new where it is cancelled is found."""
    shelf = broken.TearsWhenCancelled()
    with pytest.raises(AssertionError):
        AsyncLaws().test_a_cancelled_swap_leaves_old_or_new(Blocking(shelf, loop), Blocking(shelf.peer(), loop), new)


@pytest.mark.parametrize("kind", [broken.ChecksThenAwaits, broken.AsyncShelf])
def test_a_gather_finds_a_check_then_await(kind: type[Any], loop: EventLoop) -> None:
    """Two coroutines that look before either writes are found by the race, and a right store is not accused."""
    shelf = kind()
    store, peer = Blocking(shelf, loop), Blocking(shelf.peer(), loop)
    with nullcontext() if kind is broken.AsyncShelf else pytest.raises(AssertionError):
        AsyncLaws().test_one_of_many_creators_wins(store, peer)


def machine(kind: type[Any]) -> type[StoreMachine]:
    """Return the state machine on stores of a kind."""

    class Machine(StoreMachine):
        def make_store(self):
            return kind()

        def make_peer(self, store):
            return store.peer()

    return Machine


@pytest.mark.parametrize("kind", SEEN_BY_THE_MACHINE)
def test_the_machine_finds_a_wrong_store(kind: type[Any]) -> None:
    """The state machine comes upon the fault, whatever law it breaks."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine(kind), settings=settings(phases=[Phase.generate]))


def test_the_machine_passes_a_right_store() -> None:
    """The state machine accuses nobody who is right."""
    run_state_machine_as_test(machine(broken.Shelf), settings=settings(max_examples=30, stateful_step_count=25))


@pytest.mark.parametrize("hook", ["make_store", "make_peer", "make_opener", "host_transaction", "cut_off"])
def test_a_hook_that_is_missing_says_what_it_is_for(hook: str) -> None:
    """Whoever forgets a hook reads what to return from it."""

    class Forgetful(testing.ProcessConformance, testing.HostTransactionConformance, testing.FailureConformance): ...

    arguments = () if hook == "make_store" else (MemoryStore(),)
    with pytest.raises(NotImplementedError, match=rf"^{hook}\("):
        getattr(Forgetful(), hook)(*arguments)


@pytest.mark.parametrize("hook", ["make_store", "make_peer"])
def test_a_machine_that_lacks_a_hook_says_what_it_is_for(hook: str) -> None:
    """Whoever forgets a hook of the machine reads what to return from it."""
    arguments = () if hook == "make_store" else (MemoryStore(),)
    with pytest.raises(NotImplementedError, match=rf"^{hook}\("):
        getattr(StoreMachine(), hook)(*arguments)


def test_installing_registers_nothing_with_pytest() -> None:
    """No entry point of the distribution changes anyone's test run."""
    from importlib.metadata import distribution

    assert [] == list(distribution("twofa-core").entry_points)


def test_a_phone_needs_no_pytest() -> None:
    """What an application's tests use loads neither pytest nor Hypothesis, and the laws load only pytest."""
    script = (
        "import sys; from twofa.testing import Clock, Phone, FOR_TESTS_ONLY\n"
        "print({'pytest', 'hypothesis'} & set(sys.modules))\n"
        "from twofa.testing import StoreConformance\n"
        "print({'pytest', 'hypothesis'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ["set()", "{'pytest'}"] == said.stdout.splitlines()


def test_a_name_that_the_kit_lacks_is_an_attribute_error() -> None:
    """Misspelling a law fails like misspelling any other name."""
    with pytest.raises(AttributeError, match="has no attribute 'StoreConformity'"):
        _ = testing.StoreConformity
