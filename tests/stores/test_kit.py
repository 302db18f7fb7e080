"""The kit, judged by stores that are wrong: each fails the law named after its fault, and a right one passes them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from broken_stores import callers, failures, lists, outboxes, records, shelf, trails, user_ids, versions
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from twofa import testing
from twofa.stores import Change, MemoryStore, SQLiteStore, Stored, ThreadedStore
from twofa.testing.event_loop import Blocking, EventLoop
from twofa.testing.explaining import check_refused
from twofa.testing.interleaving import Interruption, spread
from twofa.testing.outbox_conformance import check_order
from twofa.testing.process_conformance import compete, swap_and_die
from twofa.testing.samples import USER, event, stored
from twofa.testing.store_machine import StoreMachine
from twofa.testing.surroundings import open_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNS = 10
"""How often a right store is held to each law here. A hundred times were tried, without a false alarm."""
ONE_STEP = "test_a_swap_is_one_step"
"""Tries each of a swap's steps in any case, and waits at most of them for the other swap, which cannot go on."""


class Laws(
    testing.OutboxConformance,
    testing.ListingConformance,
    testing.ProcessConformance,
    testing.HostTransactionConformance,
    testing.FailureConformance,
    testing.StatedAbsenceConformance,
    testing.DurabilityConformance,
):
    """Every law for blocking stores, on a store in memory of a given kind."""

    def __init__(self, kind: type[Any] = shelf.Shelf) -> None:
        self.kind = kind

    def make_store(self):
        return self.kind()

    def make_peer(self, store):
        return store.peer()

    def let_years_pass(self, store):
        getattr(store, "let_years_pass", lambda: None)()

    def host_transaction(self, store):
        return getattr(store, "host_transaction", nullcontext)()

    def cut_off(self, store):
        store.data.down = True

    def lose_answers(self, store):
        store.data.silent = True

    def swap_answers(self, store, user_id):
        store.data.answers_for = user_id

    def crash(self, store):
        store.crash()


class AsyncLaws(
    testing.AsyncOutboxConformance, testing.AsyncListingConformance, testing.AsyncHostTransactionConformance
):
    """The laws for asynchronous stores."""

    def host_transaction(self, store):
        return getattr(store, "host_transaction", nullcontext)()


IN_PROCESSES = {"test_processes_share_the_data", "test_a_swap_survives_the_death_of_its_process"}
CANCELLED = "test_a_cancelled_swap_leaves_old_or_new"
LAWS = {name for name in dir(Laws) if name.startswith("test_")}

