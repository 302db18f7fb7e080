"""Stores that say something where they cannot know, or forget what they said."""

from __future__ import annotations

from broken_stores.shelf import Shelf


class SaysYesOnFailure(Shelf):
    """Returns True where the database failed."""

    def swap(self, user_id, change):
        try:
            return super().swap(user_id, change)
        except ConnectionError:
            return True


class SwallowsErrors(Shelf):
    """Returns False where the database failed."""

    def swap(self, user_id, change):
        try:
            return super().swap(user_id, change)
        except ConnectionError:
            return False


class LoadsNothingOnFailure(Shelf):
    """Says that there is no record where the database failed: no second factor here."""

    def load(self, user_id):
        try:
            return super().load(user_id)
        except ConnectionError:
            return None


class TakesSilenceForAbsence(Shelf):
    """Selects the record alone, and reads no row as no record."""

    def load(self, user_id):
        self.reach()
        row = self.row(user_id)
        return row and row[1]

    def swap(self, user_id, change):
        if change.expected is None and change.new is None:
            return self.load(user_id) is None
        return super().swap(user_id, change)


class TakesAnyAnswer(Shelf):
    """Looks whether there is an answer, and not whether it is about the user."""

    def load(self, user_id):
        self.reach()
        row = self.row(user_id)
        if row is None:
            raise ConnectionError("no answer")
        return row[1]


class SavesEverySecond(Shelf):
    """Says that it has written when the server has it in memory."""

    def save(self) -> None:
        """Leave it to later, which does not come before the crash."""
