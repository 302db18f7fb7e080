"""Stores that take one user for another."""

from __future__ import annotations

import unicodedata
import zlib

from broken_stores.shelf import Shelf


class FoldsCase(Shelf):
    """MariaDB's default collation."""

    def key(self, user_id):
        return user_id.casefold()


class TrimsIds(Shelf):
    """Trailing spaces do not count in a PAD SPACE collation."""

    def key(self, user_id):
        return user_id.rstrip(" ")


class StripsAccents(Shelf):
    """An accent-insensitive collation."""

    def key(self, user_id):
        decomposed = unicodedata.normalize("NFD", user_id)
        return "".join(each for each in decomposed if not unicodedata.combining(each))


class NormalizesIds(Shelf):
    """Composes what was written in two characters."""

    def key(self, user_id):
        return unicodedata.normalize("NFC", user_id)


class CutsIds(Shelf):
    """A column that is too short."""

    def key(self, user_id):
        return user_id[:254]


class CutsBytesOfIds(Shelf):
    """A column that counts bytes."""

    def key(self, user_id):
        return user_id.encode()[:255].decode(errors="ignore")


class ReadsIdsAsNumbers(Shelf):
    """An id column of integers, in a database that converts."""

    def key(self, user_id):
        try:
            return str(float(user_id))
        except ValueError:
            return user_id


class MatchesPatterns(Shelf):
    """LIKE instead of =."""

    def load(self, user_id):
        for each, held in self.data.records.items():
            if each == user_id or (user_id.endswith("%") and each.startswith(user_id[:-1])):
                return held
        return None


class HashesIds(Shelf):
    """Keys the record by a short hash of the id."""

    def key(self, user_id):
        return str(zlib.crc32(user_id.encode()))