FAULTS = [
    (records.InventsARecord, "test_an_unknown_user_has_nothing", "nothing was ever put for this user"),
    (records.LoadsATuple, "test_a_loaded_record_is_a_stored", "load() returned a tuple"),
    (records.StripsDocuments, "test_a_document_comes_back_byte_for_byte", "of 10 characters instead of 12"),
    (records.CutsDocuments, "test_a_document_comes_back_byte_for_byte", "of 65,535 characters instead of 65,536"),
    (records.TurnsLineBreaks, "test_a_document_comes_back_byte_for_byte", r"with '\n' instead of '\r' at 12"),
    (records.ReadsNumbers, "test_a_document_comes_back_byte_for_byte", "with '7' instead of '0' at 0"),
    (records.TakesNothingForNull, "test_a_document_comes_back_byte_for_byte", "returned None (no record) instead of"),
    (records.SpoilsControlCharacters, "test_a_document_comes_back_byte_for_byte", "of 99 characters instead of 127"),
    (versions.Upserts, "test_only_an_absent_record_is_created", "returned True where the record to create was there"),
    (versions.RaisesOnADuplicate, "test_only_an_absent_record_is_created", "that is an ordinary loss, return False"),
    (versions.SaysHowMany, "test_only_an_absent_record_is_created", "swap() returned 1 after it created a record"),
    (versions.SaysNothing, "test_only_an_absent_record_is_created", "swap() returned None after it created a record"),
    (
        versions.IgnoresTheVersion,
        "test_a_stale_version_loses_and_changes_nothing",
        "for a version that had been replaced",
    ),
    (versions.DeletesWhateverIsThere, "test_a_stale_version_loses_and_changes_nothing", "that had been replaced"),
    (versions.UpdatesWhatIsNotThere, "test_who_expects_a_record_loses_where_there_is_none", "a user without a record"),
    (versions.KeepsVersionsIn64Bits, "test_versions_are_told_apart_by_every_digit", "kept with all of them"),
    (versions.ComparesHalfAVersion, "test_versions_are_told_apart_by_every_digit", "differs in the last digit"),
    (versions.ComparesNumbers, "test_versions_are_told_apart_by_every_digit", "what a float rounds off: versions must"),
    (versions.CountsChangedRows, "test_writing_the_same_document_spends_the_version", "an old version won again"),
    (
        versions.ComparesDocuments,
        "test_a_document_that_returns_does_not_bring_its_version_back",
        "compare versions, not documents",
    ),
    (records.ForgetsDeletes, "test_a_delete_leaves_nothing", "instead of None (no record): the record was deleted"),
    (
        versions.RevivesOldVersions,
        "test_a_record_made_again_does_not_revive_an_old_writer",
        "a record that was deleted",
    ),
    (versions.KeepsNobodyAbsent, "test_nothing_can_be_kept_absent", "returned True for a user with a record"),
    (user_ids.FoldsCase, "test_lookalike_users_are_kept_apart", "load('User') returned the record with 'document 0'"),
    (user_ids.TrimsIds, "test_lookalike_users_are_kept_apart", "load('user ')"),
    (user_ids.StripsAccents, "test_lookalike_users_are_kept_apart", "must be compared byte for byte"),
    (user_ids.NormalizesIds, "test_lookalike_users_are_kept_apart", "must be compared byte for byte"),
    (user_ids.CutsIds, "test_lookalike_users_are_kept_apart", "load('xxx"),
    (user_ids.CutsBytesOfIds, "test_lookalike_users_are_kept_apart", "must be compared byte for byte"),
    (user_ids.ReadsIdsAsNumbers, "test_lookalike_users_are_kept_apart", "load('01') returned the record with"),
    (user_ids.MatchesPatterns, "test_lookalike_users_are_kept_apart", "load('user%') returned the record with"),
    (user_ids.HashesIds, "test_users_whose_ids_hash_alike_are_kept_apart", "CRC-32 takes these ids for one"),
    (records.CachesLoads, "test_another_handle_sees_a_win_at_once", "nothing may be cached"),
    (records.ReadsAReplica, "test_another_handle_sees_a_win_at_once", "load() must read the primary"),
    (records.ExpiresRecords, "test_a_record_does_not_expire", "a record must never expire"),
    (records.ExpiresInTheServer, "test_a_record_does_not_expire", "each record has an expiry of thirty days"),
    (records.LeaksConnections, "test_a_lost_swap_leaves_nothing_open", "left 100 files or connections open"),
    (versions.ChecksThenSets, "test_one_of_many_updaters_wins", "replace one version"),
    (versions.ChecksThenSets, "test_an_updater_and_a_deleter_never_both_win", "replace or delete one record"),
    (versions.ChecksThenCreates, "test_one_of_many_creators_wins", "create one record"),
    (versions.ChecksThenDeletes, "test_one_of_many_deleters_wins", "delete one record"),
    (versions.ForgetsTheLock, ONE_STEP, "of 2 swaps that met to write one record, the second before"),
    (versions.MemoryStoreWithoutItsLock, ONE_STEP, "2 were told that they won instead of one"),
    (records.LocksPerHandle, "test_no_update_is_lost", "updates were lost"),
    (records.LosesAnUpdate, "test_no_update_is_lost", "72 swaps that raised a count by one were told that they won"),
    (records.LosesOneUpdateIn200, "test_a_thousand_swaps_all_happen", "returned True and was not written"),
    (records.GivesUpUnderLoad, "test_swaps_of_different_users_do_not_disturb_each_other", "must wait or raise"),
    (records.TearsAWrite, "test_a_reader_never_sees_half_a_swap", "whose version and document were never put together"),
    (failures.SaysYesOnFailure, "test_a_failing_database_raises", "swap() returned True instead of raising"),
    (failures.SwallowsErrors, "test_a_failing_database_raises", "swap() returned False instead of raising"),
    (failures.LoadsNothingOnFailure, "test_a_failing_database_raises", "load() returned None (no record) instead of"),
    (failures.TakesSilenceForAbsence, "test_no_answer_is_no_absence", "the database sent no row at all"),
    (failures.TakesAnyAnswer, "test_the_answer_for_another_user_is_refused", "the database answered for another user"),
    (failures.SavesEverySecond, "test_a_swap_survives_a_crash", "a swap that returned must be durable"),
    (callers.JoinsTheCallersTransaction, "test_a_rollback_of_the_host_undoes_no_swap", "undid the swap"),
    (trails.IsNoTrail, "test_it_keeps_a_trail", "the store has no method events()"),
    (
        trails.KeepsText,
        "test_an_event_comes_back_as_it_was",
        "came back with another detail, {'number': '0'} instead of",
    ),
    (trails.ForgetsTheSource, "test_an_event_comes_back_as_it_was", "another source, None instead of ''"),
    (trails.CutsTheSource, "test_the_longest_source_comes_back_whole", "a source of 256 characters came back with 240"),
    (trails.KnowsFewKinds, "test_every_kind_of_event_is_kept", "came back with another kind"),
    (trails.CountsIn32Bits, "test_an_event_time_is_kept_as_aware_utc", "1970-01-01 00:00:00+00:00 instead of 2038-"),
    (trails.ReturnsNaiveTimes, "test_an_event_time_is_kept_as_aware_utc", "it must be UTC"),
    (trails.SortsByTime, "test_the_trail_grows_in_order", "the order is event -1"),
    (trails.KeepsNoTrail, "test_the_trail_grows_in_order", "are missing"),
    (trails.TellsWhatWasLost, "test_an_event_is_kept_only_if_its_swap_won", "are there that should not be"),
    (
        trails.KeepsTheTrailOfTheDeleted,
        "test_a_delete_erases_the_trail",
        "event 1 of 'user-42' is there that should not",
    ),
    (trails.ErasesTheLastEvent, "test_a_delete_erases_the_trail", "event 2 of 'user-42' is missing"),
    (
        trails.SharesTrails,
        "test_lookalike_users_have_trails_of_their_own",
        "event 1 of 'User', event 2 of 'USER' are there",
    ),
    (trails.CachesTheTrail, "test_another_handle_sees_the_trail_at_once", "event 3 of 'user-42' is missing"),
    (trails.TellsOfEveryAttempt, "test_a_race_leaves_the_winners_events_only", "more are there that should not be"),
    (trails.TellsAfterwards, "test_the_record_and_its_event_change_in_one_step", "must be written in one transaction"),
    (outboxes.IsNoOutbox, "test_it_is_an_outbox", "the store lacks events_after()"),
    (
        outboxes.HandsOnOneUser,
        "test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps",
        "event 2 of 'User', event -3 of 'User'",
    ),
    (
        outboxes.CachesNumbers,
        "test_the_outbox_has_the_events_of_all_users_in_the_order_of_the_swaps",
        "the outbox of all users is wrong: the order is",
    ),
    (
        outboxes.SkipsAfterAPage,
        "test_a_reader_that_keeps_its_cursor_misses_and_repeats_nothing",
        "event 1 of 'user-1', event 3 of 'user-3' are missing",
    ),
    (outboxes.HandsOnNothing, "test_what_comes_later_stands_after_every_cursor", "event 1 of 'user-42' is missing"),
    (
        outboxes.HandsOnAgain,
        "test_what_comes_later_stands_after_every_cursor",
        "what comes after the only event is wrong",
    ),
    (outboxes.TellsOthersOfWhatWasLost, "test_a_swap_that_lost_hands_nothing_on", "after two swaps that lost is wrong"),
    (outboxes.ReusesNumbers, "test_a_cursor_outlives_its_event", "event 4 of 'third' is missing"),
    (outboxes.TakesAnyCursor, "test_a_cursor_that_the_store_did_not_make_is_refused", "must raise ValueError"),
    (outboxes.PrunesTheNewest, "test_pruning_erases_what_is_older_and_nothing_else", "prune_events() returned 3 where"),
    (outboxes.PrunesInLocalTime, "test_pruning_reads_the_time_zone", "prune_events() ignored the time zone"),
    (outboxes.PrunesAThousand, "test_pruning_erases_thousands", "returned 1000 where 2500 events were old"),
    (outboxes.NumbersBeforeItCommits, "test_a_reader_beside_writers_misses_nothing", "more are missing"),
    (lists.DoesNotList, "test_it_lists_its_users", "the store has no method user_ids()"),
    (lists.ListsNobody, "test_every_user_with_a_record_is_listed_once", "user_ids() does not list 'user', 'User'"),
    (lists.ListsByCase, "test_pages_add_up_to_the_list", "pages of 1 do not add up to the list"),
    (lists.ListsAll, "test_pages_add_up_to_the_list", "pages of 1 users had [0, 41] users"),
    (lists.ListsFifty, "test_a_hundred_are_listed_unless_more_are_asked_for", "the first page has 50 users"),
    (lists.GoesOnFromAUser, "test_a_page_goes_on_after_a_user_that_is_gone", "must go on after a user who was deleted"),
    (lists.ListsWhoeverIsAsked, "test_a_swap_that_lost_lists_nobody", "a user is listed who has no record"),
]
"""Each store that is wrong, the law that must say so, and some of the words in which it does."""

