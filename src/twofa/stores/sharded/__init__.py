"""One store made of several, each of which keeps a part of the users."""

from twofa.stores.sharded.asynchronous import AsyncShardedStore
from twofa.stores.sharded.blocking import ShardedStore

__all__ = ["AsyncShardedStore", "ShardedStore"]
