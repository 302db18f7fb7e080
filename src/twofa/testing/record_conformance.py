"""What a store owes its records, one swap after the other."""

from __future__ import annotations

from typing import Any

import pytest

from twofa.stores.protocol import Change, Stored
from twofa.testing.explaining import check_record, shortened
from twofa.testing.hooks import StoreHooks
from twofa.testing.samples import DOCUMENTS, TWINS, stored, version
from twofa.testing.surroundings import open_files, ten_years_later
from twofa.testing.user_ids import HASH_TWINS, LOOKALIKES, OTHER, USER

LOST_SWAPS = 100
"""How many swaps are lost in a row, to see whether each leaves something open."""


class RecordConformance(StoreHooks):
    """The sequential part of `StoreConformance`."""

    def test_an_unknown_user_has_nothing(self, store: Any) -> None:
        """Nothing is kept of a user that nothing was ever put for, whoever else is known."""
        check_record(None, store, USER, "nothing was ever put for this user")
        assert store.swap(OTHER, Change(None, stored(1))), "swap() refused to create a record in an empty store"
        check_record(None, store, USER, "only another user has a record")

    @pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
    def test_a_document_comes_back_byte_for_byte(self, store: Any, document: str) -> None:
        """A document comes back as it was put, as a new record and in the place of another."""
        why = "a document must come back byte for byte"
        assert store.swap(USER, Change(None, stored(1, document)))
        check_record(stored(1, document), store, USER, why)
        assert store.swap(USER, Change(version(1), stored(2, "another"))), "a swap with the right version lost"
        assert store.swap(USER, Change(version(2), stored(3, document))), "a swap with the right version lost"
        check_record(stored(3, document), store, USER, why)

    def test_a_loaded_record_is_a_stored(self, store: Any) -> None:
        """What is loaded has its version and document as text."""
        store.swap(USER, Change(None, stored(1)))
        loaded = store.load(USER)
        assert Stored is type(loaded), f"load() returned a {type(loaded).__name__}: return Stored(version, document)"
        types = [type(each).__name__ for each in loaded]
        assert ["str", "str"] == types, f"load() returned a Stored of {' and '.join(types)}: both must be str"

    def test_only_an_absent_record_is_created(self, store: Any) -> None:
        """A creator loses against a record that is there, and changes nothing."""
        said = store.swap(USER, Change(None, stored(1)))
        assert said is True, f"swap() returned {said!r} after it created a record: it must return True"
        for number in (2, 1):
            try:
                said = store.swap(USER, Change(None, stored(number)))
            except Exception as error:
                raise AssertionError(
                    f"swap() raised {type(error).__name__} where the record to create was there already: that is an "
                    "ordinary loss, return False"
                ) from error
            assert said is False, f"swap() returned {said!r} where the record to create was there: it must return False"
        check_record(stored(1), store, USER, "a swap that lost must not change the record")

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_stale_version_loses_and_changes_nothing(self, store: Any, new: Stored | None) -> None:
        """Who expects a version that was replaced loses, and the record stays as it is."""
        store.swap(USER, Change(None, stored(1)))
        said = store.swap(USER, Change(version(1), stored(2)))
        assert said is True, f"swap() returned {said!r} although the version was the expected one"
        said = store.swap(USER, Change(version(1), new))
        assert said is False, f"swap() returned {said!r} for a version that had been replaced: it must return False"
        check_record(stored(2), store, USER, "a swap with a stale version must not change the record")

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_who_expects_a_record_loses_where_there_is_none(self, store: Any, new: Stored | None) -> None:
        """Neither an update nor a delete happens to a user without a record, nor to anyone else."""
        store.swap(OTHER, Change(None, stored(1)))
        said = store.swap(USER, Change(version(1), new))
        assert said is False, f"swap() returned {said!r} for a user without a record: the expected version is not there"
        check_record(None, store, USER, "a swap that expected a record must not create one")
        check_record(stored(1), store, OTHER, "the swap was about another user")

    def test_versions_are_told_apart_by_every_digit(self, store: Any) -> None:
        """A version of 32 digits is kept whole, and no other one passes for it, however much they look alike."""
        for difference, (kept, other) in TWINS.items():
            user_id, why = f"user of {difference}", "a version has 32 digits, and must be kept with all of them"
            assert store.swap(user_id, Change(None, Stored(kept, "kept")))
            check_record(Stored(kept, "kept"), store, user_id, why)
            for new in (Stored(version(1), "new"), None):
                assert not store.swap(user_id, Change(other, new)), (
                    f"a swap that expected version {other} won against {kept}, from which it differs in {difference}: "
                    "versions must be compared as whole texts, or a stale writer wins"
                )
            assert store.swap(user_id, Change(kept, Stored(other, "other"))), f"a swap that expected {kept} lost to it"
            check_record(Stored(other, "other"), store, user_id, why)

    def test_writing_the_same_document_spends_the_version(self, store: Any) -> None:
        """A swap that changes only the version counts as a change, so that the version before is stale."""
        store.swap(USER, Change(None, stored(1, "same")))
        assert store.swap(USER, Change(version(1), stored(2, "same"))) is True, (
            "swap() lost because the document was the same: the version must be written all the same"
        )
        assert store.swap(USER, Change(version(1), stored(3, "same"))) is False, (
            "an old version won again, since a swap that wrote the same document left the version as it was"
        )
        check_record(stored(2, "same"), store, USER, "writing the same document must still replace the version")

    def test_a_document_that_returns_does_not_bring_its_version_back(self, store: Any) -> None:
        """After A, B and A again, who has seen the first A is stale."""
        store.swap(USER, Change(None, stored(1, "A")))
        store.swap(USER, Change(version(1), stored(2, "B")))
        store.swap(USER, Change(version(2), stored(3, "A")))
        assert store.swap(USER, Change(version(1), stored(4, "C"))) is False, (
            "a stale version won because the document is the same again: compare versions, not documents"
        )
        check_record(stored(3, "A"), store, USER, "a swap that lost must not change the record")

    def test_a_delete_leaves_nothing(self, store: Any) -> None:
        """After a delete there is no record, and it can be created again."""
        store.swap(USER, Change(None, stored(1)))
        assert store.swap(USER, Change(version(1), None)) is True, "a delete with the right version lost"
        check_record(None, store, USER, "the record was deleted")
        assert store.swap(USER, Change(version(1), None)) is False, "a record was deleted twice"
        assert store.swap(USER, Change(None, stored(2))) is True, "a deleted record could not be created again"
        check_record(stored(2), store, USER, "the record was created again")

    @pytest.mark.parametrize("new", [stored(3), None], ids=["update", "delete"])
    def test_a_record_made_again_does_not_revive_an_old_writer(self, store: Any, new: Stored | None) -> None:
        """Who has seen the record before it was deleted and created again is stale."""
        store.swap(USER, Change(None, stored(1)))
        store.swap(USER, Change(version(1), None))
        store.swap(USER, Change(None, stored(2)))
        assert store.swap(USER, Change(version(1), new)) is False, (
            "the version of a record that was deleted won against the record that was created after it"
        )
        check_record(stored(2), store, USER, "a swap that lost must not change the record")

    def test_nothing_can_be_kept_absent(self, store: Any) -> None:
        """To delete "only if absent" says whether the user has no record, and deletes none."""
        said = store.swap(USER, Change(None, None))
        assert said is True, f"swap(Change(None, None)) returned {said!r} for a user without a record: return True"
        store.swap(USER, Change(None, stored(1)))
        said = store.swap(USER, Change(None, None))
        assert said is False, f"swap(Change(None, None)) returned {said!r} for a user with a record: return False"
        check_record(stored(1), store, USER, "swap(Change(None, None)) must delete nothing")

    def test_lookalike_users_are_kept_apart(self, store: Any) -> None:
        """User ids are compared byte for byte: each has a record of its own to create, update and delete."""
        assert len(LOOKALIKES) == len(set(LOOKALIKES))
        keep_apart(store, LOOKALIKES, "user ids must be compared byte for byte")

    def test_users_whose_ids_hash_alike_are_kept_apart(self, store: Any) -> None:
        """A store that keeps a short hash in the place of an id gives one user the second factor of another."""
        for function, pair in HASH_TWINS.items():
            keep_apart(store, pair, f"{function} takes these ids for one, and the key must be the id itself")

    def test_another_handle_sees_a_win_at_once(self, store: Any, peer: Any) -> None:
        """What one handle has put, replaced or deleted, the other one loads, and cannot win against."""
        why = "another handle has just written: nothing may be cached, and load() must read the primary"
        assert store.swap(USER, Change(None, stored(1)))
        check_record(stored(1), peer, USER, why)
        assert peer.swap(USER, Change(None, stored(2))) is False, "a second handle created a record that was there"
        assert peer.swap(USER, Change(version(1), stored(2))), "a second handle could not replace the record"
        check_record(stored(2), store, USER, why)
        assert store.swap(USER, Change(version(1), stored(3))) is False, (
            "a version won that another handle had replaced"
        )
        check_record(stored(2), peer, USER, why)
        assert store.swap(USER, Change(version(2), stored(4))), "the version that another handle wrote lost"
        check_record(stored(4), peer, USER, why)
        assert store.swap(USER, Change(version(4), None)), "the record could not be deleted"
        check_record(None, peer, USER, why)

    def test_a_record_does_not_expire(self, store: Any, peer: Any) -> None:
        """A record has no end of life: ten years later it is there, and whoever saw it can replace it."""
        assert store.swap(USER, Change(None, stored(1)))
        with ten_years_later():
            self.ask(self.let_years_pass, store)
            for handle in (store, peer):
                check_record(stored(1), handle, USER, "ten years have passed, and a record must never expire")
            assert store.swap(USER, Change(version(1), stored(2))), "ten years later, the record could not be replaced"
            check_record(stored(2), peer, USER, "it was replaced ten years after it was created")

    @pytest.mark.parametrize(
        "change",
        [Change(None, stored(2)), Change(version(3), stored(2)), Change(version(3), None)],
        ids=["create", "update", "delete"],
    )
    def test_a_lost_swap_leaves_nothing_open(self, store: Any, change: Change) -> None:
        """A hundred swaps that lose need no more connections than one, and the store goes on afterwards."""
        assert store.swap(USER, Change(None, stored(1)))
        assert not store.swap(USER, change)  # opens what is opened once
        before = open_files()
        for number in range(LOST_SWAPS):
            assert not store.swap(USER, change), f"swap number {number + 1} with a stale version won"
        left = open_files() - before
        assert left < LOST_SWAPS // 4, (
            f"{LOST_SWAPS} swaps that lost left {left} files or connections open: give each one back, also on the way "
            "out of a swap that lost"
        )
        assert store.swap(USER, Change(version(1), stored(4))), "after many lost swaps a right one lost, too"


def keep_apart(store: Any, user_ids: tuple[str, ...], why: str) -> None:
    """Hold a store to giving each of these users a record of its own."""
    for number, user_id in enumerate(user_ids):
        check_record(None, store, user_id, f"only similar ids have a record; {why}")
        assert store.swap(user_id, Change(None, stored(number))), (
            f"no record could be created for {shortened(user_id)}, since a similar id has one: {why}"
        )
    for number, user_id in enumerate(user_ids):
        check_record(stored(number), store, user_id, why)
        assert store.swap(user_id, Change(version(number), stored(1000 + number))), f"{user_id!r} lost its record"
    for number, user_id in enumerate(user_ids):
        check_record(stored(1000 + number), store, user_id, why)
        assert store.swap(user_id, Change(version(1000 + number), None)), f"{user_id!r} could not be deleted"
        check_record(None, store, user_id, f"its record was deleted; {why}")