SEEN_BY_THE_MACHINE = [
    versions.IgnoresTheVersion,
    versions.ComparesDocuments,
    versions.CountsChangedRows,
    versions.DeletesWhateverIsThere,
    versions.UpdatesWhatIsNotThere,
    versions.Upserts,
    versions.KeepsNobodyAbsent,
    versions.RevivesOldVersions,
    records.ForgetsDeletes,
    records.CachesLoads,
    records.StripsDocuments,
    user_ids.FoldsCase,
    user_ids.TrimsIds,
    user_ids.StripsAccents,
    trails.TellsWhatWasLost,
    trails.KeepsTheTrailOfTheDeleted,
    trails.ErasesTheLastEvent,
    outboxes.ReusesNumbers,
    lists.ListsWhoeverIsAsked,
]


def cases(suite: type[Any], law: str) -> Iterator[dict[str, object]]:
    """Yield the arguments with which pytest would call a law, beside its store and peer."""
    parameters = [mark.args for mark in getattr(getattr(suite, law), "pytestmark", []) if mark.name == "parametrize"]
    if not parameters:
        yield {}
    for names, values in parameters:
        several = not isinstance(names, str)
        yield from (dict(zip(names, value, strict=True)) if several else {names: value} for value in values)


def obey(laws: Laws, law: str) -> None:
    """Hold a store to one law, in all its cases."""
    function = getattr(laws, law)
    wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
    for case in cases(type(laws), law):
        store = laws.make_store()
        handles = {"store": store, "peer": laws.make_peer(store)}
        function(**{name: handle for name, handle in handles.items() if name in wanted}, **case)


