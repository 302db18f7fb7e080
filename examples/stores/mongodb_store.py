"""A store for twofa in your own MongoDB, on PyMongo: a document for each user."""

from typing import Any

from pymongo import ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from twofa.stores import Change, Store, Stored, UnexpectedAnswer


class MongoDBStore(Store):
    """`collection` is the store's own: without a collation, by which two user ids might be one."""

    def __init__(self, collection: Collection[dict[str, Any]]) -> None:
        options = (None, ReadPreference.PRIMARY, WriteConcern("majority", j=True), ReadConcern("majority"))
        self._users, self._database = collection.with_options(*options), collection.database.with_options(*options)

    def load(self, user_id: str) -> Stored | None:
        """Return the record, or `None`."""
        asked = {"asked_by": "twofa", "id": user_id}  # comes back in any case: "no record" is to be said
        join = {"from": self._users.name, "localField": "id", "foreignField": "_id", "as": "found"}
        answer = list(self._database.aggregate([{"$documents": [asked]}, {"$lookup": join}]))
        if len(answer) != 1 or answer[0] | asked != answer[0]:
            raise UnexpectedAnswer("this answers something else")
        return next((Stored(each["version"], each["document"]) for each in answer[0]["found"]), None)

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
