"""Stores that list the wrong users."""

from __future__ import annotations

from typing import Any

from broken_stores.shelf import Shelf


class ListsNobody(Shelf):
    """Has no list."""

    def user_ids(self, after="", limit=100):
        return []


class ListsByCase(Shelf):
    """Lists in the order of a collation, and goes on in that of bytes."""

    def user_ids(self, after="", limit=100):
        listed = sorted((user_id for user_id in self.data.records if user_id > after), key=str.casefold)
        return listed[:limit]


class ListsAll(Shelf):
    """Knows no pages."""

    def user_ids(self, after="", limit=100):
        return super().user_ids(after, 10_000)


class ListsFifty(Shelf):
    """Has a page length of its own."""

    def user_ids(self, after="", limit=50):
        return super().user_ids(after, limit)


class GoesOnFromAUser(Shelf):
    """Begins again where the user to go on from is gone."""

    def user_ids(self, after="", limit=100):
        return super().user_ids(after if after in self.data.records else "", limit)


class ListsWhoeverIsAsked(Shelf):
    """Lists a user from the first attempt on."""

    def swap(self, user_id, change):
        won = super().swap(user_id, change)
        self.data.asked = {*getattr(self.data, "asked", ()), user_id}
        return won

    def user_ids(self, after="", limit=100):
        known = {*self.data.records, *getattr(self.data, "asked", ())}
        return sorted(user_id for user_id in known if user_id > after)[:limit]


class DoesNotList(Shelf):
    """Lacks the ability."""

    user_ids: Any = None