@pytest.mark.parametrize(
    ("kind", "law", "words"), [pytest.param(*fault, id=f"{fault[0].__name__}-{fault[1]}") for fault in FAULTS]
)
def test_a_wrong_store_fails_the_law_named_after_its_fault(kind: type[Any], law: str, words: str) -> None:
    """The law that names what the store does wrong fails, and says in a sentence what that is."""
    with pytest.raises(AssertionError) as failure:
        obey(Laws(kind), law)
    sentence = str(failure.value).partition("\nassert ")[0]
    assert words in sentence
    assert "Event(" not in sentence


def test_every_law_can_fail() -> None:
    """There is no law that every store would pass: for each one there is a store that fails it."""
    assert LAWS == {law for _, law, _ in FAULTS} | IN_PROCESSES
    assert {CANCELLED} == {name for name in dir(AsyncLaws) if name.startswith("test_")} - LAWS


@pytest.mark.parametrize("law", sorted(LAWS - IN_PROCESSES))
def test_a_right_store_passes_every_time(law: str) -> None:
    """No law raises a false alarm, however often it is tried."""
    for _ in range(2 if law == ONE_STEP else RUNS):
        obey(Laws(), law)


class InProcesses(testing.ProcessConformance):
    """The laws for stores that other processes share, for a kind of store in a file."""

    def __init__(self, kind: type[Any], path: str) -> None:
        self.kind, self.path = kind, path

    def make_opener(self, store):
        return partial(self.kind, self.path)


def test_a_store_that_locks_out_threads_alone_fails_between_processes(tmp_path: Any) -> None:
    """What holds between threads is not enough: the law for processes says so."""
    path = str(tmp_path / "app.db")
    store = callers.LocksPerProcess(path)
    with pytest.raises((AssertionError, EOFError)):
        InProcesses(callers.LocksPerProcess, path).test_processes_share_the_data(store)
    store.close()


def test_a_store_that_saves_when_it_is_closed_fails_when_its_process_dies(tmp_path: Any) -> None:
    """What is only in the memory of a process was not written, whatever another handle in that process sees."""
    path = str(tmp_path / "app.db")
    store = callers.SavesWhenItIsClosed(path)
    with pytest.raises(AssertionError, match="it must be durable by then"):
        InProcesses(callers.SavesWhenItIsClosed, path).test_a_swap_survives_the_death_of_its_process(store)
    store.close()


