"""What a store owes that can list its users."""

from __future__ import annotations

from typing import Any

import pytest

from twofa.stores.protocol import Change, Listing
from twofa.testing.samples import LOOKALIKES, USER, event, stored, version
from twofa.testing.store_conformance import StoreConformance


class ListingConformance(StoreConformance):
    """What a store owes that can list its users."""

    def test_it_lists_its_users(self, store: Any) -> None:
        """The store has the ability that is judged here."""
        assert isinstance(store, Listing)
        assert [] == list(store.user_ids())

    def test_every_user_with_a_record_is_listed_once(self, store: Any) -> None:
        """Whatever their ids look like, all users are listed, once, and in one order."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        listed = list(store.user_ids())
        assert sorted(LOOKALIKES) == sorted(listed)
        assert listed == list(store.user_ids())

    @pytest.mark.parametrize("limit", [1, 7, len(LOOKALIKES), 1000])
    def test_pages_add_up_to_the_list(self, store: Any, limit: int) -> None:
        """Passing the last id on until a page is empty gives the whole list, page after page of the limit's length."""
        for user_id in LOOKALIKES:
            store.swap(user_id, Change(None, stored(1)))
        pages: list[list[str]] = [list(store.user_ids(limit=limit))]
        while pages[-1]:
            pages.append(list(store.user_ids(after=pages[-1][-1], limit=limit)))
        assert list(store.user_ids(limit=1000)) == [user_id for page in pages for user_id in page]
        assert {min(limit, len(LOOKALIKES))} == {len(page) for page in pages[: len(LOOKALIKES) // limit or 1]}

    def test_a_hundred_are_listed_unless_more_are_asked_for(self, store: Any) -> None:
        """Without a limit a page has a hundred users."""
        for number in range(101):
            store.swap(f"user-{number:03}", Change(None, stored(number)))
        first = list(store.user_ids())
        assert (100, 1) == (len(first), len(store.user_ids(first[-1])))

    def test_a_page_goes_on_after_a_user_that_is_gone(self, store: Any) -> None:
        """The id to go on from need not be there any more."""
        for user_id in "abc":
            store.swap(user_id, Change(None, stored(1)))
        store.swap("b", Change(version(1), None))
        assert ["c"] == list(store.user_ids(after="b"))
        assert ["a", "c"] == list(store.user_ids())

    def test_a_swap_that_lost_lists_nobody(self, store: Any) -> None:
        """Only a record makes a user: neither a lost swap nor an event does."""
        store.swap(USER, Change(version(1), stored(2), (event(),)))
        store.swap("another", Change(None, None, (event(user_id="another"),)))
        assert [] == list(store.user_ids())
