"""A store for twofa in your own MongoDB, on PyMongo: a document for each user."""

from typing import Any

from pymongo import ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from twofa.stores import Change, Store, Stored


class MongoDBStore(Store):
    """`collection` is the store's own: without a collation, by which two user ids might be one."""

    def __init__(self, collection: Collection[dict[str, Any]]) -> None:
        durable, primary = WriteConcern("majority", j=True), ReadPreference.PRIMARY
        self._users = collection.with_options(None, primary, durable, ReadConcern("majority"))

    def load(self, user_id: str) -> Stored | None:
        """Return the record, or `None`."""
        found = self._users.find_one({"_id": user_id})
        return Stored(found["version"], found["document"]) if found else None

    def swap(self, user_id: str, change: Change) -> bool:
        """Apply the change if the version is still the expected one; return whether it was."""
        mine, new = {"_id": user_id, "version": change.expected}, change.new
        if change.expected is None:
            return self.load(user_id) is None if new is None else self._insert({"_id": user_id, **new._asdict()})
        if new is None:
            return self._users.delete_one(mine).deleted_count == 1
        return self._users.update_one(mine, {"$set": new._asdict()}).matched_count == 1

    def _insert(self, record: dict[str, Any]) -> bool:
        try:
            self._users.insert_one(record)
        except DuplicateKeyError:
            return False
        return True