def test_a_process_that_swaps_and_dies_says_what_it_was_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells what each of its swaps returned before it kills itself, and itself alone."""
    said: list[object] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: said.append(arguments))

    class Report:
        send = said.append

    swap_and_die(partial(SQLiteStore, tmp_path / "app.db"), Report())
    assert [[True] * 4, (os.getpid(), signal.SIGKILL)] == said


def test_events_in_another_order_than_their_swaps_are_told_of() -> None:
    """Swaps that were under way together may be handed on in any order, and others only in theirs."""
    swaps = {"first": (0.0, 2.0), "beside it": (1.0, 3.0), "afterwards": (2.5, 4.0)}
    for order in (["first", "beside it", "afterwards"], ["beside it", "first", "afterwards"]):
        check_order([event(0, user_id) for user_id in order], swaps)
    with pytest.raises(AssertionError, match="an event of 'first' was handed on after one of 'afterwards', whose swap"):
        check_order([event(0, user_id) for user_id in ("beside it", "afterwards", "first")], swaps)


def test_a_call_comes_between_the_steps_of_another() -> None:
    """Before the step that is asked for the other call goes ahead, and neither before an earlier one nor again."""
    go, other = threading.Event(), Future()
    other.set_result("done")
    interruption = Interruption(2, go, other)
    for what, expected in (("call", False), ("line", False), ("return", False), ("line", True), ("line", True)):
        assert interruption is interruption(None, what, None)
        assert expected is go.is_set()
    assert 3 == interruption.steps


def test_the_steps_between_which_a_call_comes_are_spread_over_all() -> None:
    """Of few steps each one is tried, and of many some, from the first to the last."""
    assert [1, 2, 3] == list(spread(3, 25))
    assert [1, 26, 51, 76] == list(spread(100, 4))


def test_a_refusal_that_does_not_name_its_reason_fails() -> None:
    """That a bad cursor raises is not enough: whoever reads the error is to learn what was bad."""

    def refuse(_: object) -> None:
        raise ValueError("no")

    with pytest.raises(AssertionError, match=r"refuse\('x'\) was refused with 'no', which does not name the cursor"):
        check_refused("cursor", refuse, "x")


def test_open_files_are_counted_where_the_system_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is open after a file was opened, and where nobody can know there is nothing to hold against a store."""
    before = open_files()
    with Path(os.devnull).open():
        assert before + 1 == open_files()
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    assert 0 == open_files()


class TestAsyncShelf(testing.AsyncHostTransactionConformance):
    """A right store in memory, which has one handle, passes; it is closed once, with whatever closes it."""

    def make_store(self):
        return shelf.AsyncShelf()

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
    for kind in (shelf.AsyncShelf, callers.AsyncJoinsTheCallersTransaction):
        inner = kind()
        store, peer = Blocking(inner, loop), Blocking(inner.peer(), loop)
        with nullcontext() if kind is shelf.AsyncShelf else pytest.raises(AssertionError, match="rollback"):
            AsyncLaws().test_a_rollback_of_the_host_undoes_no_swap(store, peer)


def test_the_machine_asks_for_no_ability_that_a_store_lacks() -> None:
    """A store of two methods is judged by these two."""

    class Bare:
        def __init__(self, inner: shelf.Shelf | None = None) -> None:
            inner = inner or shelf.Shelf()
            self.load, self.swap, self.peer = inner.load, inner.swap, lambda: Bare(inner)

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
    inner = callers.TearsWhenCancelled()
    with pytest.raises(AssertionError, match="neither the old record nor the new one"):
        AsyncLaws().test_a_cancelled_swap_leaves_old_or_new(Blocking(inner, loop), Blocking(inner.peer(), loop), new)


@pytest.mark.parametrize("kind", [callers.ChecksThenAwaits, shelf.AsyncShelf])
def test_a_gather_finds_a_check_then_await(kind: type[Any], loop: EventLoop) -> None:
    """Two coroutines that look before either writes are found by the race, and a right store is not accused."""
    inner = kind()
    store, peer = Blocking(inner, loop), Blocking(inner.peer(), loop)
    with nullcontext() if kind is shelf.AsyncShelf else pytest.raises(AssertionError):
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
    run_state_machine_as_test(machine(shelf.Shelf), settings=settings(max_examples=30, stateful_step_count=25))


HOOKS = ["make_peer", "make_opener", "host_transaction", "cut_off", "lose_answers", "crash"]


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [("make_store", ()), *((hook, (MemoryStore(),)) for hook in HOOKS), ("swap_answers", (MemoryStore(), USER))],
)
def test_a_hook_that_is_missing_says_what_it_is_for(hook: str, arguments: tuple[object, ...]) -> None:
    """Whoever forgets a hook reads what to return from it, or what it is to do."""

    class Forgetful(
        testing.ProcessConformance,
        testing.HostTransactionConformance,
        testing.FailureConformance,
        testing.StatedAbsenceConformance,
        testing.DurabilityConformance,
    ): ...

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
