"""What a store owes that can list its users."""

from __future__ import annotations

from typing import Any

import pytest

from twofa.stores.protocol import Change, Listing
from twofa.testing.explaining import shortened, some
from twofa.testing.hooks import able
from twofa.testing.samples import event, stored, version
from twofa.testing.store_conformance import StoreConformance
from twofa.testing.user_ids import LOOKALIKES, OTHER, USER


class ListingConformance(StoreConformance):
    """The laws for a store that can list its users."""

    def test_it_lists_its_users(self, store: Any) -> None:
        """The store has the ability that is judged here."""
        assert able(store, Listing), "the store has no method user_ids(): without a list, use StoreConformance"
        assert [] == list(store.user_ids()), "an empty store lists users"

    def test_every_user_with_a_record_is_listed_once(self, store: Any) -> None:
        """Whatever their ids look like, all users are listed, once, and in one order."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        listed = list(store.user_ids())
        missing = [shortened(user_id) for user_id in LOOKALIKES if user_id not in listed]
        assert not missing, f"user_ids() does not list {some(missing)}, who have records"
        strange = [shortened(user_id) for user_id in listed if user_id not in LOOKALIKES]
        assert not strange, f"user_ids() lists {some(strange)}, who have no record"
        assert len(set(listed)) == len(listed), "a user is listed twice"
        assert listed == list(store.user_ids()), "the order of the list changes from call to call"

    @pytest.mark.parametrize("limit", [1, 7, len(LOOKALIKES), 1000])
    def test_pages_add_up_to_the_list(self, store: Any, limit: int) -> None:
        """Passing the last id on until a page is empty gives the whole list, page after page of the limit's length."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        pages: list[list[str]] = [list(store.user_ids(limit=limit))]
        while pages[-1] and len(pages) <= len(LOOKALIKES):
            pages.append(list(store.user_ids(after=pages[-1][-1], limit=limit)))
        listed = [user_id for page in pages for user_id in page]
        assert list(store.user_ids(limit=1000)) == listed, (
            f"pages of {limit} do not add up to the list: `after` and the order of the list must be of one mind"
        )
        lengths = {len(page) for page in pages[: len(LOOKALIKES) // limit or 1]}
        assert {min(limit, len(LOOKALIKES))} == lengths, f"pages of {limit} users had {sorted(lengths)} users"

    def test_a_hundred_are_listed_unless_more_are_asked_for(self, store: Any) -> None:
        """Without a limit a page has a hundred users."""
        for number in range(101):
            store.swap(f"user-{number:03}", Change(None, stored(number)))
        first = list(store.user_ids())
        assert 100 == len(first), f"the first page has {len(first)} users: without a limit it must have 100"
        assert 1 == len(store.user_ids(first[-1])), "the second page must have the one user that is left"

    def test_a_page_goes_on_after_a_user_that_is_gone(self, store: Any) -> None:
        """The id to go on from need not be there any more."""
        for user_id in "abc":
            store.swap(user_id, Change(None, stored(1)))
        first, second, third = store.user_ids()
        store.swap(second, Change(version(1), None))
        assert [third] == list(store.user_ids(after=second)), "the list must go on after a user who was deleted"
        assert [first, third] == list(store.user_ids()), "a user who was deleted is still listed"

    def test_a_swap_that_lost_lists_nobody(self, store: Any) -> None:
        """Only a record makes a user: neither a lost swap nor an event does."""
        store.swap(USER, Change(version(1), stored(2), (event(),)))
        store.swap(OTHER, Change(None, None, (event(user_id=OTHER),)))
        assert [] == list(store.user_ids()), "a user is listed who has no record"
